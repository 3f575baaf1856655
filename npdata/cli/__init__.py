"""The command `npdata`: look at files, convert them, measure them."""
