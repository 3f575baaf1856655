"""The sampler that the arguments of a `Loader` ask for: one of npdata, of torch, or of the user.

Idea: whoever has used DataLoader gives a sampler of batches or of single rows; both become batches.
Invariant: an argument that the sampler decides by itself is refused. It asks no sampler for rows,
but a list for its first.
"""

import inspect
from collections.abc import Iterable, Iterator, Sequence, Sized
from typing import Any

from torch.utils.data import BatchSampler, Sampler

from npdata.arrays.indexing import holds_rows
from npdata.errors import LoaderError, an
from npdata.sampling.order.wrapped import is_loader
from npdata.sampling.sampler import BlockBatchSampler

OF_SAMPLERS = dict(inspect.signature(BlockBatchSampler).parameters)
del OF_SAMPLERS["data"]
"""The arguments of a sampler, of which a `Loader` has the most common; it passes no others on."""

_ORDER = {name: each.default for name, each in OF_SAMPLERS.items()} | {"shuffle": False}
"""What a `Loader` takes where nothing is said."""


def sampler_for(
    dataset: Any, batch_size: int | None, sampler: Any, batch_sampler: Any, **order: Any
) -> Any:
    """Give the iterable of batches that these arguments of a `Loader` ask for.

    A sampler of single rows, one that is no `BatchSampler` and stands beside a batch_size, is
    batched as a DataLoader does it. Raises `LoaderError` (a ValueError) for arguments that a
    sampler decides.

    Examples:
        >>> rows = torch.utils.data.SequentialSampler(range(5))
        >>> list(sampler_for(None, 2, rows, None, drop_last=True))
        [[0, 1], [2, 3]]
    """
    if batch_sampler is not None:
        if sampler is not None:
            raise LoaderError("sampler= and batch_sampler= both decide the batches: give one")
        sampler = batch_sampler
    if sampler is None:
        if batch_size is None:
            raise LoaderError(
                "a loader needs a batch_size, or a sampler of whole batches: write "
                "Loader(dataset, 64)"
            )
        if order.get("weights") is not None and order["shuffle"] is False:
            order["shuffle"] = "block"  # the sampler's own default: draws are random by themselves
        return BlockBatchSampler(dataset, batch_size, **order)
    _require_rows_of(dataset, sampler)
    drop_last = order.pop("drop_last")
    given = [name for name, value in order.items() if not is_default(value, _ORDER[name])]
    single = batch_sampler is None and _gives_single_rows(sampler, batch_size)
    if drop_last and not single:
        given.append("drop_last")
    if given:
        raise LoaderError(
            f"sampler= decides {', '.join(given)}; give that to the sampler, or leave sampler= out "
            "(rows to choose from are indices=)"
        )
    if single:
        if batch_size is None:
            raise LoaderError(
                f"{type(sampler).__name__} gives single rows: give batch_size= as well, or "
                "batch_sampler="
            )
        return BatchSampler(sampler, batch_size, drop_last)
    if batch_size not in (None, getattr(sampler, "batch_size", None)):
        raise LoaderError(f"batch_size={batch_size}, but sampler= decides it; leave it out")
    return sampler


def _require_rows_of(dataset: Any, sampler: Any) -> None:
    """Raise `LoaderError` for what gives no row numbers, and where they are not the dataset's."""
    if is_loader(sampler):
        raise LoaderError(
            f"{an(type(sampler).__name__)} gives batches of samples, and sampler= those of row "
            "numbers: the sampler of a loader is loader.batch_sampler"
        )
    iterable = isinstance(sampler, Iterable) or hasattr(sampler, "__getitem__")
    if not iterable or isinstance(sampler, str) or hasattr(sampler, "__getitems__"):
        raise LoaderError(
            f"sampler={sampler!r:.60}: expected an iterable of batches of row numbers, or of row "
            "numbers beside batch_size=; an order at random is shuffle=True, and a Subset has "
            "its row numbers in subset.indices"
        )
    counted: Any = getattr(sampler, "data_source", getattr(sampler, "dataset", None))
    if isinstance(counted, BlockBatchSampler) or is_loader(counted):
        raise LoaderError(
            f"{type(sampler).__name__} of {an(type(counted).__name__)} numbers its "
            f"{len(counted)} batches, and sampler= the rows: a BlockBatchSampler, and a Loader, "
            "divide rows among ranks and shuffle them by themselves; leave the "
            f"{type(sampler).__name__} out"
        )
    ours = isinstance(sampler, BlockBatchSampler) and isinstance(dataset, Sized)
    if ours and sampler.rows != len(dataset):
        raise LoaderError(
            f"sampler= numbers {sampler.rows} rows, and the dataset has {len(dataset)}: make it "
            "of the dataset, BlockBatchSampler(dataset, 64); indices= chooses rows"
        )


def _gives_single_rows(sampler: Any, batch_size: int | None) -> bool:
    """Tell by the first of a list; what is no list and has no size gives them to a `batch_size`."""
    if batch_size is not None and getattr(sampler, "batch_size", None) is None:
        first = next(iter(sampler), None) if isinstance(sampler, Sequence) else None
        return not holds_rows(first)
    return isinstance(sampler, Sampler) and not isinstance(sampler, BatchSampler)


def refuse_to_begin_again(sampler: Any, batches: Any, before: Any) -> None:
    """Raise `LoaderError` (a ValueError) where a sampler gives its rows once, and has given them.

    `batches` are those of this iteration, `before` those of one that has begun before, or None.
    """
    rows = batches if batches is before else getattr(sampler, "sampler", sampler)
    once = isinstance(rows, Iterator) and type(rows).__module__ in ("builtins", "itertools")
    if before is not None and once:
        raise LoaderError(
            f"the rows of sampler= come from {an(type(rows).__name__)}, which an iteration before "
            "this one has gone through: give what begins anew in each epoch, as a list or a Sampler"
        )


def refuse_other_rows(dataset: Any, sampler: Any) -> None:
    """Raise `LoaderError` (a ValueError) where a dataset has other rows than its sampler numbers.

    A `Subset` whose indices were changed would lose those that are new.
    """
    ours = isinstance(sampler, BlockBatchSampler) and isinstance(dataset, Sized)
    if ours and sampler.rows != len(dataset):
        raise LoaderError(
            f"the dataset had {sampler.rows} rows when the Loader was made, and has "
            f"{len(dataset)} now: make a new Loader"
        )


def is_default(value: Any, default: Any) -> bool:
    """Tell whether an argument asks for nothing else than its default; arrays are not compared."""
    return value is default or (isinstance(default, int | str) and value == default)
