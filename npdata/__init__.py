"""Any NumPy data, where it lies, as a PyTorch dataset at memory speed."""

from npdata import errors

__all__ = ["errors"]
