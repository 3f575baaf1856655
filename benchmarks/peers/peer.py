"""What a peer is: another way to get shuffled batches out of the same files.

Idea: the rows lie once in a folder as `.npy` and HDF5. A peer may convert them into its own form,
opens what it reads, and begins a pass over a given order. Invariant: a pass gives (x, y) batches
of float32 and int64, every row of the order once. It measures no time.
"""

import os
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cached_property
from importlib.metadata import version
from pathlib import Path
from typing import Any

import h5py
import numpy as np


@dataclass(frozen=True, kw_only=True)
class Data:
    """`rows` rows of `width` float32 and a label, in `folder`; `write` makes the files."""

    folder: Path
    rows: int
    width: int

    @property
    def x(self) -> Path:
        """The rows, as `.npy`."""
        return self.folder / "x.npy"

    @property
    def y(self) -> Path:
        """The labels, as `.npy`."""
        return self.folder / "y.npy"

    @property
    def hdf5(self) -> Path:
        """Both as datasets `x` and `y`, contiguous, as h5py writes by default."""
        return self.folder / "data.h5"

    @property
    def row_bytes(self) -> int:
        """Bytes of a row and its label."""
        return self.width * 4 + 8

    def own(self, name: str) -> Path:
        """Where a peer puts its own form."""
        return self.folder / name

    def arrays(self) -> tuple[np.ndarray, np.ndarray]:
        """Map the rows and labels, as plain arrays: those are indexed faster than memmaps."""
        x, y = (np.load(path, mmap_mode="c") for path in (self.x, self.y))
        return x.view(np.ndarray), y.view(np.ndarray)

    def write(self, *, hdf5: bool = False) -> "Data":
        """Write the `.npy` files, and the HDF5 file where asked for; gives itself."""
        self.folder.mkdir(parents=True, exist_ok=True)
        x = np.random.default_rng(0).random((self.rows, self.width), np.float32)
        y = np.arange(self.rows)
        np.save(self.x, x)
        np.save(self.y, y)
        if hdf5:
            with h5py.File(self.hdf5, "w") as file:
                file["x"], file["y"] = x, y
        os.sync()  # Or the system writes them while others are timed.
        return self


@dataclass(frozen=True, kw_only=True)
class Epoch:
    """One order of the rows in batches, for so many workers (processes or threads)."""

    order: np.ndarray
    batch: int
    workers: int = 0

    @cached_property
    def arrays(self) -> list[np.ndarray]:
        """The row numbers of each batch."""
        return [self.order[k : k + self.batch] for k in range(0, len(self.order), self.batch)]

    @cached_property
    def lists(self) -> list[list[int]]:
        """The same as lists, which is what torch's own samplers give."""
        return [rows.tolist() for rows in self.arrays]


def shuffled(data: Data, *, batch: int, workers: int = 0, most: int | None = None) -> Epoch:
    """Give a random order of the rows, or of `most` of them."""
    order = np.random.default_rng(1).permutation(data.rows)[:most]
    return Epoch(order=order, batch=batch, workers=workers)


@dataclass(frozen=True, kw_only=True)
class Peer:
    """`convert` writes its own form, `open` opens what is read, `batches` begins a pass.

    `package` is the distribution it is part of. `own_order` says that it shuffles by itself, so
    that only the set of rows can be compared. `workers` are the numbers it can have, which are
    `processes` or `threads`.
    """

    name: str
    package: str
    open: Callable[[Data], Any]
    batches: Callable[[Any, Epoch], Iterable[Any]]
    convert: Callable[[Data], None] | None = None
    own_order: bool = False
    takes: Callable[[int], bool] = lambda workers: True
    kind: str = "processes"

    @property
    def version(self) -> str:
        """The version that is installed."""
        return version(self.package)
