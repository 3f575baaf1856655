"""The words of a DataLoader, as a `Loader` understands them.

Idea: what someone types who has used DataLoader for years works where it means the same here, and
is else refused naming npdata's word. Invariant: no argument is ignored that would change a batch.
It reads nothing and makes no thread.
"""

import os
import sys
from collections.abc import Mapping, Sequence
from typing import Any, TypedDict

import numpy as np
from torch import Tensor
from torch.utils.data import ConcatDataset, Dataset, Subset

from npdata.arrays.indexing import may_be_rows, take_one_of
from npdata.dataset.arguments import OPTIONS
from npdata.dataset.collate import collate
from npdata.dataset.numpy_dataset import NumpyDataset
from npdata.errors import LoaderError, an
from npdata.loading.choose_sampler import OF_SAMPLERS, is_default
from npdata.sampling.order.wrapped import fetcher_in, is_loader
from npdata.sampling.sampler import WORDS
from npdata.suggestions import did_you_mean, each_word


class Words(TypedDict, total=False):
    """Arguments of a DataLoader that ask for nothing else of a `Loader`, for who checks types."""

    num_workers: int
    collate_fn: Any
    generator: Any
    timeout: float
    worker_init_fn: Any
    multiprocessing_context: Any
    prefetch_factor: int | None
    persistent_workers: bool
    pin_memory_device: str
    in_order: bool
    batch_sampler: Any


_OF_DATALOADERS: dict[str, tuple[tuple[Any, ...], str]] = {
    "num_workers": (
        (0,),
        "a Loader makes batches on threads of this process: write num_threads=, or leave it out",
    ),
    "collate_fn": (
        (None, collate),
        "a Loader gathers each batch whole: change batches by batch_transform= of the dataset, or "
        "use DataLoader",
    ),
    "generator": ((None,), "the order is made of a number: write seed="),
    "timeout": ((0,), "threads cannot hang as worker processes do: leave it out"),
    "worker_init_fn": (
        (None,),
        "there are no worker processes: give transform= a parameter rng, and set up the rest in "
        "this process",
    ),
    "multiprocessing_context": ((None,), "there are no worker processes: leave it out"),
    "prefetch_factor": ((None,), "write prefetch=, the batches ready for all threads together"),
    "persistent_workers": ((False, True), "there are no worker processes: leave it out"),
    "pin_memory_device": (("",), "write device=, where batches then arrive"),
    "in_order": ((True,), "batches always come in order: leave it out"),
}
"""Arguments that have no place in a signature: values that ask for nothing else here, or a cure."""
_PRIORITIES = (
    "weights that change in an epoch are a sampler of your own, which gives the rows of each "
    "batch: Loader(dataset, sampler=batches, num_threads=0); those that change between epochs are "
    "weights= of a new Loader, with loader.set_epoch(epoch)"
)
_OF_LOADERS = each_word(
    {
        "priorities priority": _PRIORITIES,
        **WORDS,
        "state resume start_state": "make the loader, then loader.load_state_dict(state)",
        "start_epoch epoch initial_epoch": "make the loader, then loader.set_epoch(epoch)",
        "start start_step skip skip_batches": "loader.load_state_dict(state) goes on in mid-epoch",
        "epochs num_epochs max_epochs": "each loop over it is an epoch: for epoch in range(epochs)",
        "data_source": "dataset",
        "subset rows": "indices",
        "in_memory preload cache_in_memory": "resident",
        "to to_device": "device",
        "non_blocking": "copies to a device do not wait: leave it out",
        "workers threads": "num_threads",
        "prefetch_batches queue_size": "prefetch",
        "max_memory memory_limit": "memory_budget",
        "fields keys": "fields are chosen where the dataset is made, NumpyDataset(x=..., y=...)",
        "transforms target_transform augment preprocess map collate": (
            "functions are given to the dataset: NumpyDataset(..., transform=f) for samples, "
            "batch_transform=f for batches"
        ),
    }
)
"""Arguments that people look for in a loader, and what takes their place."""


