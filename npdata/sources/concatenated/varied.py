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
from npdata.sources.concatenated.joined import JoinedPieces, packed
from npdata.sources.concatenated.parts import Held
from npdata.sources.ragged import PiecesSource, RaggedSource
from npdata.sources.sparse import SparseSource


class VariedParts(JoinedPieces):
    """The rows of all `parts`, each an array of the shape that the rows of its part have."""

    parts: tuple[Source, ...]

    def __init__(self, parts: Sequence[Source], paths: Sequence[str] = ()) -> None:
        super().__init__(parts, paths, [*map(_rows, parts)])
        self.values_dtype = parts[0].dtype

    @property
    def axes(self) -> int:
        """How many axes a sample has."""
        return len(self.parts[0].shape) - 1

    def check(self) -> None:
        """Look at no file: each part looks at its own, before and after it is read."""

    def _pieces_of(self, part: Source, inside: Ints) -> NDArray[Any]:
        rows = np.empty((len(inside), *part.shape[1:]), part.dtype)
        part.read(inside, rows)
        return rows


def _rows(part: Source) -> Held:
    return Held(str(part.dtype), f"rows of {len(part.shape) - 1} axes", packed(part))


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
