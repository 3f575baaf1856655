"""HDF5 datasets as sources: found by path and name, read past h5py wherever that is right.

`names` says what a name stands for: a dataset (`open`), one of many `groups`, or what AnnData wrote
(`anndata/`); `catalog` finds all datasets of a file. `examine/` looks at a dataset and decides how
to read it. `rows/` reads: out of the map of the file, out of decoded `chunks/`, which `codecs/`
decode, or through h5py, which no other source imports.
"""
