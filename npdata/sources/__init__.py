"""Where rows lie: arrays, files and HDF5 datasets, each behind one contract."""