def require_npdata_words(words: Mapping[str, Any], known: tuple[str, ...]) -> None:
    """Raise `LoaderError` for arguments of a DataLoader that mean nothing here; `known` are ours.

    Examples:
        >>> require_npdata_words({"num_workers": 0, "collate_fn": npdata.collate}, ())
        >>> require_npdata_words({"num_workers": 4}, ())
        Traceback (most recent call last):
        npdata.errors.LoaderError: num_workers=4: a Loader makes batches on threads of this ...
    """
    for name, value in words.items():
        ours = _OF_LOADERS.get(name, name)
        if ours in OF_SAMPLERS and ours not in known:
            raise LoaderError(
                f"{name}= is an argument of the sampler: write Loader(dataset, "
                f"sampler=BlockBatchSampler(dataset, {ours}={value!r}, ...))"
            )
        if name in OPTIONS:
            raise LoaderError(
                f"{name}= is for the rows of a dataset: NumpyDataset(..., {name}=...), which the "
                "Loader then reads"
            )
        if name in _OF_DATALOADERS:
            harmless, cure = _OF_DATALOADERS[name]
            if not any(is_default(value, each) for each in harmless):
                raise LoaderError(f"{name}={value!r}: {cure}")
        elif name != "batch_sampler":
            cure = did_you_mean(name, [*known, *_OF_DATALOADERS, "batch_sampler"])
            if name in _OF_LOADERS:
                cure = f"; write {ours}=" if ours in known else f"; {ours}"
            raise LoaderError(
                f"{name}= is no argument of a Loader{cure} (it has {', '.join(known)})"
            )


SETTINGS = {name: cure for name, (_, cure) in _OF_DATALOADERS.items()}
SETTINGS |= {"batch_sampler": "sampler", "transform": _OF_LOADERS["transforms"]}
"""Attributes that people set on a DataLoader, and what to do for them."""
_NO_DATALOADER = (
    "it is no DataLoader. What needs one, as ray.train.torch.prepare_data_loader, takes "
    "DataLoader(loader, batch_size=None); the rows are divided among ranks already"
)
ATTRIBUTES = dict.fromkeys([*_OF_DATALOADERS, "batch_sampler", "pin_memory"], _NO_DATALOADER)
ATTRIBUTES |= each_word(
    {
        "update_priorities set_priorities set_weights weights": _PRIORITIES,
        "new": "fastai makes a loader anew where it is given none; get_preds(dl=loader)",
        "epoch current_epoch": "loader.batch_sampler.epoch counts them",
        "step current_step position": "loader.stats().batches counts those of this epoch",
        "to to_device cuda cpu": 'write Loader(dataset, 64, device="cuda")',
        "next __next__ iter peek first batch batches batched unbatched": (
            "write next(iter(loader)), or for batch in loader"
        ),
        "enumerate zip": "write for step, batch in enumerate(loader)",
        "take skip head islice with_epoch with_length": _OF_LOADERS["max_steps"],
        "repeat cycle": _OF_LOADERS["repeat"],
        "resume restart restore load save state checkpoint": (
            "state = loader.state_dict() is saved, and goes into loader.load_state_dict(state)"
        ),
        "filter select split shard indices": "rows are chosen by indices= where it is made",
        "cache": "Loader(dataset, 64, resident=True) holds the rows in memory",
        "num_threads prefetch": "loader.describe() says how many, and why",
        "num_samples samples": "len(loader) counts batches, len(loader.dataset) rows",
        "num_batches steps steps_per_epoch total length size": "len(loader) counts them",
        "shuffle seed reshuffle": "repr(loader) shows it; another one is another Loader",
        "map compose transform batch_transform": "functions are batch_transform= of the dataset",
        "reset": "each loop over it is the next epoch, and set_epoch(0) begins again",
        "shape shapes dtypes names fields": "loader.dataset has them",
    }
)
"""Attributes that people look for, and what takes their place."""


