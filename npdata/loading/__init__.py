"""The loader: threads that make batches ahead, read-ahead, and the way to a device."""
