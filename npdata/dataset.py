"""`NumpyDataset`: fields of equal length, as a map-style dataset for any DataLoader.

Idea: a dataset is a tuple of fields, the form of its samples and two optional functions; every
way in (`ds[i]`, `ds[rows]`, `__getitems__`) picks rows from the same fields. Invariant: the rows
are those of NumPy's `array[indices]`, whatever the source. It opens nothing itself (`sources`),
converts nothing itself (`field`), and knows no order (samplers).
"""

import os
from collections.abc import Mapping, Sequence
from typing import Any, Self

import numpy as np
import torch
from numpy.typing import DTypeLike, NDArray
from torch.utils.data import ConcatDataset, Dataset

from npdata.arguments import Paths, dtypes_of, fields_of, paths_of, split_options
from npdata.batch import Batch, SampleForm
from npdata.blocks import Blocks
from npdata.collate import collate
from npdata.describe import Description, describe
from npdata.device import Allocate, batch_buffer, plain_buffer
from npdata.errors import ClosedError, FieldError
from npdata.field import Field
from npdata.indexing import row_number, row_numbers, selects_many
from npdata.masked import MaskedRows
from npdata.order import split
from npdata.seeded import SeededRows
from npdata.sources.base import Source
from npdata.sources.concat import ConcatSource
from npdata.sources.npz import npz_members
from npdata.sources.opening import SEPARATOR, SourceLike, open_source
from npdata.transforms import Transform, Transforms

Rows = NDArray[np.int64]
Path_ = str | os.PathLike[str]


