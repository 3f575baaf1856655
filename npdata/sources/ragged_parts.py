"""Samples of different lengths of several sources, laid end to end.

Idea: each part gives the pieces that lie in it. Invariant: sample i is the one that the parts, in
their order, have at place i; parts whose values differ in shape, dtype or packing are refused.
"""

from collections.abc import Sequence
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from npdata.arrays.blocks import Blocks
from npdata.arrays.convert import ArrayLayout
from npdata.errors import FieldError
from npdata.sources.concat import ConcatSource
from npdata.sources.derived import CompositeSource
from npdata.sources.ragged import OBJECTS, Ints, RaggedSource


class RaggedParts(CompositeSource, RaggedSource):
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
        first = parts[0]
        for part in parts[1:]:
            if _kind(part) != _kind(first):
                raise FieldError(
                    f"samples of {first.where} are {_shown(first)}, those of {part.where} are "
                    f"{_shown(part)}; they make no one field"
                )
        self._parts = tuple(parts)
        self.made_of = self._parts
        self.paths = paths
        self._starts = np.cumsum([0, *map(len, parts)])
        self.shape = (int(self._starts[-1]),)
        self.dtype = OBJECTS
        self.row_shape, self.values_dtype = first.row_shape, first.values_dtype
        self.packing = first.packing
        others = f" and {len(parts) - 1} more" if len(parts) > 1 else ""
        self.where = f"{first.where}{others}"
        self.access = max((part.access for part in parts), key=lambda access: access.cost)
        self.details = first.details

    @property
    def borders(self) -> NDArray[np.int64]:
        """The first sample of each part, and the number of samples."""
        return self._starts

    @property
    def row_bytes(self) -> int:
        """The bytes of a sample of mean length."""
        return -(-sum(len(p) * p.row_bytes for p in self._parts) // max(1, len(self)))

    @property
    def blocks(self) -> Blocks:
        """The blocks of each part."""
        each = [part.blocks for part in self._parts]
        return Blocks(
            rows=tuple(n for blocks in each for n in blocks.rows),
            block_rows=tuple(n for blocks in each for n in blocks.block_rows),
        )

    @property
    def rows_in_memory(self) -> int | None:
        """The samples of the part of which the fewest fit."""
        limits = [n for part in self._parts if (n := part.rows_in_memory) is not None]
        return min(limits, default=None)

    @property
    def ahead_bytes(self) -> int | None:
        """What the part allows that allows the least."""
        limits = [n for part in self._parts if (n := part.ahead_bytes) is not None]
        return min(limits, default=None)

    @cached_property
    def _copies(self) -> bool:
        """Whether pieces are copied: where not those of all parts are views of one kind."""
        seen = [part.pieces_layout for part in self._parts if len(part)]
        return len({None if e is None else (e.writeable, e.aligned, e.strides) for e in seen}) > 1

    @property
    def pieces_layout(self) -> ArrayLayout | None:
        """The layout of a piece where all parts have views of one kind."""
        full = (part for part in self._parts if len(part))
        return None if self._copies else next(full, self._parts[0]).pieces_layout

    @property
    def bases(self) -> tuple[Any, ...]:
        """What all parts are made of."""
        return tuple(base for part in self._parts for base in part.bases)

    def over(self, bases: Sequence[Any]) -> "RaggedParts":
        """Give the same samples, made of other bases."""
        rest, parts = iter(bases), []
        for part in self._parts:
            made = part.over([next(rest) for _ in part.bases])
            assert isinstance(made, RaggedSource)
            parts.append(made)
        return RaggedParts(parts, self.paths)

    def lengths(self) -> Ints:
        """Give the lengths of all samples."""
        return np.concatenate([part.lengths() for part in self._parts])

    def pieces(self, indices: Ints) -> list[NDArray[Any]]:
        """Give the pieces that each part has of them."""
        owners = np.searchsorted(self._starts, indices, side="right") - 1
        made: list[Any] = [None] * len(indices)
        for owner in np.unique(owners).tolist():
            part, places = self._parts[owner], np.flatnonzero(owners == owner)
            pieces = part.pieces(indices[places] - self._starts[owner])
            for place, piece in zip(places.tolist(), pieces, strict=True):
                made[place] = piece.copy() if self._copies else piece
        return made

    def will_need(self, first: int, stop: int) -> None:
        """Pass it on as the samples of each part."""
        for part, low, high in self._within(first, stop):
            part.will_need(low, high)

    def dont_need(self, first: int, stop: int) -> None:
        """Pass it on as the samples of each part."""
        for part, low, high in self._within(first, stop):
            part.dont_need(low, high)

    def _within(self, first: int, stop: int) -> list[tuple[RaggedSource, int, int]]:
        cut = zip(self._parts, self._starts[:-1].tolist(), strict=True)
        spans = [(part, max(0, first - s), min(len(part), stop - s)) for part, s in cut]
        return [(part, low, high) for part, low, high in spans if low < high]

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle the parts by what they are: paths for files."""
        return type(self), (self._parts, self.paths)


def end_to_end(parts: Sequence[Any], paths: Sequence[str] = ()) -> "ConcatSource | RaggedParts":
    """Lay the rows of `parts` end to end, or their samples of different lengths."""
    if parts and all(isinstance(part, RaggedSource) for part in parts):
        return RaggedParts(parts, paths)
    return ConcatSource(parts, paths)


def _kind(part: RaggedSource) -> tuple[Any, ...]:
    return part.row_shape, part.values_dtype, part.packing


def _shown(part: RaggedSource) -> str:
    packed = "" if part.packing is None else f", packed: {part.packing}"
    return f"rows of {part.row_shape} of {part.values_dtype}{packed}"
