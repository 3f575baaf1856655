"""`npdata inspect`: how files are stored and read, what random access costs, what to do about it.

`examine` looks at files and gives the values of `report`; `advice` is a pure function of them;
`table` and `npdata.cli.plot` show them, and `command` ties the three together.
"""
