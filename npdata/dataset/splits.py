"""`split` of a dataset: row numbers in parts and folds, which samplers take as `indices=`.

Idea: what stays together and what is shared evenly are numbers for the rows, of the values of a
field or as they are given; the rows are then split by these alone. Invariant: of a dataset only its
labels are read, where they are named.
"""

import math
from collections.abc import Sequence
from operator import attrgetter
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from npdata.arrays.dtypes import Ints, numpy_name
from npdata.dataset.batch_memory import plain_memory
from npdata.dataset.field import Field
from npdata.dataset.overview import Overview
from npdata.dataset.recordings import first_of_files, first_of_whole
from npdata.dataset.rows_field import RowsField
from npdata.dataset.windows import require_apart
from npdata.errors import FieldError, SamplerError
from npdata.sampling.order.checks import whole_number
from npdata.sampling.order.parts_and_folds import folds_of, parts_of
from npdata.sampling.order.splits import shares_of, split, split_groups, two_shares
from npdata.sources.derived.chosen_rows import ChosenRows
from npdata.suggestions import explained

By = Literal["recording", "file"]

_WORDS = {
    "train train_size train_fraction ratio size": (
        "write the share of the first part, as split(0.8)"
    ),
    "test_size val_size test val test_fraction val_fraction": (
        "write the share of the first part, which is 1 - that of the second, as split(0.8)"
    ),
    "lengths sizes shares fractions": "write them by themselves, as split(0.8, 0.1, 0.1)",
    "random_state": "seed",
    "generator rng": "write seed=, a number",
    "n_splits n_folds k": "folds",
    "shuffle": "it takes rows at random; range(800) and range(800, len(ds)) are parts in order",
}
"""Words of other libraries, and what to write for them."""


