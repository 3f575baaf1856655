"""Units of times by the conventions of CF: "days since 2000-01-01" in nanoseconds since 1970.

Idea: units and a calendar become two numbers, the nanoseconds of one unit and of the reference
date. Invariant: dates are those of xarray, the Julian calendar before 1582 included; what has no
such numbers is an error. Pure.
"""

import re

import numpy as np

from npdata.errors import FieldError
from npdata.suggestions import each_word

MISSING_TIME = np.iinfo(np.int64).min
CALENDARS = ("standard", "gregorian", "proleptic_gregorian")
_NANOSECONDS = each_word(
    {
        "d day days": 86400 * 10**9,
        "h hr hrs hour hours": 3600 * 10**9,
        "min mins minute minutes": 60 * 10**9,
        "s sec secs second seconds": 10**9,
        "ms msec msecs millisec millisecs millisecond milliseconds": 10**6,
        "us microsec microsecs microsecond microseconds": 10**3,
        "ns nanosecond nanoseconds": 1,
    }
)
_SINCE = re.compile(r"\s*(\w+)\s+since\s+(.+?)\s*$", re.IGNORECASE)
_DATE = re.compile(
    r"(\d{1,4})-(\d{1,2})-(\d{1,2})"
    r"(?:[T\s]+(\d{1,2})(?::(\d{1,2})(?::(\d{1,2})(?:\.(\d*))?)?)?)?"
    r"\s*(?:Z|UTC|GMT|([+-]\d{1,2}):?(\d{2})?)?$",
    re.IGNORECASE,
)


def are_times(units: str) -> bool:
    """Tell whether units are those of times, since a date."""
    return _SINCE.match(units) is not None


def are_durations(units: str) -> bool:
    """Tell whether units are those of durations."""
    return units.lower() in _NANOSECONDS


def clock(units: str, calendar: str) -> tuple[int, int]:
    """Give the nanoseconds of one unit, and of the reference date since 1970, 0 for durations.

    Raises `FieldError` for a calendar, a unit or a date that has none.

    Examples:
        >>> clock("s since 1970-01-02", "standard"), clock("s", "standard")
        ((1000000000, 86400000000000), (1000000000, 0))
    """
    match = _SINCE.match(units)
    unit = _NANOSECONDS.get((match[1] if match else units).lower())
    start = _reference(match[2], calendar) if match else 0
    if calendar not in CALENDARS or unit is None or start is None:
        what = "" if calendar in CALENDARS else f" in the calendar {calendar!r}"
        raise FieldError(
            f"times in {units!r}{what} are no datetime64 of NumPy; leave this field out of "
            f"decode=, by a mapping from the other fields to 'cf', and it is read as stored"
        )
    return unit, start


def _reference(text: str, calendar: str) -> int | None:
    """Give the nanoseconds from 1970 to a date; None for what is no date."""
    date = _DATE.match(text)
    if date is None:
        return None
    year, month, day, hour, minute, second = (int(date[k] or 0) for k in range(1, 7))
    written = f"{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}"
    try:
        seconds = int(np.datetime64(written, "s").astype(np.int64))
    except ValueError:
        return None
    if calendar != "proleptic_gregorian" and (year, month, day) < (1582, 10, 15):
        since = year - (month < 3)  # the Julian calendar has a 29 February in all centuries
        seconds += (since // 100 - since // 400 - 2) * 86400
    fraction = int((date[7] or "").ljust(9, "0")[:9])
    if date[8]:
        minutes = int(date[9] or 0)
        shift = int(date[8]) * 60 + (-minutes if date[8].startswith("-") else minutes)
        seconds -= shift * 60
    return seconds * 10**9 + fraction
