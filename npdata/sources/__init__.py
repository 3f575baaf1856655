"""Where the rows of a field live: one file per kind of source, one contract for all (`base`)."""
