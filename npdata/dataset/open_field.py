"""From the arguments of a dataset to its fields: opened, and of the kind that each source asks for.

Idea: what a source holds decides the kind of its field; the options of that kind are taken from
what the user asked for. Invariant: an option that no field would heed is refused.
"""

from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

from npdata.dataset.arguments import OPTIONS, as_field, may_be_option, meant_by, per_field
from npdata.dataset.field import Field
from npdata.dataset.paired_rows import require_one_length, require_paired_rows
from npdata.dataset.ragged_field import RaggedField
from npdata.dataset.ragged_form import LIST, RaggedForm
from npdata.dataset.rows_field import RowsField
from npdata.dataset.sparse_field import SparseField
from npdata.dataset.varied_field import VariedField
from npdata.errors import FieldError
from npdata.sources.base import Source
from npdata.sources.cache.cache import Cache
from npdata.sources.cache.cached import KeptSources, cached, why_not_cached
from npdata.sources.concatenated.base import EndToEnd
from npdata.sources.concatenated.concat import ConcatSource
from npdata.sources.concatenated.parts import require_row_kinds
from npdata.sources.concatenated.varied import RaggedRowParts, VariedParts
from npdata.sources.derived.axis import along_axis
from npdata.sources.derived.columns import ColumnSource, ColumnsSource, columns_of
from npdata.sources.many_files.stack import StackSource
from npdata.sources.open import SourceLike, open_source
from npdata.sources.packed.decode import decoded
from npdata.sources.ragged import PiecesSource, RaggedSource
from npdata.sources.sparse import LAYOUTS, SparseSource

DIFFERENT, SPARSE = "samples of different lengths", "sparse rows"
RECORDS = "rows that are records (a structured dtype)"
KINDS: dict[str, tuple[type[Source] | tuple[type[Source], ...], str]] = {
    "ragged": (RaggedSource, DIFFERENT),
    "padding": (RaggedSource, DIFFERENT),
    "layout": (SparseSource, SPARSE),
    "columns": ((ColumnSource, ColumnsSource), RECORDS),
}
"""The kind of source that an option is for."""


def open_fields(
    names: tuple[str, ...] | None, sources: Sequence[SourceLike], options: Mapping[str, Any]
) -> tuple[Field, ...]:
    """Open the fields of a dataset; `options` are those of `NumpyDataset` for fields.

    A field of another dataset keeps its options where no others are asked for. Fields of the same
    rows have one source, so that what is compressed is decoded once for all of them.

    Raises `FieldError` for fields of different length and options that no field heeds, and what
    opening raises, with the field as a note.
    """
    labels: Sequence[str | int] = names or range(len(sources))
    asked = {name: per_field(name, value, names, len(sources)) for name, value in options.items()}
    require_one_length(labels, sources, asked["axis"])
    if any(asked["cache"]):
        asked["cache_bytes"] = [
            None if cache is None else most
            for cache, most in zip(asked["cache"], asked["cache_bytes"], strict=True)
        ]
    known: _Known = {}
    with_cache: KeptSources = {}
    fields = tuple(
        _open_field(label, source, {name: asked[name][k] for name in asked}, known, with_cache)
        for k, (label, source) in enumerate(zip(labels, sources, strict=True))
    )
    fields = _of_own_lengths(fields, asked, options)
    _require_heeded(fields, options, asked["ragged"])
    require_paired_rows(fields, sources)
    return fields


_Known: TypeAlias = dict[tuple[Any, ...], tuple[Source, Source]]
"""Sources as they are opened, and as they are kept by `cache=`, by what was asked for."""


def _open_field(
    label: str | int,
    source: SourceLike,
    asked: Mapping[str, Any],
    known: _Known,
    with_cache: KeptSources,
) -> Field:
    windows = None
    if isinstance(source, Field):
        asked, windows = _asked_of(source, asked), source.windows
        source = source.source
    try:
        cache = Cache.of(asked["cache"], asked["cache_bytes"])
        key = (source if isinstance(source, str) else id(source), repr(asked["axis"]), cache)
        if key not in known:
            opened = along_axis(open_source(source), asked["axis"])
            known[key] = opened, cached(opened, cache, with_cache)
        opened, kept = known[key]
        rows = columns_of(decoded(kept, asked["decode"], asked["dtype"]), asked["columns"])
        field = _field_over(label, rows, asked)
        field.windows = windows
        if cache is not None and kept is opened:
            field.notes = (("cache", why_not_cached(opened)),)
        return field
    except (ValueError, TypeError, OSError) as error:
        cure = meant_by(str(label), OPTIONS) if may_be_option(source) else ""
        error.add_note(f"while opening field {label!r}{cure}")
        raise


