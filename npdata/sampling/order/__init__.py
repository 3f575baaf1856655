"""The order of an epoch, pure NumPy: which row comes at which position, and on which rank.

`plan` gives the order of all rows, `bijection` and `network` permute, `layout` and `windows` deal
with blocks, `ranks` divides positions over ranks, `recipe` checks arguments and names what a state
must agree on. Nothing here knows torch, reads data or keeps state; `npdata.sampling.sampler` does.
"""

from npdata.sampling.order.epoch_order import ORDER_VERSION, draw_order, plan_order, split
from npdata.sampling.order.split_groups import split_groups

__all__ = ["ORDER_VERSION", "draw_order", "plan_order", "split", "split_groups"]
