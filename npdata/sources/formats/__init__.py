"""Files that hold arrays and no more, and those of formats that are known and not read."""
