"""Whole numbers that a user gives.

Idea: anything that NumPy would take as an index counts, so NumPy's own integers do. Invariant: a
bool, a float and a string never do. This module knows no argument by name.
"""

import operator
from typing import Any

from npdata.errors import SamplerError


def whole_number(name: str, value: Any, *, least: int, below: int | None = None) -> int:
    """Give `value` as an int from `least` on and below `below`, or raise a SamplerError.

    Examples:
        >>> whole_number("batch_size", np.int64(3), least=1)
        3
    """
    try:
        number = operator.index(value)
    except TypeError:
        number = None
    if number is None or isinstance(value, bool) or number < least:
        raise SamplerError(f"{name}={value!r}: expected a whole number of at least {least}")
    if below is not None and number >= below:
        raise SamplerError(f"{name}={value!r}: expected less than 2**{below.bit_length() - 1}")
    return number


def whole_or_none(name: str, value: Any) -> int | None:
    """Give None as it is, else a whole number of at least 1."""
    return None if value is None else whole_number(name, value, least=1)
