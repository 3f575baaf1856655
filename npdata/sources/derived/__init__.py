"""Rows made of those of another source: some of them, columns, windows, along another axis."""
