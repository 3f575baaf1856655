"""How one row of a source becomes a sample: a view, a copy, text, a dict, or why it cannot.

Idea: decided from dtypes and layouts alone, for the fields of a dataset and for `npdata inspect`,
which makes none. Invariant: no row is read and no tensor is made.
"""

from dataclasses import replace

import numpy as np

from npdata.arrays.convert import ArrayLayout, Conversion, decide
from npdata.arrays.dtypes import dtype_rule
from npdata.sources.base import Source
from npdata.sources.derived.base import origin
from npdata.sources.derived.columns import holds_codes, numeric_columns
from npdata.sources.ragged import RaggedSource


def conversion_of(source: Source, dtype: object = None) -> Conversion:
    """Decide how one row of a source becomes a sample of `dtype` (None: as it is), or why not."""
    if isinstance(source, RaggedSource):
        return ragged_conversion(source, dtype)
    rule = dtype_rule(source.dtype, dtype)
    if rule.kind == "text":
        return Conversion(action="text", reason=rule.reason)
    if rule.kind == "record":
        return _of_columns(source)
    layout = source.row_layout
    if layout is not None:
        return decide(layout, dtype=dtype)
    if rule.kind == "refused":
        return Conversion(action="refuse", reason=rule.reason)
    reason = f"{source.access.kind} rows are read into fresh memory"
    return Conversion(action="copy", rule=rule, reason=reason)


def _of_columns(source: Source) -> Conversion:
    """Decide on the columns of records; text that was chosen by name is kept as str."""
    layout = source.row_layout
    known = layout or ArrayLayout.of(np.empty((0, *source.shape[1:]), source.dtype)).row
    parts = []
    coded = next((name for name, _ in known.fields if name in origin(source).coded), None)
    if coded is not None:
        reason = f"its column {coded!r} {holds_codes(coded)}; {_numbers_alone(source)}"
        return Conversion(action="refuse", reason=reason)
    for name, column in known.fields:
        text = source.keeps_text and dtype_rule(column.dtype, str).kind == "text"
        if text and not column.shape:
            parts.append((name, Conversion(action="text", reason="text, chosen by its name")))
            continue
        part = decide(column, copy=True if layout is None else None)
        if text:  # of windows, or of a column with axes
            only = f"its column {name!r}: text is kept for one string a row only"
            return Conversion(action="refuse", reason=f"{only}; {_numbers_alone(source)}")
        if part.action == "refuse":
            reason = (
                f"its column {name!r}: {part.reason.partition(';')[0]}; {_numbers_alone(source)}, "
                "and text is kept as str in a column that columns= names"
            )
            if column.dtype.kind in "mM":
                reason += f"; columns={name!r} with dtype=torch.int64 gives its integer ticks alone"
            return Conversion(action="refuse", reason=reason)
        parts.append((name, part))
    return Conversion(action="fields", reason=dtype_rule(source.dtype).reason, fields=tuple(parts))


def _numbers_alone(source: Source) -> str:
    coded = origin(source).coded
    numeric = tuple(name for name in numeric_columns(source.dtype) if name not in coded)
    return f"columns={numeric!r} leaves it out" if numeric else "no column holds numbers"


def ragged_conversion(source: RaggedSource, dtype: object) -> Conversion:
    """Decide how one sample of `source` becomes a tensor of `dtype` (None: as it is)."""
    layout = source.pieces_layout
    if layout is not None:
        return decide(layout, dtype=dtype)
    fresh = ArrayLayout.of(np.empty((0, *source.row_shape), source.values_dtype))
    decided = decide(fresh, copy=True, dtype=dtype)
    if decided.action != "copy":
        return decided
    return replace(decided, reason=f"{source.access.kind} rows are read into fresh memory")
