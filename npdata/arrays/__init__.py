"""NumPy arrays: how they become tensors, and the kernel that copies their rows."""
