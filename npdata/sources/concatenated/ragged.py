"""Samples of different lengths of several sources, laid end to end.

Idea: each part gives the pieces that lie in it. Invariant: sample i is the one that the parts, in
their order, have at place i; parts whose values differ in shape, dtype or packing are refused.
"""

from collections.abc import Sequence
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from npdata.arrays.convert import ArrayLayout
from npdata.sources.concatenated.base import Edges, EndToEnd
from npdata.sources.concatenated.parts import require_alike, rows_of
from npdata.sources.concatenated.summary import and_more
from npdata.sources.ragged import OBJECTS, Ints, RaggedSource


class RaggedParts(EndToEnd, RaggedSource):
    """The samples of all `parts`, one part after the other.

    Examples:
        >>> parts = [npdata.ragged(np.arange(3), lengths=[1, 2]) for _ in range(2)]
        >>> [piece.tolist() for piece in RaggedParts(parts).pieces(np.array([3, 0]))]
        [[1, 2], [0]]
    """

    def __init__(self, parts: Sequence[RaggedSource], paths: Sequence[str] = ()) -> None:
        """Join the parts; raises `FieldError` where their values differ, naming both.

        `paths` are the names of the files that the parts come from, one each, where they do.
        """
        super().__init__()
        require_alike((part.where, _shown(part)) for part in parts)
        first = parts[0]
        self.made_of = self.parts = tuple(parts)
        self.own = dict(enumerate(parts))
        self.edges = Edges(np.array([len(part) for part in parts], np.int64))
        self.paths = paths
        self.shape = (int(self.edges.starts[-1]),)
        self.dtype = OBJECTS
        self.row_shape, self.values_dtype = first.row_shape, first.values_dtype
        self.packing = first.packing
        self.where = and_more(first.where, len(parts))
        self.access = max((part.access for part in parts), key=lambda access: access.cost)
        self.details = first.details

    @property
    def row_bytes(self) -> int:
        """The bytes of a sample of mean length."""
        return -(-sum(len(p) * p.row_bytes for p in self.parts) // max(1, len(self)))

    @cached_property
    def _copies(self) -> bool:
        """Whether pieces are copied: where not those of all parts are views of one kind."""
        seen = [part.pieces_layout for part in self.parts if len(part)]
        return len({None if e is None else (e.writeable, e.aligned, e.strides) for e in seen}) > 1

    @property
    def pieces_layout(self) -> ArrayLayout | None:
        """The layout of a piece where all parts have views of one kind."""
        full = (part for part in self.parts if len(part))
        return None if self._copies else next(full, self.parts[0]).pieces_layout

    @property
    def bases(self) -> tuple[Any, ...]:
        """What all parts are made of."""
        return tuple(base for part in self.parts for base in part.bases)

    def over(self, bases: Sequence[Any]) -> "RaggedParts":
        """Give the same samples, made of other bases."""
        rest, parts = iter(bases), []
        for part in self.parts:
            made = part.over([next(rest) for _ in part.bases])
            assert isinstance(made, RaggedSource)
            parts.append(made)
        return RaggedParts(parts, self.paths)

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

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle the parts by what they are: paths for files."""
        return type(self), (self.parts, self.paths)


def _shown(part: RaggedSource) -> str:
    packed = "" if part.packing is None else f", packed: {part.packing}"
    return f"samples of {rows_of(part.row_shape, part.values_dtype)}{packed}"