def no_dataset(given: object) -> str:
    """Say what to give a `Loader` in place of what has no `__getitems__`.

    Examples:
        >>> no_dataset("x.npy")
        "a Loader reads a dataset, not a str: write Loader(npdata.NumpyDataset('x.npy'), 64)"
    """
    kind = type(given).__name__
    if isinstance(given, str | os.PathLike | np.ndarray | Tensor | Mapping):
        shown = repr(os.fspath(given)) if isinstance(given, str | os.PathLike) else "data"
        rows = "; if these are row numbers, Loader(dataset, 64, indices=rows)"
        return (
            f"a Loader reads a dataset, not {an(kind)}: write Loader(npdata.NumpyDataset({shown}), "
            f"64){rows if may_be_rows(given) else ''}"
        )
    if isinstance(given, range | list | tuple):
        if given and all(isinstance(each, NumpyDataset) for each in given):
            return "a Loader reads one dataset: write Loader(sum(datasets), 64)"
        rows = take_one_of(given) and "train, with train, test = dataset.split(0.8)"
        return (
            f"a Loader reads a dataset, not {an(kind)}: write Loader(npdata.NumpyDataset(x, y), "
            f"64); row numbers go into Loader(dataset, 64, indices={rows or 'rows'})"
        )
    if is_loader(given):
        return f"{an(kind)} makes batches already: iterate it, or write Loader(loader.dataset, 64)"
    if isinstance(given, NumpyDataset):
        return (
            f"{kind} changes __getitem__ alone, which a Loader would not go through: write the "
            "change as transform= of a NumpyDataset, or change __getitems__ as well"
        )
    if isinstance(given, ConcatDataset):
        every = _parts_of(given)
        if any(isinstance(part, Subset) for part in every):
            return f"Subsets that are added read sample by sample: write {_in_place_of(every)}"
        parts = [part for part in every if isinstance(part, NumpyDataset)]
        other = [part for part in parts[1:] if repr(part) != repr(parts[0])][:1]
        these = f" (here are {parts[0]!r} and {other[0]!r})" if other else ""
        return (
            "a ConcatDataset reads sample by sample: write first + second, which joins npdata "
            f"datasets of the same fields, shapes, dtypes and functions{these}; for others use "
            "DataLoader"
        )
    return (
        f"{kind} has no __getitems__, which takes the row numbers of a batch and gives its "
        "samples; arrays and files go into npdata.NumpyDataset(...), a choice of rows into "
        "indices=; for other datasets use torch.utils.data.DataLoader"
    )


def _in_place_of(parts: Sequence[Dataset[Any]]) -> str:
    """Give the loader of the rows that a sum chooses, of which some parts are Subsets."""
    inside = [part.dataset for part in parts if isinstance(part, Subset)]
    if len(inside) == len(parts) and all(each is inside[0] for each in inside):
        return "Loader(dataset, 64, indices=[*first.indices, *second.indices])"
    return (
        "Loader(a + b, 64, indices=[*first.indices, *(len(a) + k for k in second.indices)]), where "
        "a and b are the datasets inside, and all rows of one are range(len(a))"
    )


def _parts_of(given: Dataset[Any]) -> list[Dataset[Any]]:
    """Give the datasets of a sum, which torch nests: of three, the first two are one term."""
    if not isinstance(given, ConcatDataset):
        return [given]
    return [part for term in given.datasets for part in _parts_of(term)]


def refuse_batches_of_batches() -> None:
    """Raise `LoaderError` where a DataLoader is about to batch the batches of a loader."""
    if getattr(fetcher_in(sys._getframe(2)), "auto_collation", False):
        raise LoaderError(
            "DataLoader(loader) makes batches of the batches of a Loader: write "
            "DataLoader(loader, batch_size=None), which hands them on, or iterate the Loader itself"
        )
