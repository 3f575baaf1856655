"""Decoded rows that are kept: in files of a folder, or in memory that processes share.

`cached` gives the rows of any source so, `cache` takes what a user asked for and finds room,
`entry` is the file of one dataset, as a `plan` lays it out, and `folder` holds such files within the
bytes that a `room` has. No format of the rows is known here.
"""
