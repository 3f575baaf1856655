"""What a function of C gives is kept by the call that makes it, so that no Ctrl-C comes between.

Idea: Python looks for signals when a call ends. One that arrives while the system opens a file
drops the number of the descriptor, and then nobody can close it. Invariant: a list that the caller
holds has the result before Python looks. Limit: the function must be one of C, which runs no
instruction of Python.
"""

from collections.abc import Callable
from typing import Any, TypeVar

T = TypeVar("T")


def keep_at_once(results: list[T], function: Callable[..., T], *arguments: Any) -> T:
    """Append `function(*arguments)` to `results`, and give it; raises what the function raises.

    Examples:
        >>> results = []
        >>> keep_at_once(results, divmod, 7, 2), results
        ((3, 1), [(3, 1)])
    """
    results.extend(map(function, *zip(arguments, strict=True)))
    return results[-1]
