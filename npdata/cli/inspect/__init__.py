"""`npdata inspect`: how files are stored and read, what random access costs, what to do about it.

`examine` looks at files and gives the values of `report`, `kinds` sorts many arrays; `advice` is a
pure function of what is known; `table` and `npdata.cli.plot` show it, and `command` ties these
together.
"""
