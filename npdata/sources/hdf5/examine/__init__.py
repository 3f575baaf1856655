"""Looking at a dataset before any row is read: where it is, how it is stored, how to read it."""