def _asked_of(field: Field, asked: Mapping[str, Any]) -> dict[str, Any]:
    """Give what is asked of a field of another dataset, which keeps its options where none are."""
    own = {"dtype": field.asked, "layout": "csr" if isinstance(field, SparseField) else "dense"}
    form = asked["ragged"]
    if isinstance(form, str) and form == "padded" and isinstance(field, RaggedField):
        own["padding"] = field.form.padding
    if form is asked["padding"] is None:
        if isinstance(field, VariedField):
            own["ragged"] = "stacked" if field.form is None else "list"
        elif isinstance(field, RaggedField):
            own["ragged"] = form = field.form.form
            own["padding"] = field.form.padding if form == "padded" else None
    return {**asked, **{name: value for name, value in own.items() if asked[name] is None}}


def _field_over(label: str | int, source: Source, asked: Mapping[str, Any]) -> Field:
    if isinstance(source, VariedParts):
        _require_asked_for(label, source, asked)
    if isinstance(source, RaggedSource):
        form = RaggedForm.of(asked["ragged"], asked["padding"])
        if asked["ragged"] == "stacked":
            return VariedField(label, source, asked["dtype"])
        return RaggedField(label, source, asked["dtype"], form)
    if isinstance(source, SparseSource) and _layout(asked["layout"], source) == "csr":
        return SparseField(label, source, asked["dtype"])
    if isinstance(source, PiecesSource):
        listed = LIST if _is(asked["ragged"], "list") else None
        return VariedField(label, source, asked["dtype"], listed)
    return RowsField(label, source, asked["dtype"])


def _require_asked_for(label: str | int, source: VariedParts, asked: Mapping[str, Any]) -> None:
    """Raise `FieldError` for rows of different shapes, which may be a mistake, unless asked for."""
    if asked["ragged"] is asked["padding"] is None:
        require_row_kinds(source.parts)
    if not isinstance(source, RaggedSource) and not _takes_any(asked["ragged"]):
        option = "padding" if asked["ragged"] is None else "ragged"
        raise FieldError(
            f"{option}={asked[option]!r:.60} is for {DIFFERENT}, and field {label!r} "
            f"({source.where}) has {_shapes(label)}"
        )


def _shapes(label: str | int) -> str:
    """Say that samples have other shapes, and how they are asked for."""
    form, other = (
        repr(each) if isinstance(label, int) else repr({label: each})
        for each in ("stacked", "list")
    )
    return (
        "samples that differ in more than their first axis; a transform= brings them to one "
        f"shape, and ragged={form} stacks them; with ragged={other} a batch is a list"
    )


def _of_own_lengths(
    fields: tuple[Field, ...], asked: Mapping[str, Sequence[Any]], options: Mapping[str, Any]
) -> tuple[Field, ...]:
    """Make files that happen to be of one length ragged where `ragged=` or `padding=` ask for it.

    What is given for all fields asks for it if it can mean no other field.
    """
    meant, made = _meant_by_all([field.source for field in fields]), list(fields)
    for k, field in enumerate(fields):
        asks = [option for option in ("ragged", "padding") if asked[option][k] is not None]
        named = any(isinstance(options[option], Mapping | list | tuple) for option in asks)
        if not _has_lengths(field.source) or not (named or (asks and k == meant)):
            continue
        own = {option: each[k] for option, each in asked.items()} | {"dtype": field.asked}
        # Rows of one shape are stacked as they are.
        if not (_is(own["ragged"], "stacked") and isinstance(field.source, ConcatSource)):
            made[k] = _field_over(field.label, _with_lengths(field.source), own)
    return tuple(made)


