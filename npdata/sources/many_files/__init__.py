"""Many files: finding them, what is known of each, and reading rows out of all of them at once."""
