"""The order of an epoch, pure NumPy: which row comes at which position, and on which rank.

`recipe` checks arguments and names what a state must agree on, `epoch_order` gives the order of all
rows, `permutation` and `feistel` permute, `block_layout` and `lane` deal with blocks, `ranks`
divides positions over ranks, `by_size` cuts batches by the length of samples, `wrapped` looks into
datasets that wrap others. Nothing here imports torch or reads data.
"""
