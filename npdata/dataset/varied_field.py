"""A field of samples of different shapes, which a transform brings to one shape.

Idea: each sample is a tensor of its own, and a batch a list of them, which no collate stacks.
Invariant: the values are those of the source; nothing is padded or cropped here.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from npdata.arrays.convert import ArrayLayout, Conversion, apply, decide
from npdata.dataset.batch_memory import Allocate
from npdata.dataset.field import Field
from npdata.errors import ConversionError
from npdata.runtime.made_once import made_once
from npdata.sources.ragged import PiecesSource


class Varied(list[Any]):
    """Tensors of different shapes, one for each sample of a batch."""


class VariedField(Field):
    """Samples of different shapes as tensors; raises `ConversionError` where there are none."""

    source: PiecesSource

    def __init__(self, label: str | int, source: PiecesSource, dtype: object = None) -> None:
        """Decide how the samples become tensors of `dtype` (None: as they are)."""
        super().__init__(label, source, dtype)
        if self.conversion.action not in ("copy", "view"):
            raise ConversionError(
                f"field {label!r} ({source.where}, {source.values_dtype}) cannot become a tensor: "
                f"{self.conversion.reason}"
            )

    @made_once
    def conversion(self) -> Conversion:
        """How one sample is made, and why so."""
        return decide(ArrayLayout.of(np.empty(0, self.source.values_dtype)), dtype=self.asked)

    def stack(self, indices: NDArray[np.int64], allocate: Allocate) -> Varied:
        """Give the samples, each a tensor."""
        return Varied(apply(self.conversion, piece) for piece in self.source.pieces(indices))
