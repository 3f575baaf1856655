"""Sources: where the rows of one field lie, and how to read them.

`open` finds the source for what a user gives: an array (`memory`, `containers`), one of the
`formats/`, a dataset of `hdf5/`, or `many_files/`. Rows that lie uncompressed in a `file` are
`mapped`. Sources are made of sources: `concatenated/` end to end, `derived/` row by row, `ragged`
and `sparse` by spans, `packed/` decoded, `cache/` kept decoded. `base` is what all of them are.
"""
