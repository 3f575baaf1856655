"""Decoded chunks in the memory of this process, within a budget: decoded, found and dropped."""
