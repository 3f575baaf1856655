"""Measuring: methods for the same rows, timed in turns, and what follows from the figures."""
