"""What sources laid end to end have in common whose rows are no one gather: their parts read them.

Idea: a subclass says in which form its parts give rows. Invariant: parts that say other things of
their rows are refused, both by name.
"""

from collections.abc import Sequence
from typing import Any, Self

import numpy as np

from npdata.sources.base import Source
from npdata.sources.concatenated.base import EndToEnd
from npdata.sources.concatenated.edges import Edges
from npdata.sources.concatenated.parts import and_more, require_alike
from npdata.sources.packed.packing import Packings


class Joined(EndToEnd):
    """All `parts`, one after the other; a subclass takes them and `paths`."""

    parts: tuple[Any, ...]

    def __init__(self, parts: Sequence[Any], paths: Sequence[str], rows: Sequence[str]) -> None:
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


def packed(part: Source) -> str:
    """Say how the numbers of a part are packed, to stand behind what its rows are."""
    kinds = part.packings.kinds
    return "" if kinds == (None,) else f", packed: {' and '.join(map(str, kinds))}"
