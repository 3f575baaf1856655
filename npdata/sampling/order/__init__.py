"""The order of an epoch, pure NumPy: which row comes at which position, and on which rank.

`epoch_order` gives the order of all rows, `permutation` and `feistel` permute, `block_layout` and
`lane` deal with blocks, `ranks` divides positions over ranks, `by_size` cuts batches by the
length of samples, `recipe` and `epoch_length` check arguments, and `recipe` names what a state
must agree on. `room` is memory that is used again. Nothing here knows torch, reads data or keeps
state; `npdata.sampling.sampler` does.
"""

from npdata.sampling.order.epoch_order import ORDER_VERSION, draw_order, plan_order
from npdata.sampling.order.splits import split, split_groups

__all__ = ["ORDER_VERSION", "draw_order", "plan_order", "split", "split_groups"]
