"""Mean, deviation and range of every field: what `NumpyDataset.statistics` gives, and its table.

Idea: figures are arrays that broadcast against a sample. Invariant: what is missing is counted and
enters no figure. The rows are summed up by `field_moments`.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from torch.utils.data import Subset

from npdata.arrays.flag import flag
from npdata.arrays.indexing import row_numbers
from npdata.dataset.field import Field
from npdata.dataset.field_moments import KeepAxes, kept_axes, moments_of_fields
from npdata.dataset.html_table import table
from npdata.dataset.moments import Moments
from npdata.dataset.overview import Overview
from npdata.dataset.ragged_field import RaggedField
from npdata.errors import FieldError
from npdata.sources.derived.windows import padded_by_zeros
from npdata.suggestions import explained, no_attribute

MOST_LINES = 24
"""So many lines of a field are printed."""


@dataclass(frozen=True, kw_only=True, eq=False)
class FieldStatistics:
    """One field: arrays of shape (), or with the axes kept, which broadcast against a sample.

    `count` values went into `mean`, `std` (of the whole population, as `numpy.std`), `min` and
    `max`; `missing` (NaN) did not. Where no value counts, they are NaN. Complex numbers have a
    complex mean, and NaN for `min` and `max`, because they have no order.

    Examples:
        >>> found = npdata.NumpyDataset(x=np.arange(4.0)).statistics()["x"]
        >>> float(found.mean), float(found.max)
        (1.5, 3.0)
    """

    count: NDArray[np.int64]
    missing: NDArray[np.int64]
    mean: NDArray[Any]
    std: NDArray[np.float64]
    min: NDArray[Any]
    max: NDArray[Any]
    floating: bool
    """Whether the field holds floating-point numbers, real or complex."""
    missing_time: int | None = None
    """The integer that stands for a missing time; None for what are no times."""


class Statistics(Mapping[str | int, FieldStatistics]):
    """The statistics of each field, by name or position; print it for a table.

    A column of a structured field is found as `"field.column"`. Text fields have none. A note says
    where a field of columns has one figure for all of them.

    Raises:
        KeyError: from `found[name]`, for a field without statistics.

    Examples:
        >>> found = npdata.NumpyDataset(np.array([[1.0, 30.0], [3.0, np.nan]])).statistics()
        >>> print(found)
        field  count  missing     mean      std  min  max
        0          3        1  11.3333  13.2246    1   30
        one line for 2 columns; statistics(keep_axes={0: 0}) gives one for each
        >>> round(float(found[0].mean), 3)
        11.333
    """

    def __init__(
        self,
        fields: Mapping[str | int, FieldStatistics],
        notes: Sequence[str] = (),
        *,
        alone: bool = False,
    ) -> None:
        """Hold the statistics of each field; `alone` says that a batch is one value, no tuple."""
        self._fields = dict(fields)
        self.alone = alone
        self._notes = tuple(notes)

    def __getitem__(self, label: str | int) -> FieldStatistics:
        if label in self._fields:
            return self._fields[label]
        raise KeyError(
            f"no statistics of a field {label!r}; the fields of numbers are {list(self._fields)}"
        )

    if not TYPE_CHECKING:

        def __getattr__(self, name: str) -> Any:
            """Raise AttributeError, which says where the figures are."""
            found = self.__dict__.get("_fields", {})
            one = f"found[{next(iter(found), 0)!r}]"
            each = FieldStatistics.__dataclass_fields__
            words = {word: f"each field has its own {word}: {one}.{word}" for word in each}
            words |= {
                word: f"the statistics of field {word!r} are found[{word!r}]" for word in found
            }
            words["var"] = words["variance"] = f"a variance is {one}.std ** 2"
            raise no_attribute(self, name, words)

    def __iter__(self) -> Iterator[str | int]:
        return iter(self._fields)

    def __len__(self) -> int:
        return len(self._fields)

    def _ipython_key_completions_(self) -> list[str | int]:
        return list(self)

    def _repr_html_(self) -> str:
        """Give it as a table, for notebooks."""
        head, *rows = self._table()
        return table("; ".join(["statistics", *self._notes]), head, rows)

    def _table(self) -> list[tuple[str, ...]]:
        names = ("count", "missing", "mean", "std", "min", "max")
        lines: list[tuple[str, ...]] = [("field", *names)]
        for label, found in self._fields.items():
            columns = [np.asarray(getattr(found, name)) for name in names]
            for place in islice(np.ndindex(found.mean.shape), MOST_LINES):
                kept = [str(k) for k, n in zip(place, found.mean.shape, strict=True) if n > 1]
                where = f"{label}[{', '.join(kept)}]" if kept else str(label)
                lines.append((where, *(_number(column[place]) for column in columns)))
            if found.mean.size > MOST_LINES:
                lines.append((f"{label}: {found.mean.size - MOST_LINES} more", *[""] * len(names)))
        return lines

    def __repr__(self) -> str:
        """Give a line per field, or per channel where axes were kept."""
        lines = self._table()
        widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
        rows = (
            "  ".join([first.ljust(widths[0]), *map(str.rjust, rest, widths[1:])])
            for first, *rest in lines
        )
        return "\n".join([*map(str.rstrip, rows), *self._notes])


def _ascending_rows(indices: object, count: int) -> NDArray[np.int64] | None:
    """Give the rows that statistics are of, ascending; None for all `count`.

    Raises `FieldError` (a ValueError) for rows that come twice, for a name and for one number.
    """
    name = indices[0] if isinstance(indices, list | tuple) and indices else indices
    if isinstance(name, str):
        raise FieldError(
            f"statistics() is of all fields, and {indices!r} chooses no rows: "
            f"statistics()[{name!r}] are those of one"
        )
    if indices is None:
        return None
    if isinstance(indices, int | np.integer):
        raise FieldError(
            f"statistics({indices}) is of no row and of no axis: write statistics([{indices}]), or "
            f"keep_axes={indices} for axes of a sample that keep their own figures"
        )
    rows = np.sort(row_numbers(indices, count))
    if (np.diff(rows) == 0).any():
        raise FieldError("statistics of rows that come twice; pass each row number once")
    return rows


def _number(value: Any) -> str:
    return str(int(value)) if isinstance(value, np.integer) else f"{value:.6g}"


_WORDS = {
    "axis axes dim keepdims keep_axis per_channel channels": (
        "axes of a sample that keep their own figures are keep_axes="
    ),
    "field fields name names columns": (
        "it is of all fields: found = ds.statistics(), and found[name] are those of one"
    ),
    "rows subset mask train": "indices",
    "batch_size num_workers num_threads": "rows are read once, on all cores: leave it out",
    "nan skipna ignore_nan": "NaN is left out, and counted as missing: leave it out",
    "ddof": "std is of all values, as np.std: found.std * np.sqrt(n / (n - 1)), n = found.count",
}
"""Words of other libraries, and what to write for them."""


class WithStatistics(Overview):
    """The method `statistics` of a dataset."""

    @explained(_WORDS)
    def statistics(
        self, indices: object = None, *, keep_axes: KeepAxes = (), progress: bool = False
    ) -> Statistics:
        """Compute count, mean, standard deviation, minimum and maximum of every field of numbers.

        The rows are read once, in the order of the file and by threads, as they are stored and
        cast by `dtype=`, before any transform. NaN counts as missing, and sparse rows have their
        zeros. Sums are float64, whatever the field's dtype.

        Args:
            indices: only these rows: a mask, row numbers without duplicates, such as a part of
                `split`, or a Subset of this dataset. None: all.
            keep_axes: the axes of a sample that keep figures of their own: 0 for each column of a
                table, and for each channel of images of shape (C, H, W). It is for all fields but
                those whose samples are one number; a mapping, as `{"image": 0}`, gives fields and
                columns their own.
            progress: whether a bar is drawn, which needs the extra `cli`. Default: False.

        Raises:
            FieldError: a ValueError, for an axis that is not there.
            RowIndexError: an IndexError, for rows out of range.
            MissingExtraError: an ImportError, for `progress=True` without its package.

        Examples:
            >>> found = npdata.NumpyDataset(np.arange(6.0).reshape(3, 2)).statistics(keep_axes=0)
            >>> found[0].mean.tolist(), found[0].max.tolist()
            ([2.0, 3.0], [4.0, 5.0])
        """
        self._require_open()
        flag("progress", progress, FieldError)
        if isinstance(indices, Subset):
            dataset: object = indices.dataset
            if dataset is not self:
                raise FieldError(
                    "a Subset of another dataset: write subset.dataset.statistics(subset.indices)"
                )
            indices = indices.indices
        count = len(self._fields[0])
        if indices is not None and not self.numbers_rows:
            raise FieldError(
                f"statistics() is of the {count} rows of the fields, and {type(self).__name__} has "
                f"{len(self)} samples of its own: of the rows that some are made of, write "
                "NumpyDataset(**ds.fields).statistics(rows)"
            )
        rows = _ascending_rows(indices, count)
        fields = self._fields
        summed = moments_of_fields(fields, rows, keep_axes, progress=progress)
        times = {field.label: field.missing for field in fields}
        found = {label: _finished(each, times.get(label)) for label, each in summed.items()}
        unordered = [str(label) for label, each in found.items() if np.iscomplexobj(each.mean)]
        notes = [note for field in fields for note in _note(field, keep_axes)]
        if unordered:
            notes.append(f"complex numbers have no min and max: {', '.join(unordered)}")
        return Statistics(found, notes, alone=len(fields) == 1 and fields[0].label == 0)


def _note(field: Field, keep_axes: KeepAxes) -> Iterator[str]:
    """Say where one figure stands for a few columns, as of a table, and where padding counts."""
    shape = field.source.shape
    if padded_by_zeros(field.source):
        yield (
            f"zeros around the recordings count in {field.label!r}: take statistics() of the "
            "dataset before windows() for those without"
        )
    if isinstance(field, RaggedField) or len(shape) != 2 or not 1 < shape[1] <= MOST_LINES:
        return
    if kept_axes(keep_axes, field, field.label, shape):
        return
    yield (
        f"one line for {shape[1]} columns; statistics(keep_axes={{{field.label!r}: 0}}) gives one "
        "for each"
    )


def _finished(moments: Moments, missing_time: int | None) -> FieldStatistics:
    none = moments.count == 0
    with np.errstate(invalid="ignore"):
        deviation = np.sqrt(moments.squares / np.maximum(1, moments.count))
    return FieldStatistics(
        count=moments.count,
        missing=moments.missing,
        mean=np.where(none, np.nan, moments.mean),
        std=np.where(none, np.nan, deviation),
        min=np.where(none, np.nan, moments.low) if none.any() else moments.low,
        max=np.where(none, np.nan, moments.high) if none.any() else moments.high,
        floating=moments.low.dtype.kind == "f" and missing_time is None,
        missing_time=missing_time,
    )