class NumpyDataset(Dataset[Any]):
    """Rows of arrays and files as samples for PyTorch, without a conversion step.

    `NumpyDataset(x, y)` gives tuples `(x[i], y[i])`, `NumpyDataset(x)` bare tensors,
    `NumpyDataset(image=x, label=y)`, or a mapping, dicts. Every argument is whatever
    `npdata.open_source` takes: an array, an `np.memmap`, a path to a `.npy`, `"d.npz::x"`,
    `"d.h5::x"`, an open `h5py.Dataset`. All fields have the same number of rows.

    `transform` is applied to each sample, which is then an independent copy, by `ds[i]` and in
    batches; `batch_transform` to each stacked batch, by `ds[rows]` and `npdata.collate`. One with a
    parameter `rng` gets a NumPy generator there, made of seed, epoch and position: such a dataset
    is read by `npdata.Loader`, or a DataLoader with a `BlockBatchSampler` of it. `dtype`
    casts after reading: one for all fields, or a mapping from field name or position, or a
    sequence with one (or None) per field; `str` or `bytes` keeps text.

    Raises `FieldError` (a ValueError) for fields of different length, for none, and for options
    that name no field; and whatever opening a field raises.

    Examples:
        >>> ds = npdata.NumpyDataset(image="x.npy", label=np.arange(5))
        >>> ds[-1]["label"], ds[[0, 3]]["image"].shape
        (tensor(4), torch.Size([2, 2, 3]))
    """

    def __init__(
        self,
        *fields: SourceLike | Mapping[str, SourceLike],
        transform: Transform | None = None,
        batch_transform: Transform | None = None,
        dtype: object = None,
        **named: SourceLike,
    ) -> None:
        """Open the fields; see the class for the arguments."""
        names, sources = fields_of(fields, named)
        dtypes = dtypes_of(dtype, names, len(sources))
        labels: Sequence[str | int] = names or range(len(sources))
        opened = tuple(map(Field.open, labels, sources, dtypes))
        for field in opened[1:]:
            if len(field.source) != len(opened[0].source):
                raise FieldError(
                    f"field {opened[0].label!r} ({opened[0].source.where}) has "
                    f"{len(opened[0].source)} rows, field {field.label!r} ({field.source.where}) "
                    f"has {len(field.source)}; all fields need the same number"
                )
        self._fields = opened
        self._form = SampleForm(names=names, bare=names is None and len(opened) == 1)
        self._transforms = Transforms.of(transform, batch_transform)
        self._closed = False

    @classmethod
    def from_npy(cls, *paths: Path_, **options: Any) -> Self:
        """Open `.npy` files: `from_npy("x.npy", "y.npy")` or `from_npy(image="x.npy")`.

        Examples:
            >>> len(npdata.NumpyDataset.from_npy("x.npy", "y.npy"))
            5
        """
        return cls(*paths, **options)

    @classmethod
    def from_npz(cls, path: Path_, *members: str, **options: Any) -> Self:
        """Open arrays of one `.npz`: those named, or every one as a field of dict samples.

        Examples:
            >>> sorted(npdata.NumpyDataset.from_npz("d.npz")[0])
            ['x', 'y']
            >>> x, y = npdata.NumpyDataset.from_npz("d.npz", "x", "y")[0]
        """
        own, named = split_options(options)
        if not members and not named:
            named = {name: name for name in npz_members(os.fspath(path))}
        at = f"{os.fspath(path)}{SEPARATOR}"
        if named:
            return cls(
                *(f"{at}{m}" for m in members), {n: f"{at}{m}" for n, m in named.items()}, **own
            )
        return cls(*(f"{at}{member}" for member in members), **own)

    @classmethod
    def from_raw(
        cls,
        path: Path_,
        *,
        dtype: DTypeLike,
        shape: int | tuple[int, ...] = (-1,),
        transform: Transform | None = None,
        batch_transform: Transform | None = None,
    ) -> Self:
        """Open a raw binary file of `dtype` (a NumPy dtype) in C order; one size may be -1.

        Examples:
            >>> npdata.NumpyDataset.from_raw("t.bin", dtype="uint16", shape=(-1, 4))[0].shape
            torch.Size([4])
        """
        source = open_source(path, dtype=dtype, shape=shape)
        return cls(source, transform=transform, batch_transform=batch_transform)

    @classmethod
    def from_hdf5(cls, path: Paths, *datasets: str, **options: Any) -> Self:
        """Open datasets of an HDF5 file: `from_hdf5("d.h5", "x", "y")` or `(..., image="x")`.

        Several paths, or a glob such as `"part-*.h5"` (sorted), give their rows one after the
        other. Raises `FieldError` where no dataset is named, a glob finds nothing or a file comes
        twice.

        Examples:
            >>> npdata.NumpyDataset.from_hdf5("d.h5", "x", "y")[0][1]
            tensor(0)
        """
        own, named = split_options(options)
        paths = paths_of(path)
        if not datasets and not named:
            raise FieldError(
                f"from_hdf5({os.fspath(paths[0])!r}) names no dataset; give their names, as in "
                f'from_hdf5(path, "images", "labels")'
            )
        sources = [_hdf5_field(paths, name) for name in datasets]
        fields = {field: _hdf5_field(paths, name) for field, name in named.items()}
        return cls(*sources, fields, **own) if fields else cls(*sources, **own)

    def __len__(self) -> int:
        """Give the number of samples."""
        return len(self._fields[0].source)

    def __getitem__(self, index: object) -> Any:
        """Give sample `index`, or for a slice, mask, list, array or tensor the rows stacked.

        A sample shares the memory of the data where that is sound (`describe()` tells), and so
        does a slice; other selections are gathered into new tensors. Raises `RowIndexError` (an
        IndexError) out of range, `RowIndexTypeError` (a TypeError) for what is no row number.
        """
        self._require_open()
        if not selects_many(index):
            return self._sample(row_number(index, len(self)))
        if isinstance(index, slice) and not self._transforms.any:
            return self._form.build(tuple(self._sliced(field, index) for field in self._fields))
        batch = self._gathered(index, plain_buffer)
        return collate(batch) if self._transforms.any else batch.stacked

    def __getitems__(self, indices: object) -> Batch:
        """Gather the rows of `indices` (a list, array or tensor of ints) into a `Batch`.

        `MaskedRows`, as a sampler gives them, make a batch with a mask, `SeededRows` one with what
        random transforms need.
        One gather per field, straight into the batch's last buffer: shared memory in a DataLoader
        worker, page-locked memory in the main process where an accelerator is there. Raises like
        `ds[indices]`.
        """
        self._require_open()
        copied = self._transforms.sample is not None
        return self._gathered(indices, plain_buffer if copied else batch_buffer)

    def _gathered(self, indices: object, allocate: Allocate) -> Batch:
        sample_rng, batch_transform = self._transforms.bound(indices)
        chosen = indices.rows if isinstance(indices, SeededRows) else indices
        mask = torch.from_numpy(chosen.mask) if isinstance(chosen, MaskedRows) else None
        rows = row_numbers(chosen, len(self))
        values = tuple(field.stack(rows, allocate) for field in self._fields)
        sample = self._transforms.sample
        return Batch(values, len(rows), self._form, sample, batch_transform, mask, sample_rng)

    def _sample(self, row: int) -> Any:
        transform = self._transforms.for_one(row)
        copied = transform is not None
        sample = self._form.build(tuple(f.row(row, independent=copied) for f in self._fields))
        return sample if transform is None else transform(sample)

    @property
    def takes_rng(self) -> bool:
        """Whether a transform takes `rng`, so that batches must be `SeededRows`."""
        return self._transforms.seeded

    @property
    def sources(self) -> tuple[Source, ...]:
        """Where the rows of each field lie."""
        return tuple(field.source for field in self._fields)

    def _sliced(self, field: Field, index: slice) -> Any:
        view = field.span(index)
        return field.stack(row_numbers(index, len(self)), plain_buffer) if view is None else view

    @property
    def blocks(self) -> Blocks:
        """The blocks of rows that are cheapest to read together, of the costliest field."""
        return max(self.sources, key=lambda source: (source.access.cost, source.row_bytes)).blocks

    def split(self, fraction: float, *, seed: int = 0) -> tuple[Rows, Rows]:
        """Split the row numbers at random: two int64 arrays, disjoint, ascending, of every row.

        The first has `round(fraction * len(ds))` rows. The same arguments give the same split.
        Pass a part to `BlockBatchSampler(..., indices=)` or `torch.utils.data.Subset`. Raises
        `SamplerError` (a ValueError) for a fraction outside [0, 1].

        Examples:
            >>> train, test = npdata.NumpyDataset("x.npy").split(0.8, seed=1)
            >>> len(train), len(test)
            (4, 1)
        """
        return split(len(self), fraction, seed)

    def describe(self) -> Description:
        """Tell per field its shape, dtype, access, whether samples are views, and why.

        Examples:
            >>> print(npdata.NumpyDataset(np.zeros((2, 3))).describe())
            2 rows, 24 bytes each
            0: array in memory
              shape   (2, 3), float64 -> torch.float64
              access  memory: an array of this process, read in place
              sample  view: the memory is shared: writable, aligned, and float64 is native to torch
        """
        return describe(self._fields, independent=self._transforms.sample is not None)

    def __repr__(self) -> str:
        """Give the fields in one line."""
        fields = ", ".join(f"{f.label}: {f.source.shape} {f.source.dtype}" for f in self._fields)
        return f"{type(self).__name__}({fields})"

    def __add__(self, other: Dataset[Any]) -> Any:
        """Lay two datasets end to end; batches stay one gather where both are of the same form.

        Datasets of different fields, dtypes or transforms give torch's `ConcatDataset`.
        """
        if not isinstance(other, NumpyDataset) or self._kind != other._kind:
            return ConcatDataset([self, other])
        joined = tuple(
            ConcatSource([a.source, b.source])
            for a, b in zip(self._fields, other._fields, strict=True)
        )
        arguments = (
            (dict(zip(self._form.names, joined, strict=True)),) if self._form.names else joined
        )
        return NumpyDataset(
            *arguments,
            transform=self._transforms.sample,
            batch_transform=self._transforms.batch,
            dtype=[field.asked for field in self._fields],
        )

    @property
    def _kind(self) -> tuple[Any, ...]:
        rows = [(f.source.shape[1:], f.source.dtype, f.asked) for f in self._fields]
        return self._form, rows, self._transforms

    def close(self) -> None:
        """Let go of files; tensors that were given out stay valid, further reads raise."""
        self._closed = True
        for field in self._fields:
            field.source.close()

    def _require_open(self) -> None:
        if self._closed:
            raise ClosedError("the dataset was closed; make a new one")

    def __enter__(self) -> Self:
        """Use the dataset in a with block, which closes it."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close the dataset."""
        self.close()


def _hdf5_field(paths: list[str], name: str) -> Any:
    parts = [open_source(f"{path}{SEPARATOR}{name}") for path in paths]
    return parts[0] if len(parts) == 1 else ConcatSource(parts)
