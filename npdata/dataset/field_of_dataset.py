"""The field that a dataset of one field stands for in another, or a torch `Subset` of such a one.

Idea: what `stack`, `concatenate` and `ragged` give are datasets, and each may be one field of many;
many samples share a row of some, as captions their image. Invariant: nothing that the dataset does
to its samples is lost in silence. It reads nothing.
"""

from typing import Any

from npdata.dataset.field import Field
from npdata.errors import FieldError, NpdataError
from npdata.sampling.order.wrapped import chosen_of, chosen_rows, why_unknown
from npdata.sources.derived.chosen_rows import rows_at


def field_or_given(label: str | int, given: Any) -> Any:
    """Give the field that a dataset, or a `Subset` of one, stands for; others as they are.

    Raises `FieldError` for one that has functions, windows or, if it is no `Subset`, more fields.
    """
    dataset = chosen_of(given)
    chosen = dataset is not given
    if not hasattr(dataset, "only_source") or (chosen and len(dataset.fields) > 1):
        return given
    try:
        return _chosen_rows(dataset, given) if chosen else only_field(dataset)
    except NpdataError as error:
        error.add_note(f"while opening field {label!r}")
        raise


def only_field(dataset: Any) -> Field:
    """Give the field of a `NumpyDataset` that stands for one of another, or raise `FieldError`."""
    first: Field
    first, *others = dataset.fields.values()
    if others or dataset.transforms.any or first.windows is not None:
        raise FieldError(
            "a dataset stands for a field only if it has one field, no functions and no windows; "
            "give its fields, and functions to the whole: NumpyDataset(**ds.fields, transform=f), "
            "or NumpyDataset(*ds.fields.values(), transform=f) without names"
        )
    _require_unchanged(dataset)
    return first


def _chosen_rows(dataset: Any, subset: Any) -> Field:
    """Give the only field of a dataset, of the rows that `subset` chooses."""
    _require_unchanged(dataset)
    field: Field
    (field,) = dataset.fields.values()
    if dataset.transforms.any or field.windows is not None:
        raise FieldError(
            "a Subset stands for a field only if its dataset has no functions and no windows; give "
            "functions to the whole: NumpyDataset(x=Subset(NumpyDataset(ds.fields"
            f"[{field.label!r}]), rows), transform=f), and take windows in the batch: "
            "batch_transform=lambda b: {**b, 'x': windows[b['row']]}"
        )
    found = chosen_rows(subset)
    if found is None or found[1] is None:
        raise FieldError(why_unknown(subset))
    return field.over(rows_at(field.source, found[1]))


def _require_unchanged(dataset: Any) -> None:
    """Raise `FieldError` for a subclass whose samples are not the rows of its fields."""
    changed = dataset.changed_way
    if changed is None:
        return
    field = f"NumpyDataset(ds.fields[{dataset.names[0]!r}]"
    cure = f"{field}, transform=f), and change samples in transform="
    if changed == "__len__":
        cure = f"{field}), and choose rows by Subset({field}), rows)"
    raise FieldError(
        f"{type(dataset).__name__} changes {changed}, which a field of its rows would not go "
        f"through; give its field, {cure}"
    )
