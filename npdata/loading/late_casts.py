"""Casts that wait until the loop asks for a batch: of whole numbers, to what has more bytes.

Idea: a run of batches is gathered as it is stored, so that more of them make a run, and each is
cast by NumPy while it is in the cache. Invariant: such a cast gives what the dataset gives, as -1
in uint16 65,535, and refuses no number. Here nothing is read or cast.
"""

from collections.abc import Iterable, Mapping
from typing import NamedTuple, Self

import torch

from npdata.arrays.dtypes import numpy_name
from npdata.arrays.values import numpy_casts
from npdata.dataset.field import Field
from npdata.dataset.rows_field import RowsField
from npdata.loading.cast import DTypes


class LateCasts(NamedTuple):
    """The fields that read a run, and what NumPy casts the batches of each to; None: to nothing.

    A row of a batch then has `row_bytes`.
    """

    fields: tuple[Field, ...]
    dtypes: tuple[str | None, ...]
    row_bytes: int

    @classmethod
    def of(cls, fields: Iterable[Field], dtype: DTypes) -> Self | None:
        """Give the casts that can wait, of fields of rows and of a loader that gives `dtype`.

        None where there are none, and where the loader has others to make.

        Examples:
            >>> fields = npdata.NumpyDataset(np.zeros((5, 3), np.uint16), dtype="i8").fields
            >>> late = LateCasts.of(fields.values(), None)
            >>> late.fields[0].rule.result, late.dtypes, late.row_bytes
            (torch.uint16, ('int64',), 24)
            >>> LateCasts.of(fields.values(), torch.float32) is None
            True
        """
        read: list[Field] = []
        dtypes: list[str | None] = []
        row_bytes = 0
        for field in fields:
            rule, cast = field.rule, None
            asked = dtype.get(field.label) if isinstance(dtype, Mapping) else dtype
            if asked is not None and asked != rule.result:
                if rule.cast is not None or not _can_wait(rule.tensor, asked):
                    return None
                cast = asked
            elif _can_wait(rule.tensor, rule.cast):
                cast = rule.cast
                field = RowsField(field.label, field.source, rule.tensor)
            read.append(field)
            dtypes.append(None if cast is None else numpy_name(cast))
            row_bytes += bytes_of_row(field, cast or rule.result)
        return cls(tuple(read), tuple(dtypes), row_bytes) if any(dtypes) else None


def bytes_of_row(field: Field, *dtypes: torch.dtype | None) -> int:
    """Give the bytes of a row of numbers in the largest of these dtypes; None stands for none.

    Examples:
        >>> ds = npdata.NumpyDataset(np.zeros((5, 3), np.uint8))
        >>> bytes_of_row(ds.fields[0], torch.int64, None)
        24
    """
    elements = field.source.row_bytes // field.source.dtype.itemsize
    return elements * max(dtype.itemsize for dtype in dtypes if dtype is not None)


def _can_wait(stored: torch.dtype | None, cast: torch.dtype | None) -> bool:
    if stored is None or cast is None or cast.itemsize <= stored.itemsize:
        return False
    return numpy_casts(stored, cast)
