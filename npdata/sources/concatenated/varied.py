"""Rows of different shapes end to end: slices of volumes, conformations of molecules.

Idea: the rows of each part have one shape, and a row is a sample of its own shape. Invariant: row i
is the one that the parts, in their order, have at place i; nothing is padded or cropped here.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from npdata.arrays.dtypes import Ints
from npdata.sources.base import Source
from npdata.sources.concatenated.joined import Joined, packed
from npdata.sources.concatenated.parts import missing_of
from npdata.sources.ragged import OBJECTS, PiecesSource, RaggedSource
from npdata.sources.sparse import SparseSource


class VariedParts(Joined, PiecesSource):
    """The rows of all `parts`, each an array of the shape that the rows of its part have."""

    parts: tuple[Source, ...]

    def __init__(self, parts: Sequence[Source], paths: Sequence[str] = ()) -> None:
        rows = [f"rows of {len(p.shape) - 1} axes of {p.dtype}{packed(p)}" for p in parts]
        super().__init__(parts, paths, rows)
        self.shape = (int(self.edges.starts[-1]),)
        self.dtype, self.values_dtype = OBJECTS, parts[0].dtype
        self.missing = missing_of(parts)

    @property
    def axes(self) -> int:
        """How many axes a sample has."""
        return len(self.parts[0].shape) - 1

    @property
    def row_bytes(self) -> int:
        """The bytes of a row of mean size."""
        return -(-sum(len(p) * p.row_bytes for p in self.parts) // max(1, len(self)))

    def check(self) -> None:
        """Look at no file: each part looks at its own, before and after it is read."""

    def pieces(self, indices: Ints) -> list[NDArray[Any]]:
        """Read the rows of each part by one read."""
        made: list[Any] = [None] * len(indices)
        for owner, places, inside in self.edges.split(indices, self.edges.owners(indices)):
            part = self._opened(owner)
            rows = np.empty((len(inside), *part.shape[1:]), part.dtype)
            part.read(inside, rows)
            for place, row in zip(places.tolist(), rows, strict=True):
                made[place] = row
        return made


class RaggedRowParts(VariedParts, RaggedSource):
    """Rows that differ in the length of their first axis alone."""

    def __init__(self, parts: Sequence[Source], paths: Sequence[str] = ()) -> None:
        super().__init__(parts, paths)
        self.row_shape = parts[0].shape[2:]

    def lengths(self) -> Ints:
        """Give the length of every row."""
        return np.repeat([part.shape[1] for part in self.parts], self.edges.lengths)


def varied_parts(parts: Sequence[Source], paths: Sequence[str]) -> VariedParts | None:
    """Lay rows of different shapes end to end; None for rows that are of one shape, or unlike.

    Of rows that were taken so before, by a sum, the parts stand for them. Raises `FieldError` where
    others beside them are unlike.
    """
    joined = not paths and any(isinstance(part, VariedParts) for part in parts)
    if joined:
        inner = (part.parts if isinstance(part, VariedParts) else (part,) for part in parts)
        parts = [each for some in inner for each in some]
    if any(isinstance(part, PiecesSource | SparseSource) for part in parts):
        return None
    shapes = {part.shape[1:] for part in parts}
    alike = len({(len(part.shape), part.dtype) for part in parts}) == 1
    if not joined and (not alike or len(shapes) == 1):
        return None
    kind = RaggedRowParts if len({shape[1:] for shape in shapes}) == 1 else VariedParts
    return kind(parts, paths)
