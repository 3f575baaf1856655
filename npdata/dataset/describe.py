"""What a dataset does with the data it was given, as values and as a table to print.

Idea: the decisions that the fields carry (access, conversion), with their reasons, and nothing
computed anew. Invariant: describing reads no rows.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from npdata.arrays.dtypes import DType
from npdata.arrays.recordings import shown_lengths
from npdata.arrays.windows import Windows
from npdata.dataset.field import Field
from npdata.dataset.html_table import table
from npdata.sources.base import Details
from npdata.sources.derived.windows import marks_padding
from npdata.sources.many_files.file_list import FileList, first_and_last


@dataclass(frozen=True, kw_only=True)
class FieldDescription:
    """One field: `shape` with the rows first, `dtype` as stored, `tensor_dtype` as delivered.

    `access` and `access_reason` tell how the rows are read, `conversion` ("view", "copy", "fields"
    or "text") and `conversion_reason` what one sample is made of. `details` are pairs of a name
    and a text: for HDF5 chunks, filters, the decoder and what random access costs.
    """

    name: str | int
    where: str
    shape: tuple[int, ...]
    dtype: DType
    tensor_dtype: torch.dtype | None
    access: str
    access_reason: str
    conversion: str
    conversion_reason: str
    row_bytes: int
    details: Details = ()

    @property
    def lines(self) -> list[tuple[str, str]]:
        """What `print` shows of it: pairs of a name and a text."""
        delivered = self.tensor_dtype or self.conversion
        return [
            ("shape", f"{self.shape}, {self.dtype} -> {delivered}"),
            ("access", f"{self.access}: {self.access_reason}"),
            *self.details,
            ("sample", f"{self.conversion}: {self.conversion_reason}"),
        ]


@dataclass(frozen=True, kw_only=True)
class Description:
    """All fields of a dataset; print it for a table.

    `notes` are pairs of a name and a text: for windows, their plan, the recordings and their
    borders, the rows that no window reaches, with the reason, and how to split them.
    """

    rows: int
    fields: tuple[FieldDescription, ...]
    notes: Details = ()

    def __repr__(self) -> str:
        fields = ", ".join(f"{f.name}: {f.shape} {f.dtype} {f.access}" for f in self.fields[:8])
        more = f", and {len(self.fields) - 8} more" if len(self.fields) > 8 else ""
        return f"<Description of {self.rows} rows: {fields}{more}>"

    def _repr_html_(self) -> str:
        """Give a table for the notes, and one for each field, for notebooks."""
        notes = [table(self._first_line(), (), self.notes)]
        return "".join(notes + [table(f"{f.name}: {f.where}", (), f.lines) for f in self.fields])

    def _first_line(self) -> str:
        return f"{self.rows} rows, {sum(f.row_bytes for f in self.fields)} bytes each"

    def __str__(self) -> str:
        lines = [self._first_line()]
        lines += [f"  {name:<9} {text}" for name, text in self.notes]
        for field in self.fields:
            lines.append(f"{field.name}: {field.where}")
            lines += [f"  {name:<7} {text}" for name, text in field.lines]
        return "\n".join(lines)


def describe(fields: Sequence[Field], *, independent: bool) -> Description:
    """Describe fields; `independent` is True where every sample is copied for a transform."""
    return Description(
        rows=len(fields[0]),
        fields=tuple(_field(field, independent) for field in fields),
        notes=_plans(fields),
    )


def _plans(fields: Sequence[Field]) -> Details:
    """Tell of the plan of windows, or of each, where fields of several datasets have their own."""
    told: dict[Details, list[str]] = {}
    planned = [(field, field.windows) for field in fields if field.windows is not None]
    for field, plan in planned:
        some = [other for other, its in planned if plan.numbers_as(its)]
        told.setdefault(_plan(some, plan), []).append(str(field.label))
    if len(told) == 1:
        return next(iter(told))
    return tuple(
        line for lines, labels in told.items() for line in (("fields", ", ".join(labels)), *lines)
    )


def _plan(fields: Sequence[Field], windows: Windows) -> Details:
    recordings = windows.recordings
    lengths = shown_lengths(recordings.lengths)
    many = f"{len(recordings)} recordings of {lengths} rows: {recordings.origin}"
    what = {
        "drop": "whole windows only",
        "repeat": "the nearest row of the recording stands in for rows outside it",
        "zero": "zeros stand in for rows outside the recording",
    }[windows.edge]
    if windows.edge != "drop":
        marked = any(marks_padding(field.source) for field in fields)
        what += ", marked by fields _is_pad" if marked else ", and nothing marks them (mask=True)"
    step = "row" if windows.stride == 1 else f"{windows.stride} rows"
    shared = "windows share rows; split() puts none into two parts, and random_split of torch does"
    return (
        ("windows", f"{len(windows)}, every {step}; {what}"),
        ("borders", many if len(recordings) > 1 else f"none: one recording of {lengths} rows"),
        ("left out", _left_out(windows)),
        *((("split", shared),) if windows.overlap else ()),
    )


def _left_out(windows: Windows) -> str:
    short, short_rows, rest = windows.left_out
    needs = windows.before + windows.after + 1
    reasons = []
    if short:
        reasons.append(f"{short_rows} rows in recordings shorter than {needs} ({short} of them)")
    if rest:
        reasons.append(f"{rest} rows between windows, or at the ends of recordings")
    return "no row" if not reasons else " and ".join(reasons)


def _field(field: Field, independent: bool) -> FieldDescription:
    source, conversion = field.source, field.conversion
    action, reason = conversion.action, conversion.reason
    if independent and action == "view":
        action, reason = "copy", "the transform gets an independent copy that it may change"
    return FieldDescription(
        name=field.label,
        where=source.where,
        shape=source.shape,
        dtype=field.dtype,
        tensor_dtype=conversion.dtype,
        access=source.access.kind,
        access_reason=source.access.reason,
        conversion=action,
        conversion_reason=reason,
        row_bytes=source.row_bytes,
        details=(*source.details, *_order(field.paths), *field.notes),
    )


def _order(paths: Sequence[str]) -> Details:
    """Name the first files and the last, since other fields have to be in their order."""
    if len(paths) < 2:
        return ()
    files = paths if isinstance(paths, FileList) else None
    order = "this order" if files is None or files.searched is None else "natural order"
    what = "arrays" if files is not None and files.members_differ else "files"
    return ((what, f"{len(paths)}, in {order}: {first_and_last(paths)}"),)
