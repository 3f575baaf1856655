"""What stored numbers stand for, by the conventions of CF or NWB: scale, missing values, times.

Idea: the attributes of a variable become one frozen value, by which `unpack` decodes, as xarray
does. Invariant: nothing is decoded unless that was asked for, and rows that are packed in different
ways are never joined as they are stored. It reads no file. Valid ranges follow netCDF4 and the
conventions, since xarray leaves them alone.
"""

import operator
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import repeat
from typing import Any, NamedTuple

import numpy as np

from npdata.arrays.dtypes import DType, Ints
from npdata.sources.packed.times import CALENDARS, are_durations, are_times

ATTRIBUTES = (
    "scale_factor",
    "add_offset",
    "_FillValue",
    "missing_value",
    "valid_range",
    "valid_min",
    "valid_max",
    "_Unsigned",
    "units",
    "calendar",
    "dtype",
)


@dataclass(frozen=True, kw_only=True)
class Packing:
    """How stored numbers of one variable are decoded.

    `missing` are the stored numbers that stand for no value, `low` and `high` the bounds of those
    that are valid; all as stored. `since` is the text of the units of times, and of durations and
    `truth` is True for truth values, both as xarray marks them. `fault` says why it cannot be
    decoded. `masked` is True for numbers to scale that may be missing by NaN.
    """

    scale: Any = None
    offset: Any = None
    missing: tuple[Any, ...] = ()
    low: Any = None
    high: Any = None
    unsigned: bool | None = None
    since: str | None = None
    truth: bool = False
    calendar: str = "standard"
    masked: bool = False
    convention: str = "cf"
    fault: str | None = None
    precision: tuple[str, ...] = field(init=False, repr=False)
    """The dtypes of scale and offset: 0.5 of float32 is another packing than 0.5 of float64."""

    def __post_init__(self) -> None:
        """Tell factors apart that are equal as numbers."""
        precision = (np.asarray(self.scale).dtype.str, np.asarray(self.offset).dtype.str)
        object.__setattr__(self, "precision", precision)

    @classmethod
    def of(cls, attributes: Mapping[str, Any], dtype: DType) -> "Packing | None":
        """Give what attributes (those of `ATTRIBUTES`) say of numbers of `dtype`; None for nothing.

        Examples:
            >>> print(Packing.of({"scale_factor": 0.5, "_FillValue": -1}, np.dtype("i2")))
            scale_factor 0.5, missing -1
            >>> Packing.of({"_FillValue": np.nan, "units": "K"}, np.dtype("f4")) is None
            True
        """
        try:
            packing = cls._of(attributes, dtype)
        except (TypeError, ValueError, OverflowError) as error:
            return cls(fault=f"its attributes are none of the CF conventions: {error}")
        return None if packing == cls() else packing

    @classmethod
    def _of(cls, given: Mapping[str, Any], dtype: DType) -> "Packing":
        unsigned = None
        if dtype.kind in "iu" and "_Unsigned" in given:
            said = _text(given["_Unsigned"]).lower() in ("true", "1")
            unsigned = said if said != (dtype.kind == "u") else None
        meant = cls(unsigned=unsigned).meant(dtype)

        def stored(value: Any) -> Any:
            return _as_stored(value, dtype, meant)

        missing = [*_flat(given.get("_FillValue")), *_flat(given.get("missing_value"))]
        low, high = given.get("valid_min"), given.get("valid_max")
        if "valid_range" in given:
            low, high = _flat(given["valid_range"])
        since = _text(given["units"]) if "units" in given else ""
        marked = _text(given.get("dtype", ""))
        times = are_times(since) or (marked.startswith("timedelta64") and are_durations(since))
        kept = dict.fromkeys(map(stored, missing))
        scale, offset = _factor(given.get("scale_factor")), _factor(given.get("add_offset"))
        return cls(
            scale=scale,
            offset=offset,
            masked=bool(missing) and not (scale is None and offset is None),
            missing=tuple(value for value in kept if value is not None and value == value),
            low=None if low is None else stored(_one(low)),
            high=None if high is None else stored(_one(high)),
            unsigned=unsigned,
            since=since if times else None,
            truth=marked == "bool" and dtype.kind in "iu",
            calendar=_text(given.get("calendar", "standard")).lower() if times else "standard",
        )

    @classmethod
    def nwb(cls, conversion: Any, offset: Any) -> "Packing | None":
        """Give what attributes of an NWB time series say; None where numbers stay as they are."""
        try:
            scale, shift = _factor(conversion), _factor(offset)
        except (TypeError, ValueError) as error:
            return cls(fault=f"its conversion is no number: {error}", convention="nwb")
        shift = None if shift is None or shift == 0 else shift
        if scale == 1 and shift is None:
            return None
        return cls(scale=scale, offset=shift, convention="nwb")

    def __str__(self) -> str:
        """Give it in a few words, in the names of the attributes."""
        words = []
        if self.scale is not None:
            words.append(f"scale_factor {self.scale}")
        if self.offset is not None:
            words.append(f"add_offset {self.offset}")
        if self.missing:
            words.append("missing " + " and ".join(map(str, self.missing)))
        if self.low is not None or self.high is not None:
            bounds = ["" if bound is None else str(bound) for bound in (self.low, self.high)]
            words.append("valid from {} to {}".format(*bounds).replace(" from  to", " to"))
        if self.unsigned is not None:
            words.append("unsigned" if self.unsigned else "signed")
        if self.since is not None:
            calendar = "" if self.calendar in CALENDARS else f" in the calendar {self.calendar}"
            words.append(f"{self.what} in {self.since}{calendar}")
        if self.truth:
            words.append(self.what)
        return ", ".join(words) if self.fault is None else self.fault

    @property
    def what(self) -> str:
        """What the decoded rows are: numbers, times, durations or truth values."""
        if self.since is not None:
            return "times" if are_times(self.since) else "durations"
        return "truth values" if self.truth else "numbers"

    def meant(self, dtype: DType) -> DType:
        """Give the dtype of stored numbers, native, where an attribute says if they are signed."""
        if self.unsigned is None or dtype.kind not in "iu":
            return dtype.newbyteorder("=")
        return np.dtype(f"{'u' if self.unsigned else 'i'}{dtype.itemsize}")

    def result(self, dtype: DType) -> DType:
        """Give the dtype of decoded numbers, which is xarray's: int64 for times."""
        meant = self.meant(dtype)
        if self.truth:
            return np.dtype(bool)
        if self.since is not None:
            return np.dtype(np.int64)
        if self.scale is not None or self.offset is not None:
            if self.convention == "nwb":
                return np.result_type(meant, np.asarray(self.scale).dtype)
            kept = self.masked and not self.missing and meant.kind == "f"  # as xarray has it
            return meant if kept else _scaled_dtype(meant, self.scale, self.offset)
        if self.missing or self.low is not None or self.high is not None:
            wide = np.dtype(np.float32 if meant.itemsize <= 2 else np.float64)
            return meant if meant.kind == "f" else wide
        return meant


