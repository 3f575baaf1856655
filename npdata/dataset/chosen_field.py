"""The field that a torch `Subset` of a dataset of one field stands for: the rows that it chooses.

Idea: many samples share a row, which lies once in an array: of captions their image. Invariant: a
`Subset` whose rows are not known is refused as reading it would be. It reads nothing.
"""

from typing import Any

from npdata.dataset.field import Field
from npdata.dataset.rows_field import RowsField
from npdata.errors import FieldError
from npdata.sampling.order.wrapped import chosen_rows, why_unknown
from npdata.sources.derived.chosen_rows import ChosenRows


def chosen_field(field: Field, subset: Any, *, functions: bool) -> Field:
    """Give the field of the rows that `subset` chooses of a dataset, whose only field is `field`.

    Raises `FieldError` where the dataset has functions or windows, or rows of several shapes, and
    what reading raises for indices that it refuses.
    """
    if functions or field.windows is not None:
        raise FieldError(
            "a Subset stands for a field only if its dataset has no functions and no windows; give "
            "functions to the whole: NumpyDataset(x=Subset(NumpyDataset(ds.fields"
            f"[{field.label!r}]), rows), transform=f), and take windows in the batch: "
            "batch_transform=lambda b: {**b, 'x': windows[b['row']]}"
        )
    if not isinstance(field, RowsField):
        raise FieldError(
            f"a Subset stands for a field where rows have one shape, and {field.where} has samples "
            "of another kind; a Subset of the whole dataset may have any"
        )
    found = chosen_rows(subset)
    if found is None or found[1] is None:
        raise FieldError(why_unknown(subset))
    return field.over(ChosenRows(field.source, found[1]))
