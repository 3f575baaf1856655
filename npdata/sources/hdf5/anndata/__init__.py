"""What AnnData means by groups and names of an HDF5 file."""
