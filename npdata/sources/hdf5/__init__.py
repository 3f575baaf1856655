"""HDF5 datasets as sources: found by path and name, read through h5py, opened in each process.

`address` finds a dataset and names what is there, `plan` decides which runs of rows to read,
`library` reads them through h5py. h5py is imported in this folder only.
"""

from npdata.sources.hdf5.address import address_of, is_open_dataset, open_hdf5

__all__ = ["address_of", "is_open_dataset", "open_hdf5"]
