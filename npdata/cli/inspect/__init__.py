"""How files are stored and read, what random access costs, and what to do about it."""
