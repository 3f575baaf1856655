"""Decoded rows that are kept: in files of a folder, or in memory that processes share.

`cached` gives the rows of any source so, and `cache` takes what a user asked for. `entry` is the
file of one dataset, as a `plan` lays it out; `folder` holds such files within the bytes that `room`
counts. No format of the rows is known here.
"""
