"""A field of samples of different shapes: a list in a batch, or stacked behind a transform.

Idea: each sample is a tensor of its own. Those that a transform is to change are no batch yet, and
are stacked behind it. Invariant: the values are those of the source; nothing is padded or cropped
here.
"""

from typing import Any

import numpy as np

from npdata.arrays.convert import ArrayLayout, Conversion, apply, as_tensor, decide
from npdata.arrays.dtypes import Ints
from npdata.dataset.batch_memory import Allocate
from npdata.dataset.field import Field
from npdata.dataset.ragged_form import RaggedForm
from npdata.errors import ConversionError
from npdata.runtime.made_once import made_once
from npdata.sources.base import Source
from npdata.sources.concatenated.varied import VariedParts
from npdata.sources.ragged import PiecesSource, RaggedSource


class Varied(list[Any]):
    """Tensors of different shapes, one for each sample, which are to be stacked."""


class VariedField(Field):
    """Samples of different shapes as tensors; raises `ConversionError` where there are none.

    `form` is that of a list, or None where a transform brings them to one shape.
    """

    source: PiecesSource

    def __init__(
        self,
        label: str | int,
        source: PiecesSource,
        dtype: object = None,
        form: RaggedForm | None = None,
    ) -> None:
        super().__init__(label, source, dtype)
        self.form = form
        if self.conversion.action not in ("copy", "view"):
            raise self.refused(f"its values are {source.values_dtype}: {self.conversion.reason}")
        self.require_times()

    @made_once
    def conversion(self) -> Conversion:
        """How one sample is made, and why so."""
        fresh = ArrayLayout.of(np.empty(0, self.source.values_dtype))
        return decide(fresh, copy=True if self._views else None, dtype=self.asked)

    @property
    def joins(self) -> tuple[Any, ...] | None:
        """What its samples have in common, where samples of such sources follow each other."""
        if isinstance(self.source, VariedParts):
            return type(self), self.source.axes, self.source.values_dtype, self.asked
        if not isinstance(self.source, RaggedSource):
            return None
        return type(self), self.source.row_shape, self.source.values_dtype, self.asked

    @property
    def _views(self) -> bool:
        """Whether the source gives views of its data, which a transform must not change."""
        return isinstance(self.source, RaggedSource) and self.source.pieces_layout is not None

    def over(self, source: Source) -> "VariedField":
        """Give a field of the same form over another source of arrays."""
        assert isinstance(source, PiecesSource)  # as all that are made of this one
        return VariedField(self.label, source, self.asked, self.form)

    def stack(self, indices: Ints, allocate: Allocate) -> list[Any]:
        """Give the samples, each a tensor of memory of its own."""
        self.source.check()
        pieces = self.source.pieces(indices)
        try:
            if self._views:
                made = (as_tensor(piece, copy=True, dtype=self.asked) for piece in pieces)
            else:
                made = (apply(self.conversion, piece) for piece in pieces)
            samples = list(made) if self.form else Varied(made)
        except ConversionError as error:
            raise self.lost(error) from None
        self.source.check()
        return samples
