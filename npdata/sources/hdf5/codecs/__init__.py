"""One file per filter: how its output is turned back into its input."""
