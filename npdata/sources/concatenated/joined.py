"""What sources laid end to end have in common whose rows are no one gather: their parts read them.

Idea: a subclass says in which form its parts give rows. Invariant: parts that say other things of
their rows are refused, both by name.
"""

from abc import abstractmethod
from collections.abc import Iterable, Sequence
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from npdata.arrays.dtypes import Ints
from npdata.sources.base import Source
from npdata.sources.concatenated.base import EndToEnd
from npdata.sources.concatenated.edges import Edges
from npdata.sources.concatenated.parts import Held, and_more, missing_of, require_alike
from npdata.sources.packed.packing import Packings
from npdata.sources.ragged import OBJECTS, PiecesSource


class Joined(EndToEnd):
    """All `parts`, one after the other; a subclass takes them and `paths`."""

    parts: tuple[Any, ...]

    def __init__(self, parts: Sequence[Any], paths: Sequence[str], rows: Sequence[Held]) -> None:
        """Join the parts; raises `FieldError` where `rows` says other things of two, naming both.

        `paths` are the names of the files that the parts come from, one each, where they do.
        """
        super().__init__()
        require_alike(zip((part.where for part in parts), rows, strict=True))
        first = parts[0]
        self.made_of = self.parts = tuple(parts)
        self.own = dict(enumerate(parts))
        self.edges = Edges(np.array([len(part) for part in parts], np.int64))
        self.paths = paths
        self.where = and_more(first.where, len(parts))
        self.access = max((part.access for part in parts), key=lambda access: access.cost)
        self.details = first.details

    @property
    def bases(self) -> tuple[Any, ...]:
        """What all parts are made of."""
        return tuple(base for part in self.parts for base in part.bases)

    @property
    def packings(self) -> Packings:
        """What the numbers of each part stand for."""
        return Packings.of_parts([part.packings for part in self.parts], self.edges.starts[:-1])

    def over(self, bases: Sequence[Any]) -> Self:
        """Give the same rows, made of other bases."""
        rest = iter(bases)
        parts = [part.over([next(rest) for _ in part.bases]) for part in self.parts]
        made = type(self)(parts, self.paths)  # type: ignore[call-arg]
        made.tell_of(self)
        return made

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.parts, self.paths)


class JoinedPieces(Joined, PiecesSource):
    """Samples of parts, each an array of its own shape; a subclass says how a part gives them."""

    def __init__(self, parts: Sequence[Any], paths: Sequence[str], rows: Sequence[Held]) -> None:
        super().__init__(parts, paths, rows)
        self.shape = (int(self.edges.starts[-1]),)
        self.dtype = OBJECTS
        self.missing = missing_of(parts)

    @property
    def row_bytes(self) -> int:
        """The bytes of a sample of mean size."""
        total: int = sum(len(part) * part.row_bytes for part in self.parts)
        return -(-total // max(1, len(self)))

    def pieces(self, indices: Ints) -> list[NDArray[Any]]:
        """Give the samples, those of each part by one read."""
        made: list[Any] = [None] * len(indices)
        for owner, places, inside in self.edges.split(indices, self.edges.owners(indices)):
            pieces = self._pieces_of(self._opened(owner), inside)
            for place, piece in zip(places.tolist(), pieces, strict=True):
                made[place] = piece
        return made

    @abstractmethod
    def _pieces_of(self, part: Any, inside: Ints) -> Iterable[NDArray[Any]]:
        """Give the samples at `inside` of a part."""


def packed(part: Source) -> str:
    """Say how the numbers of a part are packed, to stand behind what its rows are."""
    kinds = part.packings.kinds
    return "" if kinds == (None,) else f", packed: {' and '.join(map(str, kinds))}"
