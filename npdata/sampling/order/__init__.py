"""The order of an epoch, pure NumPy: which row comes at which position, and on which rank.

`epoch_order` gives the order of all rows, `permutation` and `feistel` permute, `block_layout` and
`lane` deal with blocks, `ranks` divides positions over ranks, `by_size` cuts batches by the
length of samples, `recipe` and `epoch_length` check arguments, and `recipe` names what a state
must agree on. `room` is memory that is used again. Nothing here knows torch, reads data or keeps
state; `npdata.sampling.sampler` does.
"""
