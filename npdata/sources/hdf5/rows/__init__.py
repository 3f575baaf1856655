"""Rows of a dataset: out of the map of its file, out of decoded chunks, or through h5py."""
