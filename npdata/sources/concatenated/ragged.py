"""Samples of different lengths of several sources, laid end to end.

Idea: each part gives the pieces that lie in it. Invariant: sample i is the one that the parts, in
their order, have at place i; parts whose values differ in shape, dtype or packing are refused.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from npdata.arrays.convert import ArrayLayout
from npdata.runtime.made_once import made_once
from npdata.sources.concatenated.joined import Joined
from npdata.sources.concatenated.parts import rows_of
from npdata.sources.ragged import OBJECTS, Ints, RaggedSource


class RaggedParts(Joined, RaggedSource):
    """The samples of all `parts`, one part after the other."""

    parts: tuple[RaggedSource, ...]

    def __init__(self, parts: Sequence[RaggedSource], paths: Sequence[str] = ()) -> None:
        super().__init__(parts, paths, _shown)
        first = parts[0]
        self.shape = (int(self.edges.starts[-1]),)
        self.dtype = OBJECTS
        self.row_shape, self.values_dtype = first.row_shape, first.values_dtype
        self.packing = first.packing

    @property
    def row_bytes(self) -> int:
        """The bytes of a sample of mean length."""
        return -(-sum(len(p) * p.row_bytes for p in self.parts) // max(1, len(self)))

    @made_once
    def _copies(self) -> bool:
        """Whether pieces are copied: where not those of all parts are views of one kind."""
        seen = [part.pieces_layout for part in self.parts if len(part)]
        return len({None if e is None else (e.writeable, e.aligned, e.strides) for e in seen}) > 1

    @property
    def pieces_layout(self) -> ArrayLayout | None:
        """The layout of a piece where all parts have views of one kind."""
        full = (part for part in self.parts if len(part))
        return None if self._copies else next(full, self.parts[0]).pieces_layout

    def lengths(self) -> Ints:
        """Give the lengths of all samples."""
        return np.concatenate([part.lengths() for part in self.parts])

    def pieces(self, indices: Ints) -> list[NDArray[Any]]:
        """Give the pieces that each part has of them."""
        made: list[Any] = [None] * len(indices)
        for owner, places, inside in self.edges.split(indices, self.edges.owners(indices)):
            pieces = self._opened(owner).pieces(inside)
            for place, piece in zip(places.tolist(), pieces, strict=True):
                made[place] = piece.copy() if self._copies else piece
        return made


def _shown(part: RaggedSource) -> str:
    packed = "" if part.packing is None else f", packed: {part.packing}"
    return f"samples of {rows_of(part.row_shape, part.values_dtype)}{packed}"
