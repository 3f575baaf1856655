"""Sources of one form laid end to end, which keep that form: samples of other lengths, sparse rows.

Idea: what does not depend on the form is here; a subclass says what a row is, and reads. Invariant:
row i is the one that the parts, in their order, have at place i; parts of other rows are refused.
"""

from collections.abc import Callable, Sequence
from typing import Any, Self

import numpy as np

from npdata.sources.concatenated.base import EndToEnd
from npdata.sources.concatenated.edges import Edges
from npdata.sources.concatenated.parts import require_alike
from npdata.sources.concatenated.summary import and_more


class Joined(EndToEnd):
    """All `parts`, one after the other; a subclass takes them and `paths`."""

    parts: tuple[Any, ...]

    def __init__(
        self, parts: Sequence[Any], paths: Sequence[str], rows: Callable[[Any], str]
    ) -> None:
        """Join the parts; raises `FieldError` where `rows` says other things of two, naming both.

        `paths` are the names of the files that the parts come from, one each, where they do.
        """
        super().__init__()
        require_alike((part.where, rows(part)) for part in parts)
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

    def over(self, bases: Sequence[Any]) -> Self:
        """Give the same rows, made of other bases."""
        rest = iter(bases)
        parts = [part.over([next(rest) for _ in part.bases]) for part in self.parts]
        return type(self)(parts, self.paths)  # type: ignore[call-arg]

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.parts, self.paths)
