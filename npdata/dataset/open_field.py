"""From an argument of a dataset to a field: opened, and of the kind that its source asks for."""

from collections.abc import Sequence

from npdata.dataset.field import Field
from npdata.dataset.rows_field import RowsField
from npdata.errors import FieldError
from npdata.sources.open import SourceLike, open_source


def open_field(label: str | int, source: SourceLike, dtype: object = None) -> Field:
    """Open whatever holds the samples; errors of opening carry the label as a note.

    Raises `ConversionError` (a TypeError) where no tensor can hold them as they are or as `dtype`,
    and what `open_source` raises.
    """
    try:
        return RowsField(label, open_source(source), dtype)
    except (ValueError, TypeError) as error:
        error.add_note(f"while opening field {label!r}")
        raise


def require_equal_lengths(fields: Sequence[Field]) -> None:
    """Raise `FieldError` where a field has another number of samples than the first."""
    first = fields[0]
    for field in fields[1:]:
        if len(field) != len(first):
            raise FieldError(
                f"field {first.label!r} ({first.where}) has {len(first)} rows, field "
                f"{field.label!r} ({field.where}) has {len(field)}; all fields need the same number"
            )