def _meant_by_all(sources: Sequence[Source]) -> int | None:
    """Give the one of them, of those that have lengths, that is meant where none is named."""
    for kind, others in ((StackSource, RaggedSource), (ConcatSource, PiecesSource)):
        found = [k for k, s in enumerate(sources) if isinstance(s, kind) and _has_lengths(s)]
        if found:
            alone = len(found) == 1 and not any(isinstance(s, others) for s in sources)
            return found[0] if alone else None
    return None


def _has_lengths(source: Source) -> bool:
    """Whether it is files whose arrays, or their rows, have one length that others might not."""
    return isinstance(source, StackSource | ConcatSource) and len(source.shape) > 1


def _with_lengths(source: Source) -> Source:
    if isinstance(source, StackSource):
        return source.of_own_lengths()
    return RaggedRowParts([source], source.paths)


def _is(given: object, form: str) -> bool:
    return isinstance(given, str) and given == form


def _takes_any(form: object) -> bool:
    """Whether a batch of this form may be of samples that differ in more than their first axis."""
    return _is(form, "stacked") or _is(form, "list")


def _layout(asked: Any, source: SparseSource) -> str | None:
    if asked is None and source.layout is None:
        raise FieldError(
            f"{source.where}: some parts have layout='dense', some layout='csr'; give layout= here"
        )
    if asked is None:
        return source.layout
    if not isinstance(asked, str) or asked not in LAYOUTS:
        raise FieldError(f"layout={asked!r:.60}: expected 'dense' or 'csr'; {as_field('layout')}")
    return asked


def _holds(source: Source, kind: type[Source] | tuple[type[Source], ...]) -> bool:
    """Whether it lays sources of this kind end to end, without being one."""
    if isinstance(source, kind) or not isinstance(source, EndToEnd):
        return False
    return any(isinstance(part, kind) for part in source.own.values())


def _require_heeded(
    fields: Sequence[Field], options: Mapping[str, Any], forms: Sequence[Any]
) -> None:
    of_any_shape = {
        field.label
        for field, form in zip(fields, forms, strict=True)
        if (_takes_any(form) and isinstance(field.source, PiecesSource))
        or (_is(form, "stacked") and _has_lengths(field.source))
    }
    for option, (kind, what) in KINDS.items():
        value = options[option]
        heeding = {field.label for field in fields if isinstance(field.source, kind)}
        if option == "ragged":
            heeding |= of_any_shape
        if isinstance(value, Mapping):
            lost = [label for label in value if label not in heeding]
        else:
            lost = [] if value is None or heeding else [fields[0].label]
        if not lost:
            continue
        several = next((field for field in fields if _holds(field.source, kind)), None)
        if several is not None:
            raise FieldError(
                f"{option}= is for {what}, and not all parts of field {several.label!r} "
                f"({several.where}) hold them: leave it out"
            )
        field = next(field for field in fields if field.label == lost[0])
        held = _held_instead(option, value, field, alone=len(fields) == 1)
        raise FieldError(f"{option}= is for {what}, and field {lost[0]!r} has {held}")


def _held_instead(option: str, value: Any, field: Field, *, alone: bool) -> str:
    """Say what a field has that an option is not for, and what to write."""
    if isinstance(field.source, RaggedSource):
        return f"{DIFFERENT}; {as_field(option)}"
    if isinstance(field.source, PiecesSource):
        return _shapes(field.label)
    cure = as_field(option)
    if option == "columns" and field.source.shape[1:]:
        taken = _columns_of_batch(field.label, alone=alone)
        cure = f"of these, take them from the batch: batch_transform=lambda b: {taken}"
    if option == "ragged" and isinstance(value, str) and field.source.shape[1:]:
        cure = f"npdata.concatenate(files, ragged={value!r:.40}) takes one file, too, in this form"
    if option in ("ragged", "padding") and _has_lengths(field.source):
        cure = f"files of one length take it by name: {option}={{{field.label!r}: {value!r:.40}}}"
    return f"rows of one shape; {cure}"


def _columns_of_batch(label: str | int, *, alone: bool) -> str:
    """Give what takes columns of one field out of a batch `b`, in the form that it has."""
    if isinstance(label, str):
        return f"{{**b, {label!r}: b[{label!r}][:, columns]}}"
    if alone:
        return "b[:, columns]"
    return f"(*b[:{label}], b[{label}][:, columns], *b[{label + 1}:])"
