"""Objects that are known as long as somebody else refers to them, whatever thread adds one.

Idea: a dict of weak references, which C lists in one step. To iterate over a `weakref.WeakSet`
while another thread adds to it raises RuntimeError. Invariant: it keeps nothing alive.
"""

import weakref
from collections.abc import Iterator
from typing import Generic, TypeVar

T = TypeVar("T")


class Living(Generic[T]):
    """Hashable objects, each until nobody else refers to it.

    Examples:
        >>> living, kept = Living(), frozenset("a")
        >>> living.add(kept)
        >>> living.add(frozenset("b"))
        >>> list(living) == [kept]
        True
    """

    def __init__(self) -> None:
        self._found: dict[weakref.ref[T], None] = {}

    def add(self, value: T) -> None:
        """Know of an object."""
        found = self._found
        found[weakref.ref(value, lambda reference: found.pop(reference, None))] = None

    def discard(self, value: T) -> None:
        """Know of an object no more, if it was known."""
        self._found.pop(weakref.ref(value), None)

    def clear(self) -> None:
        """Know of none any more."""
        self._found.clear()

    def __iter__(self) -> Iterator[T]:
        """Iterate over those that lived when it began and still do, in the order they came."""
        return (value for reference in list(self._found) if (value := reference()) is not None)

    def __len__(self) -> int:
        return len(self._found)
