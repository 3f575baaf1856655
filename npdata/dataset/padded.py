"""A batch of samples of different lengths, padded to the longest."""

from typing import NamedTuple

import torch
from torch import Tensor


class Padded(NamedTuple):
    """Samples padded to the longest: `values` (n, longest, *row shape) and `lengths` (n,) int64.

    Examples:
        >>> batch = npdata.Padded(torch.tensor([[5, 6], [7, 0]]), torch.tensor([2, 1]))
        >>> batch.mask()
        tensor([[ True,  True],
                [ True, False]])
    """

    values: Tensor
    lengths: Tensor

    def mask(self) -> Tensor:
        """Give a bool tensor (n, longest): True for what a sample holds, False for padding.

        `torch.nn.TransformerEncoder` wants the opposite: `src_key_padding_mask=~batch.mask()`.
        """
        places = torch.arange(self.values.shape[1], device=self.lengths.device)
        return places < self.lengths[:, None]
