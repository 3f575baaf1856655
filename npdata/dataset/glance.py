"""A dataset at a glance: names, shapes and dtypes, and what a prompt and a notebook show of it.

Idea: all of it is read off the fields, which know it already. Invariant: no row is read, and no
file opened.
"""

from collections.abc import Mapping
from types import MappingProxyType

import torch

from npdata.dataset.field import Field
from npdata.dataset.html import table
from npdata.sources.ragged import RaggedSource

MOST_FIELDS = 8


class Glance:
    """What is known of fields without reading them."""

    _fields: tuple[Field, ...]

    @property
    def fields(self) -> Mapping[str | int, Field]:
        """The fields by name or position, read-only.

        Examples:
            >>> npdata.NumpyDataset(image="x.npy").fields["image"].where
            'x.npy'
        """
        return MappingProxyType({field.label: field for field in self._fields})

    @property
    def names(self) -> tuple[str | int, ...]:
        """The names of the fields, or their positions where they have none.

        Examples:
            >>> npdata.NumpyDataset(image="x.npy", label=np.arange(5)).names
            ('image', 'label')
        """
        return tuple(field.label for field in self._fields)

    @property
    def shapes(self) -> Mapping[str | int, tuple[int, ...]]:
        """The shape of each field as NumPy gives it: the rows first, then a sample.

        Examples:
            >>> npdata.NumpyDataset(image="x.npy").shapes["image"]
            (5, 2, 3)
        """
        return MappingProxyType({field.label: field.source.shape for field in self._fields})

    @property
    def dtypes(self) -> Mapping[str | int, torch.dtype | None]:
        """The dtype of the tensors of each field; None for text and for records.

        Examples:
            >>> npdata.NumpyDataset(image="x.npy").dtypes["image"]
            torch.float32
        """
        return MappingProxyType({field.label: field.conversion.dtype for field in self._fields})

    def __repr__(self) -> str:
        """Give the fields in one line, with the dtype of the tensors where it is another.

        Examples:
            >>> npdata.NumpyDataset(image="x.npy", dtype="float16")
            NumpyDataset(image: (5, 2, 3) float32 -> torch.float16)
            >>> npdata.NumpyDataset(npdata.ragged(np.zeros((9, 2)), lengths=[4, 5]))
            NumpyDataset(0: (2, *, 2) float64)
        """
        shown = [f"{f.label}: {_shape(f)} {_dtypes(f)}" for f in self._fields[:MOST_FIELDS]]
        more = len(self._fields) - len(shown)
        shown += [f"and {more} more"] if more else []
        return f"{type(self).__name__}({', '.join(shown)})"

    def _repr_html_(self) -> str:
        """Give the fields as a table, for notebooks."""
        rows = [
            (f.label, _shape(f), f.dtype, f.conversion.dtype or f.conversion.action, f.where)
            for f in self._fields
        ]
        head = ("field", "shape", "stored", "tensor", "where")
        return table(f"{type(self).__name__} of {len(self._fields[0])} samples", head, rows)


def _shape(field: Field) -> str:
    """Give the shape, with * for the rows of a sample where they differ."""
    source = field.source
    if not isinstance(source, RaggedSource):
        return str(source.shape)
    return f"({', '.join(map(str, (len(source), '*', *source.row_shape)))})"


def _dtypes(field: Field) -> str:
    stored, given = field.dtype, field.conversion.dtype
    if given is None or str(given) == f"torch.{stored.name}":
        return str(stored)
    return f"{stored} -> {given}"
