"""What a dataset does with the data it was given, as values and as a table to print.

Idea: the decisions that the fields carry (access, conversion), with their reasons, and nothing
computed anew. Invariant: describing reads no rows.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from npdata.arrays.dtypes import DType
from npdata.dataset.field import Field


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
    details: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, kw_only=True)
class Description:
    """All fields of a dataset; print it for a table."""

    rows: int
    fields: tuple[FieldDescription, ...]

    def __str__(self) -> str:
        """Give a paragraph per field."""
        lines = [f"{self.rows} rows, {sum(f.row_bytes for f in self.fields)} bytes each"]
        for field in self.fields:
            delivered = field.tensor_dtype or field.conversion
            lines += [
                f"{field.name}: {field.where}",
                f"  shape   {field.shape}, {field.dtype} -> {delivered}",
                f"  access  {field.access}: {field.access_reason}",
                *(f"  {name:<7} {text}" for name, text in field.details),
                f"  sample  {field.conversion}: {field.conversion_reason}",
            ]
        return "\n".join(lines)


def describe(fields: Sequence[Field], *, independent: bool) -> Description:
    """Describe fields; `independent` tells that every sample is copied for a transform."""
    return Description(
        rows=len(fields[0].source), fields=tuple(_field(field, independent) for field in fields)
    )


def _field(field: Field, independent: bool) -> FieldDescription:
    source, conversion = field.source, field.conversion
    action, reason = conversion.action, conversion.reason
    if independent and action == "view":
        action, reason = "copy", "the transform gets an independent copy that it may change"
    return FieldDescription(
        name=field.label,
        where=source.where,
        shape=source.shape,
        dtype=source.dtype,
        tensor_dtype=conversion.dtype,
        access=source.access.kind,
        access_reason=source.access.reason,
        conversion=action,
        conversion_reason=reason,
        row_bytes=source.row_bytes,
        details=source.details,
    )
