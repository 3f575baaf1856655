"""What to write where two fields have different numbers of rows, and one is as long elsewhere.

Idea: rows may lie along another axis, or along two, or be one for each recording of the other
field. It looks at shapes and borders, and reads no row.
"""

import math

import numpy as np

from npdata.sources.base import Source


def elsewhere(
    source: Source, label: str | int, other: Source, other_label: str | int, *, lone: bool = False
) -> str:
    """Say where field `label` is as long as `other`, and what to write, after "; "; else nothing.

    Its axes stay as they are where `other` is a `lone` one among fields of equal length.

    Examples:
        >>> images, labels = (npdata.open_source(np.zeros(shape)) for shape in ((2, 3, 9), 9))
        >>> elsewhere(images, "x", labels, "y")[:60]
        "; field 'x' has as many along its axis 2: give axis={'x': 2}"
    """
    each = _value_for_each_recording(source, label, other, other_label)
    if each is not None:
        return f"; {each}"
    given = "axis" in dict(source.details)
    turns = not given and (source.table is not None or source.across is not None)
    axes = [k for k, n in enumerate(source.shape) if k and n == len(other) > 1]
    if axes:
        turned = f"give axis={{{label!r}: {axes[0]}}}, or " if turns and not lone else ""
        return (
            f"; field {label!r} has as many along its axis {axes[0]}: {turned}leave field "
            f"{other_label!r} out where all rows share it, and use it beside the loader"
        )
    both = _along_both_axes(source, label, len(other)) if turns else None
    return "" if both is None else f"; {both}"


def _value_for_each_recording(
    source: Source, field: str | int, other: Source, label: str | int
) -> str | None:
    """Say what to do with `other` where `source` has as many recordings as that rows, or None.

    Or where each of its recordings has so many rows.
    """
    edges, rows = source.borders, len(other)
    if edges is None or not rows:
        return None
    both = _along_both_axes(other, label, len(source)) if other.shape[1:] else None
    if both is not None:
        return both
    count = len(edges) - 1
    recordings = "1 recording" if count == 1 else f"{count} recordings"
    if count == rows:
        repeated = "np.repeat(values, np.diff(dataset.borders), axis=0)"
        what = f"a value for each is repeated for its rows by {repeated}"
    elif count > 1 and (np.diff(edges) == rows).all():
        recordings += f" of {rows} rows"
        what = f"values for the rows of each are repeated by np.concatenate([values] * {count})"
    else:
        return None
    return f"field {field!r} has {recordings}: {what}, of a dataset without field {label!r}"


def _along_both_axes(source: Source, label: str | int, rows: int) -> str | None:
    """Say what to write where a field has so many rows along its first two axes; else None."""
    if math.prod(source.shape[:2]) != rows:
        return None
    return f"field {label!r} has as many along its axes (0, 1): give axis={{{label!r}: (0, 1)}}"
