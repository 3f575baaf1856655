"""`npdata convert`: arrays from one kind of file into another."""
