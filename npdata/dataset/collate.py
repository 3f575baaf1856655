"""The collate function: a `Batch` gives its stacked fields, anything else goes torch's way.

Idea: the rows of a `Batch` were gathered into their last buffer already, so there is nothing left
to stack. Invariant: the result equals `torch.utils.data.default_collate` of the same samples, in
form, dtype and values. No memory is allocated here for a `Batch` without a per-sample transform.
"""

import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from torch import Tensor
from torch.utils.data import get_worker_info

from npdata.dataset.batch import Batch
from npdata.dataset.stacking import stack_samples
from npdata.dataset.workers.sent_tensors import ready_to_send
from npdata.errors import NotBatchedError
from npdata.sampling.order.wrapped import fetcher_in


def collate(batch: Sequence[Any]) -> Any:
    """Stack samples into a batch: the `collate_fn` for a DataLoader.

    A `Batch` gives its stacked tensors: a tensor, a list of tensors for tuple samples, a dict for
    dict samples; then the dataset's `batch_transform` is applied. Anything else, also a `Batch`
    that somebody has looked into, is stacked by `torch.utils.data.default_collate`. A
    batch of `MaskedRows` (a sampler with `uneven="mask"`) gives a pair: the stacked fields, and a
    bool tensor that is False for padding.

    Raises:
        UnequalShapesError: a ValueError and a RuntimeError, which names the sample, the field and
            both shapes, where samples do not have the same shape.
        NotBatchedError: a TypeError, in a DataLoader with `batch_size=None`, whose single samples
            are no batch, and for what is stacked already.

    Examples:
        >>> ds = npdata.NumpyDataset(np.arange(6).reshape(3, 2), np.arange(3))
        >>> npdata.collate(ds.__getitems__([2, 0]))
        [tensor([[4, 5],
                [0, 1]]), tensor([2, 0])]
    """
    if not isinstance(batch, Batch):
        if isinstance(batch, Iterable):
            _refuse_one_sample()
        if not isinstance(batch, Iterable) or isinstance(batch, Mapping | Tensor | Iterator):
            raise NotBatchedError(
                f"collate() got one {type(batch).__name__}: expected a list of samples, as "
                "DataLoader(dataset, 64, collate_fn=npdata.collate) gives it; __getitems__ of a "
                "dataset of your own returns [self[i] for i in indices], which are stacked here"
            )
        result = stack_samples(batch)
    else:
        result = batch.collated()
        if batch.mask is not None:
            result = (result, batch.mask)
    return result if get_worker_info() is None else ready_to_send(result)


def _refuse_one_sample() -> None:
    """Raise `NotBatchedError` where a DataLoader gave one sample in place of a batch.

    Its fields would be stacked as if each were a sample, where they have one shape.
    """
    if not getattr(fetcher_in(sys._getframe(2)), "auto_collation", True):
        raise NotBatchedError(
            "collate got one item of a DataLoader with batch_size=None, and no batch. Give the "
            "DataLoader batch_sampler= or batch_size=; leave collate_fn= out where an item is a "
            "batch. Ray Train puts its own sampler in the place of a batch sampler: call "
            "prepare_data_loader(..., add_dist_sampler=False)"
        )