class Packings(NamedTuple):
    """The ways in which the rows of a source are packed: run k begins at row `starts[k]`.

    It is packed as `kinds[codes[k]]` says, None for not at all.
    """

    kinds: tuple[Packing | None, ...]
    starts: Ints
    codes: Ints

    @classmethod
    def one(cls, packing: Packing | None) -> "Packings":
        """Give those of a source that is packed in one way."""
        return cls((packing,), np.zeros(1, np.int64), np.zeros(1, np.int64))

    @classmethod
    def of_parts(cls, parts: "Sequence[Packing | Packings | None]", starts: Ints) -> "Packings":
        """Join those of parts, each of which begins at a row."""
        alike = parts[0] if isinstance(parts[0], Packings) else cls.one(parts[0])
        if len(alike.kinds) == 1 and all(map(operator.is_, parts, repeat(parts[0]))):
            return alike
        kinds: dict[Packing | None, int] = {}
        found: list[tuple[int, int]] = []
        for part, start in zip(parts, starts.tolist(), strict=True):
            each = part if isinstance(part, Packings) else cls.one(part)
            for first, code in zip(each.starts.tolist(), each.codes.tolist(), strict=True):
                number = kinds.setdefault(each.kinds[code], len(kinds))
                if not found or found[-1][1] != number:
                    found.append((start + first, number))
        begins, codes = np.array(found, np.int64).reshape(-1, 2).T
        return cls(tuple(kinds), begins, codes)

    def of_rows(self, rows: Ints) -> Ints:
        """Give for each row the place of its packing in `kinds`."""
        return self.codes[np.searchsorted(self.starts, rows, "right") - 1]


NOT_PACKED = Packings.one(None)


def _as_stored(value: Any, dtype: DType, meant: DType) -> Any:
    """Give a number of the attribute as one of the variable; None where it cannot be one."""
    if isinstance(value, np.generic | np.ndarray) and value.dtype.kind in "iu":
        same = value.dtype.itemsize == meant.itemsize and meant.kind in "iu"
        if same and value.dtype.kind != meant.kind:
            return value.view(meant)
    if meant.kind == "f":
        return meant.type(value)
    if value != value or int(value) != value:
        return float(value)
    number = int(value)
    limits = np.iinfo(meant)
    if meant.kind == "u" and dtype.kind == "i" and number < 0:
        number += 1 << (8 * meant.itemsize)
    return meant.type(number) if limits.min <= number <= limits.max else float(value)


def _factor(value: Any) -> Any:
    if value is None:
        return None
    number = _one(value)
    return number if number.dtype.kind == "f" else np.float64(number)


def _one(value: Any) -> Any:
    flat = _flat(value)
    if len(flat) != 1:
        raise ValueError(f"one number was expected, and {value!r} found")
    return flat[0]


def _flat(value: Any) -> list[Any]:
    if value is None:
        return []
    array = np.asarray(value)
    if array.dtype.kind not in "iufb":
        raise TypeError(f"a number was expected, and {value!r} found")
    return list(array.reshape(-1))


def _text(value: Any) -> str:
    if isinstance(value, np.ndarray):
        value = value.reshape(-1)[0] if value.size == 1 else ""
    return value.decode("utf8", "replace") if isinstance(value, bytes) else str(value)


def _scaled_dtype(dtype: DType, scale: Any, offset: Any) -> DType:
    """Give the dtype that xarray chooses for scaled numbers."""
    double = np.dtype(np.float64)
    if scale is not None and offset is not None and scale.dtype == offset.dtype:
        wide = dtype.kind in "iu" and dtype.itemsize == 4
        return double if wide else np.dtype(scale.dtype)
    return double if offset is not None else np.dtype(scale.dtype)
