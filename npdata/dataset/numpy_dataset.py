"""`NumpyDataset`: fields of equal length, as a map-style dataset for any DataLoader.

Idea: a dataset is a tuple of fields, the form of its samples and two optional functions; every
way in (`ds[i]`, `ds[rows]`, `__getitems__`) picks rows from the same fields. Invariant: the rows
are those of NumPy's `array[indices]`, whatever the source. It opens nothing itself (`sources`),
converts nothing itself (`field`), and knows no order (samplers).
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Self

import numpy as np
import torch
from numpy.typing import ArrayLike
from torch import Tensor
from torch.utils.data import ConcatDataset, Dataset

from npdata.arrays.dtypes import Ints
from npdata.arrays.flag import flag
from npdata.arrays.indexing import row_number, row_numbers, selects_many
from npdata.arrays.windows import Edge
from npdata.dataset.arguments import OPTIONS, SETTINGS, as_field, fields_of
from npdata.dataset.batch import Batch, SampleForm
from npdata.dataset.batch_memory import Allocate, batch_memory, plain_memory, staging_memory
from npdata.dataset.collate import collate
from npdata.dataset.field import Field
from npdata.dataset.field_of_dataset import field_or_given, only_field
from npdata.dataset.from_files import FromFiles
from npdata.dataset.open_field import open_fields
from npdata.dataset.ragged_form import Form
from npdata.dataset.rows_field import RowsField
from npdata.dataset.splits import Splits
from npdata.dataset.statistics import WithStatistics
from npdata.dataset.transforms import Bound, Transform, Transforms
from npdata.dataset.windows import WORDS, Offsets, windowed
from npdata.errors import FieldError
from npdata.sampling.row_numbers import MaskedRows, RowNumbers, SeededRows
from npdata.sources.base import Source
from npdata.sources.cache.cache import CachePlace
from npdata.sources.derived.base import origin
from npdata.sources.derived.columns import Columns
from npdata.sources.open import SourceLike
from npdata.sources.packed.decode import Decode
from npdata.sources.sparse import Layout
from npdata.suggestions import explained, refuse_to_set


class NumpyDataset(FromFiles, Splits, WithStatistics, Dataset[Any]):
    """Rows of arrays and files as samples for PyTorch, without a conversion step.

    `NumpyDataset(x, y)` gives tuples `(x[i], y[i])`, `NumpyDataset(x)` bare tensors,
    `NumpyDataset(image=x, label=y)` dicts. Each option is for all fields that it fits, or a mapping
    from field name or position.

    Args:
        *fields: fields of the same number of rows, each whatever `npdata.open_source` takes: an
            array, tensor or column, an `np.memmap`, a path to a `.npy`, `"d.npz::x"`, `"d.h5::x"`,
            an open `h5py.Dataset`; or a dataset of one field, as `npdata.stack` gives, or a torch
            `Subset` of one, whose rows are chosen by number. One mapping names fields, as `named`
            does.
        transform: a function of each sample, in `ds[i]` and in batches. It gets a copy. Where it
            has a parameter `rng`, it also gets a NumPy generator: made of seed, epoch and position
            where rows come from `npdata.Loader` or a `BlockBatchSampler`, else of the row alone.
        batch_transform: a function of each stacked batch, wherever rows leave the dataset, which
            may take `rng` too. Where samples are asked for (`ds[i]` is a batch of one;
            `default_collate`; a wrapper), its result is taken apart.
        dtype: a dtype of torch or NumPy, or its name: casts after reading. A sequence has one (or
            None) for each field. `str` or `bytes` keeps text. None: numbers stay as they are.
            What is too large for a narrower float becomes an infinity, as in torch, and integers
            wrap around, as in NumPy. Floats that an integer cannot hold raise.
        ragged: the form of a batch of samples of different lengths (`npdata.ragged`, HDF5 datasets
            of variable length): "padded" (the default) gives `Padded` values and lengths, "jagged"
            a nested tensor of torch's jagged layout, "list" a list of tensors, and "stacked" one
            tensor of samples that `transform` brings to one shape. The last two also take samples
            that differ in other axes, as images of different sizes.
        padding: the number that "padded" fills up with. Default: 0.
        layout: the form of a batch of sparse rows (`npdata.csr`, `"cells.h5ad::X"`): "dense" (the
            default), or "csr", a tensor of torch's layout.
        decode: "cf" gives what the numbers of netCDF-4 and other HDF5 files stand for by their
            attributes: scaled, NaN where missing or not valid, times as int64 nanoseconds since
            1970. "matlab" makes logical values bool and, with `dtype=str`, char arrays text; "nwb"
            is the conversion of NWB time series. None: numbers are as stored, and rows that are
            packed in different ways are refused.
        columns: which columns of records (tables, structured arrays). A name such as "age" or
            "pos.x" gives that column alone, several names a dict of them, with text as str.
            `"t.h5::table.age"` names one column as well. None: all.
        axis: the axis that the rows lie along, as in `np.moveaxis(array, axis, 0)`. Default: 0; -1
            is for files of MATLAB, whose first axis is the last here. With a tuple, rows lie along
            several axes: `(0, 1)` makes each step of (trajectories, steps, ...) a row and each
            trajectory a recording, which no window leaves. Row i is that of
            `array.reshape(-1, *array.shape[2:])`, of other axes with these moved to the front.
        cache: keeps compressed HDF5 decoded, so that each chunk is decoded once: in a folder, which
            ranks, workers and later runs share, or with "ram" in memory, for as long as the dataset
            lives. None: only the chunk cache of the process.
        cache_bytes: bytes of all that is in the folder (or in memory) together. None: half of what
            the disk (or memory) has free without it. What was not used for the longest is removed,
            and of a dataset that does not fit the first chunks are kept.
        copy: False promises that `transform` does not write into its sample, which is then a view
            where rows lie in place: a crop reads what it crops. Default: True.
        **named: fields by name, in place of `fields`.

    Raises:
        FieldError: a ValueError, for fields of different length, for none, and for options that
            name no field.
        BatchTransformError: a ValueError, from reading samples where the result of
            `batch_transform` has not one row for each.
        SampleWrittenError: a RuntimeError, from reading samples where `transform` wrote into one in
            spite of `copy=False`.
        OSError: where nothing can be written in the folder of `cache`; besides, whatever opening a
            field raises.

    Examples:
        >>> ds = npdata.NumpyDataset(image="x.npy", label=np.arange(5))
        >>> ds[-1]["label"], ds[[0, 3]]["image"].shape
        (tensor(4), torch.Size([2, 2, 3]))
    """

    def __init__(
        self,
        /,
        *fields: "SourceLike | Mapping[str, SourceLike]",
        transform: Transform | None = None,
        batch_transform: Transform | None = None,
        dtype: object = None,
        ragged: Form | Mapping[Any, Form] | None = None,
        padding: float | Mapping[Any, float] | None = None,
        layout: Layout | Mapping[Any, Layout] | None = None,
        decode: Decode | Mapping[Any, Decode] | None = None,
        columns: Columns | Mapping[Any, Columns] | None = None,
        axis: int | tuple[int, ...] | Mapping[Any, int | tuple[int, ...]] = 0,
        cache: CachePlace | Mapping[Any, CachePlace] | None = None,
        cache_bytes: int | None = None,
        copy: bool = True,
        **named: "SourceLike",
    ) -> None:
        copies = flag("copy", copy, FieldError, f"; {as_field('copy')}")
        transforms = Transforms.of(transform, batch_transform, copies)
        names, sources = fields_of(fields, named)
        sources = tuple(map(field_or_given, names or range(len(sources)), sources))
        options: dict[str, Any] = {"dtype": dtype, "decode": decode}
        options |= {"ragged": ragged, "padding": padding, "layout": layout}
        options |= {"columns": columns, "axis": axis}
        options |= {"cache": cache, "cache_bytes": cache_bytes}
        opened = open_fields(names, sources, options)
        self._hold(
            opened,
            SampleForm.of(opened, named=names is not None),
            transforms,
            owned=tuple(
                field.source
                for field, given in zip(opened, sources, strict=True)
                if origin(field.source) is not origin(given) and not isinstance(given, Field)
            ),
        )

    def _hold(
        self,
        fields: tuple[Field, ...],
        form: SampleForm,
        transforms: Transforms,
        owned: tuple[Source, ...],
    ) -> Self:
        self._fields = fields
        self._length = len(fields[0])
        # Whether a batch is the gather of its fields, each a tensor, and nothing else.
        self.gathers_only = all(field.plain for field in fields) and not transforms.any
        self._form = form
        self._transforms = transforms
        self._owned = owned
        self._closed = False
        return self

    def __init_subclass__(cls, **options: Any) -> None:
        """Keep a subclass that changes `ds[i]` right: batches are then made of its samples."""
        super().__init_subclass__(**options)
        if "__getitem__" in vars(cls) and "__getitems__" not in vars(cls):
            cls.__getitems__ = None  # type: ignore[assignment,method-assign]

    if not TYPE_CHECKING:

        def __setattr__(self, name: str, value: object) -> None:
            """Refuse options, except as attributes of a subclass, which may use them so."""
            labels = {field.label: SETTINGS["fields"] for field in vars(self).get("_fields", ())}
            refuse_to_set(self, NumpyDataset, name, value, OPTIONS, {**SETTINGS, **labels})
            super().__setattr__(name, value)

    def __getitem__(self, index: object) -> Any:
        """Give sample `index`, or for a slice, mask, list, array or tensor the rows stacked.

        A sample shares the memory of the data where that is sound (`describe()` shows it), and so
        does a slice without a step; other selections are gathered into new tensors. Raises
        `RowIndexError` (an IndexError) out of range, `RowIndexTypeError` (a TypeError) for what is
        no row number.

        What a `BlockBatchSampler` yields gives the batch of a `Loader`: `MaskedRows` a pair, the
        stacked rows and their mask.
        """
        self._require_open()
        if isinstance(index, RowNumbers):
            return self._collated(self.__getitems__(index))
        if not selects_many(index):
            return self._sample(row_number(index, self._length))
        if isinstance(index, slice) and not self._transforms.any:
            return self._form.build(tuple(field[index] for field in self._fields))
        rows = row_numbers(index, self._length)
        values = self._stacked_fields(rows, plain_memory)
        if not self._transforms.any:
            return self._form.build(values)
        bound = self._transforms.bound(index, self._length)
        return self._collated(self._batch(rows, values, bound))

    def __iter__(self) -> Iterator[Any]:
        """Give all samples in order; an IndexError of a transform does not end them in silence."""
        for row in range(len(self)):
            yield self[row]

    def _collated(self, batch: Batch) -> Any:
        """Collate a batch, to a tuple where samples are one, without names and functions."""
        result, mask = collate(batch), ()
        if batch.mask is not None:
            result, *mask = result
        if self._transforms.batch is None and self._form.is_tuple:
            result = tuple(result)
        return (result, *mask) if mask else result

    def __getitems__(self, indices: object) -> Batch:
        """Gather the rows of `indices` (a list, array or tensor of ints) into a `Batch`.

        `MaskedRows`, from a sampler with `uneven="mask"`, give a batch with a mask; `SeededRows`
        bring what random transforms need.

        One gather per field, straight into the batch's last buffer: in a DataLoader worker memory
        that the main process has, too, and pinned memory in the main process where an accelerator
        is there. Raises like `ds[indices]`.
        """
        if self._closed:
            self._require_open()
        if self.gathers_only and not isinstance(indices, RowNumbers):
            rows = row_numbers(indices, self._length, masks=False)
            return Batch.of(self._stacked_fields(rows, batch_memory()), len(rows), self._form)
        self._transforms.warn_of_same_numbers(indices)
        bound = self._transforms.bound(indices, self._length)
        chosen = indices.rows if isinstance(indices, SeededRows) else indices
        mask = torch.from_numpy(chosen.mask) if isinstance(chosen, MaskedRows) else None
        rows = row_numbers(chosen, self._length, masks=False)
        allocate = batch_memory() if bound.sample is None else staging_memory()
        return self._batch(rows, self._stacked_fields(rows, allocate), bound, mask)

    def gathered(
        self, rows: Ints, allocate: Allocate, fields: Sequence[Field] | None = None
    ) -> Any:
        """Give `collate(ds.__getitems__(rows))`, where `gathers_only`, of int64 rows in [0, len).

        It looks at no row number, and spares a `Batch` that nobody looks into. `fields` are read in
        place of its own.
        """
        if self._closed:
            self._require_open()
        values, form = self._stacked_fields(rows, allocate, fields), self._form
        return list(values) if form.is_tuple else form.build(values)

    def _stacked_fields(
        self, rows: Ints, allocate: Allocate, fields: Sequence[Field] | None = None
    ) -> tuple[Any, ...]:
        """Give the rows of each field, stacked; for a transform that copies nothing, views."""
        copies = self._transforms.copies or not len(rows)
        values = []
        for field in self._fields if fields is None else fields:
            views = None if copies else field.views(rows)
            values.append(field.stack(rows, allocate) if views is None else views)
        return tuple(values)

    def _batch(
        self, rows: Ints, values: tuple[Any, ...], bound: Bound, mask: Tensor | None = None
    ) -> Batch:
        batch = Batch.of(values, len(rows), self._form, bound.batch, mask)
        batch.rows = rows
        if bound.sample is None or not len(rows):
            return batch
        made = batch.transformed(bound)
        for field in () if self._transforms.copies else self._fields:
            field.source.check()
        return made

    def _sample(self, row: int) -> Any:
        if not self._transforms.any:
            return self._form.build(tuple(field.row(row) for field in self._fields))
        self._transforms.warn_of_single_rows()
        bound = self._transforms.bound([row], self._length)
        if bound.batch is not None:
            rows = np.array([row])
            return self._batch(rows, self._stacked_fields(rows, plain_memory), bound)[0]
        copies = self._transforms.copies
        sample = self._form.build(tuple(f.row(row, independent=copies) for f in self._fields))
        return bound.transformed(sample, 0, row)

    @property
    def changed_way(self) -> str | None:
        """The way to samples that a subclass changed, None where it changed none."""
        ways, kind = ("__getitem__", "__getitems__"), type(self)
        changed = (n for n in ways if getattr(kind, n) is not getattr(NumpyDataset, n))
        return next(changed, None if self.numbers_rows else "__len__")

    @property
    def takes_rng(self) -> bool:
        """Whether a transform takes `rng`, so that batches must be `SeededRows`."""
        return self._transforms.seeded

    @property
    def transforms(self) -> Transforms:
        """The functions of the dataset."""
        return self._transforms

    @explained(WORDS, usage="windows(16), or windows((-1, 0)) for offsets")
    def windows(
        self,
        length: int | Offsets | Mapping[str | int, int | Offsets],
        *,
        stride: int = 1,
        borders: "ArrayLike | str | int | None" = None,
        edge: Edge = "drop",
        mask: bool = False,
    ) -> "NumpyDataset":
        """Give a dataset whose samples are windows of the rows, of shape (length, *row shape).

        No window crosses the border of a recording, and nothing is copied: a window of rows that
        lie in place is a view of them, a batch one gather. Functions that this dataset has
        (`transform`, `batch_transform`) are applied to windows. Both datasets share their files:
        to close one closes both.

        Args:
            length: rows of a window, from its anchor row on; or their offsets from the
                anchor, as `(-1, 0)` or `range(16)`. A mapping from field name or position to
                either gives each field its own; a field that is not named keeps its anchor row, in
                its own form: samples of different lengths, sparse rows, text. Windows of sparse
                rows are dense, also with `layout="csr"`; the other two have none.
            stride: from one anchor row to the next in a recording.
            borders: row numbers where recordings begin, or offsets with 0 and the end, in place of
                the parts that a field is made of (files, groups); or the name (or position) of a
                field that changes from one recording to the next, besides them. None: the parts
                are the recordings.
            edge: "drop" gives whole windows only. With "repeat" every row is an anchor (every
                `stride`-th), and the nearest row of the recording stands in for one outside, with
                "zero" zeros; without `mask`, nothing in a sample shows that padding.
            mask: with "repeat" and "zero", add for each windowed field NAME a bool field
                NAME_is_pad of shape (length,), True where padded; to tuples, after all fields.

        A `BordersWarning` names borders that may be lengths.

        Raises:
            FieldError: a ValueError, for borders or offsets that cannot be, and where no window
                fits into any recording.

        Examples:
            >>> ds = npdata.NumpyDataset(np.arange(6) * 10)
            >>> ds.windows(3)[1], len(ds.windows(3)), len(ds.windows(3, borders=[3]))
            (tensor([10, 20, 30]), 4, 2)
            >>> ds.windows((-1, 0), edge="repeat", mask=True)[0]
            (tensor([0, 0]), tensor([ True, False]))
        """
        self._require_open()
        if self.changed_way is not None:
            raise FieldError(
                f"{type(self).__name__} changes {self.changed_way}, which its windows would not go "
                "through; make windows of a plain NumpyDataset, and change their samples in "
                "transform="
            )
        named = self._form.names is not None
        fields = windowed(
            self._fields, length, stride=stride, borders=borders, edge=edge, mask=mask, named=named
        )
        form = SampleForm.of(fields, named=named)
        return _holding(tuple(fields), form, self._transforms, self._owned)

    def __add__(self, other: Dataset[Any]) -> Any:
        """Lay two datasets end to end; batches stay one gather where both are of the same form.

        The sum reads through the sources of both, so close them after it. Datasets of different
        fields, dtypes, windows or transforms give torch's `ConcatDataset`, which reads sample by
        sample.
        """
        self._require_open()
        if not isinstance(other, NumpyDataset) or not self._joins(other):
            return ConcatDataset([self, other])
        joined = tuple(map(Field.then, self._fields, other._fields))
        return _holding(joined, self._form, self._transforms, owned=())

    def __radd__(self, other: object) -> Any:
        """Give the dataset itself for 0, with which `sum(parts)` begins."""
        return self if isinstance(other, int) and other == 0 else NotImplemented

    def _joins(self, other: "NumpyDataset") -> bool:
        if not type(self) is type(other) is NumpyDataset or len(self._fields) != len(other._fields):
            return False
        fit = all(map(Field.goes_on_with, self._fields, other._fields))
        return fit and (self._form, self._transforms) == (other._form, other._transforms)

    @explained(usage="NumpyDataset(y=ds.fields['y']), a dataset of that field")
    def with_fields(
        self, fields: Sequence[Field], transforms: Transforms | None = None
    ) -> "NumpyDataset":
        """Give a dataset of the same samples, whose rows are read by other fields.

        It has its own functions where none are given, and closes nothing: that is for whoever
        opened the sources.

        Examples:
            >>> ds = npdata.NumpyDataset(x=np.arange(5))
            >>> ds.with_fields(list(ds.fields.values()))[3]
            {'x': tensor(3)}
        """
        self._require_open()
        kinds = [isinstance(field, Field) for field in fields]
        if kinds != [True] * len(self._fields):
            raise FieldError(
                "with_fields takes fields, not names or arrays: a dataset of some fields is "
                "NumpyDataset(y=ds.fields['y']), or NumpyDataset(ds.fields[0]) without names"
            )
        functions = transforms or self._transforms
        return _holding(tuple(fields), self._form, functions, ())

    @explained()
    def close(self) -> None:
        """Close files; tensors that were given out stay valid, further reads raise.

        A `Source` that was passed in stays open: whoever opened it closes it.

        Examples:
            >>> with npdata.NumpyDataset("x.npy") as ds:
            ...     ds[0].shape
            torch.Size([2, 3])
        """
        self._closed = True
        for source in self._owned:
            source.close()

    def _owning_all(self) -> Self:
        self._owned = tuple(field.source for field in self._fields)
        return self

    def only_source(self) -> Source:
        """Give the source of the only field, for `open_source`; FieldError where it is not all."""
        field = only_field(self)
        if type(field) is not RowsField or field.rule.cast is not None:
            raise FieldError(
                f"{field.where} has a form or a dtype of its own in this dataset, which would be "
                "lost: give it without, and those to the whole, or its field: ds.fields[0].source"
            )
        return field.source

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _holding(*parts: Any, **others: Any) -> NumpyDataset:
    """Give a dataset of parts that were opened before, as `_hold` takes them."""
    return NumpyDataset.__new__(NumpyDataset)._hold(*parts, **others)
