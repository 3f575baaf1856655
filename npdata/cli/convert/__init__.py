"""`npdata convert`: arrays from one kind of file into another.

`inputs` opens what was named, `plan` decides how it will be cut and what memory that takes,
`npdata.cli.output` keeps the unfinished file away from its final name, `transfer` moves the rows
block by block into one of the writers (`writer`, `hdf5_writer`) and compares them, and
`command` puts these together.
"""
