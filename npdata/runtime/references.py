"""Whether anything else refers to an object: its count of references says so.

Idea: a tensor made by `torch.from_numpy` holds a reference to its array for as long as any view of
it lives, so the count of the array shows whether a batch was dropped. Invariant: an object that
something refers to is never told to be unused. The other way round a count may be too high for a
moment, where another thread looks at the same time.
"""

import sys
from collections.abc import Iterable, Sequence


def _references(objects: Iterable[object]) -> list[int]:
    """Count the references to each: in C alone, since bytecode borrows some from 3.14 on."""
    return list(map(sys.getrefcount, objects))


_ONE = _references([object()])
"""The count of an object that only a list refers to."""


def is_unused(held: Sequence[object]) -> bool:
    """Tell whether nothing but this list refers to the only object in it.

    Examples:
        >>> held = [np.zeros(3)]
        >>> is_unused(held)
        True
        >>> tensor = torch.from_numpy(held[0])[1:]
        >>> is_unused(held)
        False
    """
    return _references(held) == _ONE
