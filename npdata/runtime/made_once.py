"""Attributes that an object works out when they are first asked for.

Idea: `functools.cached_property` of Python 3.11 holds one lock for all objects while it works out
a value, which a fork in another thread copies: the child would wait for ever. Invariant: there is
no lock, and what one thread was given all others are given. Limit: two threads may both work it
out, so it may do nothing else.
"""

from collections.abc import Callable
from typing import Any, Generic, Self, TypeVar, overload

T = TypeVar("T")


class made_once(Generic[T]):  # noqa: N801
    """A property that is an attribute of its object from the first use on.

    Examples:
        >>> class Rows:
        ...     @made_once
        ...     def numbers(self):
        ...         return [7, 1]
        >>> rows = Rows()
        >>> rows.numbers is rows.numbers, list(vars(rows))
        (True, ['numbers'])
    """

    def __init__(self, make: Callable[[Any], T]) -> None:
        self._make = make
        self._name = make.__name__  # Python 3.11 has Ctrl-C in `__set_name__` be a RuntimeError
        self.__doc__ = make.__doc__

    @overload
    def __get__(self, owner: None, _: type) -> Self: ...

    @overload
    def __get__(self, owner: object, _: type) -> T: ...

    def __get__(self, owner: object | None, _: type) -> Self | T:
        """Give the value; raises what the method raises, and then tries again."""
        if owner is None:
            return self
        given: T = vars(owner).setdefault(self._name, self._make(owner))
        return given