class Splits(Overview):
    """The method `split` of a dataset."""

    @explained(_WORDS)
    def split(
        self,
        fraction: float | Sequence[float] | None = None,
        *more: float,
        seed: int = 0,
        by: By | None = None,
        groups: ArrayLike | str | int | None = None,
        stratify: ArrayLike | str | int | None = None,
        folds: int | None = None,
    ) -> Any:
        """Split the row numbers at random: int64 arrays, disjoint, ascending, of every row.

        The first of two has `round(fraction * len(ds))` rows; shares that sum to 1, as `split(0.8,
        0.1, 0.1)`, or numbers of rows that sum to `len(ds)`, give so many parts, and so does a list
        of them. Each part has one row at least, unless its share is 0. With `by="recording"` no
        recording of windows, and of other rows no file or group that a field is made of, has rows
        in both, and the first has as near to that number as whole recordings allow; `by="file"`
        does the same for the files of `npdata.concatenate`, and for those of `npdata.stack`, each
        of which is a sample. The same arguments give the same split. Pass a part to `Loader(...,
        indices=)` or `torch.utils.data.Subset`.

        Args:
            fraction: the share of the first of two parts, or the shares or sizes of all parts.
            more: the shares or sizes of further parts.
            seed: of the permutation, from 0 to 2**64 - 1 (2**32 - 1 for scikit-learn).
            by: what has rows in one part only.
            groups: the name (or position) of a field, or a value for each row: rows of equal value
                stay together. Shares are of the number of groups.
            stratify: likewise: each value has its share in every part. With scikit-learn (extra
                `examples`), as `groups` and `folds`.
            folds: in place of `fraction`, a list of so many pairs (train, test), of which the
                second ones together hold every row once.

        Raises:
            SamplerError: a ValueError, for a fraction outside [0, 1], shares that do not sum to
                1, and more parts than rows or groups.
            FieldError: a ValueError, where there are no two recordings or files, for windows that
                share rows, unless `by` or `groups` says which stay together, and for rows without
                a value of `groups` or `stratify`, such as NaN.

        Examples:
            >>> train, test = npdata.NumpyDataset("x.npy").split(0.8, seed=1)
            >>> len(train), len(test)
            (4, 1)
            >>> windows = npdata.NumpyDataset(np.arange(8)).windows(2, borders=[2, 5])
            >>> [part.tolist() for part in windows.split(0.5, by="recording")]
            [[0, 1, 2], [3, 4]]
        """
        count = len(self)
        seed = whole_number("seed", seed, least=0, below=1 << 64)
        if more:
            fraction = [fraction, *more]  # type: ignore[list-item]
        if (fraction is None) == (folds is None):
            raise SamplerError(
                "give fraction= (or shares, as [0.8, 0.1, 0.1]) or folds=, one and not both"
            )
        if by not in (None, "recording", "file"):
            raise FieldError(
                f"by={by!r}: expected 'recording', for episodes and groups as well, or 'file', or "
                f"None to split the rows; rows of equal value in a field stay together by "
                f"groups={by!r}"
            )
        labels = self._values("stratify", stratify)
        together = self._values("groups", groups)
        if by is not None:
            if groups is not None:
                raise SamplerError(f"by={by!r} keeps rows together itself: leave out groups=")
            if folds is None and stratify is not None:
                raise SamplerError(
                    f"by={by!r} and stratify= together: give folds=, whose folds keep both, or one "
                    "of the two"
                )
            edges = self._edges_of(by)
            if edges[-1] != count:
                raise FieldError(
                    f"by={by!r} divides the {edges[-1]} rows of the fields, and "
                    f"{type(self).__name__} has {count} samples of its own: give groups=, a value "
                    "for each sample"
                )
            if isinstance(fraction, int | float | np.number):
                if np.array_equal(edges, np.arange(count + 1)):
                    return split(count, float(fraction), seed)
                return split_groups(edges, float(fraction), seed)
            lengths = np.diff(edges)
            lengths = lengths[lengths > 0]
            together = np.repeat(np.arange(len(lengths)), lengths)
        elif groups is None:
            require_apart(self._fields)
        if folds is not None:
            return folds_of(count, folds, seed, together, labels)
        if isinstance(fraction, Sequence | np.ndarray):
            return parts_of(count, shares_of(fraction, count), seed, together, labels)
        return parts_of(count, two_shares(fraction), seed, together, labels)

    def _edges_of(self, by: By) -> Ints:
        """Give the first row of each recording or file, of which there must be two, and the end."""
        edges = (first_of_files if by == "file" else first_of_whole)(self._fields)
        if edges is None or np.count_nonzero(np.diff(edges)) == 1:
            self._require_in_order(by)
        if edges is None:
            raise FieldError(
                "by='recording' needs recordings: windows with borders=, or fields of several "
                "files or groups; groups= keeps rows of equal value in a field together"
            )
        if np.count_nonzero(np.diff(edges)) == 1:
            cure = "give borders="
            if by == "file" and any(field.source.borders is not None for field in self._fields):
                cure = "split its recordings, by='recording'"
            elif by == "file":
                cure = (
                    "leave by= out, which splits its rows at random, or groups= keeps rows of "
                    "equal value in a field together"
                )
            raise FieldError(
                f"by={by!r}: there is one {by}, and one part would get all; {cure}, or cut it by "
                "row numbers: cut = int(0.8 * len(ds)) gives train, test = range(cut), range(cut, "
                "len(ds)), and windows that share rows need a gap of length - 1 between them"
            )
        return edges

    def _require_in_order(self, by: By) -> None:
        """Raise `FieldError` for rows chosen by number of recordings that come again and again."""
        known = attrgetter("file_borders" if by == "file" else "borders")
        for field in self._fields:
            source = field.source
            if not isinstance(source, ChosenRows):
                continue
            if known(source) is None and known(source.rows) is not None:
                raise FieldError(
                    f"by={by!r}: the rows of field {field.label!r} are chosen by number, and those "
                    f"of a {by} do not lie together: for Subset(ds, rows) give groups=rows, or of "
                    "rows end to end groups=np.searchsorted(ds.borders, rows, side='right')"
                )

    def _values(self, option: str, given: ArrayLike | str | int | None) -> Ints | None:
        """Give the number of the value of each row, of the field that is named or as they are."""
        if given is None:
            return None
        count = len(self)
        if isinstance(given, str | int | np.integer):
            field = next((each for each in self._fields if each.label == given), None)
            if field is None or isinstance(given, bool):
                known = [each.label for each in self._fields]
                cure = ""
                for each in self._fields:
                    if given in (each.dtype.names or ()):
                        cure = (
                            f"; a column of records is {option}="
                            f"ds.fields[{each.label!r}][:][{given!r}]"
                        )
                raise FieldError(f"{option}={given!r} names no field; fields are {known}{cure}")
            if not _has_values(field):
                cure = ""
                if any(each.windows is not None for each in self._fields):
                    cure = (
                        "; a field that windows() does not name keeps the row of offset 0: "
                        "windows({'x': range(16)})"
                    )
                raise FieldError(
                    f"{option}={given!r} is a field of shape {field.source.shape} and dtype "
                    f"{field.dtype}: expected one number or text for each of {count} rows{cure}"
                )
            values = np.asarray(field.stack(np.arange(len(field)), plain_memory))
            absent = values == field.missing
        else:
            try:
                values = np.asanyarray(given)
            except (TypeError, ValueError, RuntimeError) as error:
                raise FieldError(f"{option} makes no array of values: {error}") from None
            absent = np.ma.getmask(values)
            values = np.asarray(values)
        if values.ndim > 1 and values.size == len(values):  # as (N, 1)
            values, absent = values.reshape(-1), np.reshape(absent, -1)
        if values.shape != (count,):
            raise FieldError(
                f"{option} of shape {values.shape}: expected one value for each of {count} rows"
            )
        return _numbered(option, values, absent)


def _numbered(option: str, values: NDArray[Any], absent: ArrayLike) -> Ints:
    """Give each row the number of its value, which is that of equal values.

    `absent` has True for those that stand for none. Raises `FieldError` for these, for NaN, NaT and
    None, and for values that cannot be compared.
    """
    numbers: dict[Any, int] = {}
    try:
        if values.dtype.hasobject or values.dtype.kind == "T":
            numbered = [numbers.setdefault(each, len(numbers)) for each in values.tolist()]
            places = np.array(numbered, np.int64)
            missing = np.array([_is_missing(each) for each in numbers], bool)[places]
        else:
            places = np.unique(values, return_inverse=True)[1]
            missing = values != values
    except TypeError as error:
        raise FieldError(f"{option} has values that cannot be compared: {error}") from None
    lost = np.flatnonzero(missing | np.asarray(absent))
    if len(lost):
        filled = "x.filled(-1)" if np.any(absent) else "np.where(np.isnan(x), -1, x)"
        raise FieldError(
            f"{option} has no value for {len(lost)} of {len(values)} rows, as row {lost[0]}: give "
            f"them one of their own, as {option}={filled}"
        )
    return places


def _is_missing(value: Any) -> bool:
    try:
        return value is None or bool(value != value)
    except TypeError:  # of pandas' NA, which is neither
        return True


def _has_values(field: Field) -> bool:
    """Tell whether it has one text, or one number that NumPy has, for each row."""
    if type(field) is not RowsField or math.prod(field.source.shape[1:]) != 1:
        return False
    result = field.rule.result
    return field.rule.kind == "text" or (result is not None and numpy_name(result) is not None)
