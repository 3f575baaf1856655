"""The parts of names that set them apart: those from the first that differs to the last.

Idea: `data/demo_1/obs/pos` and `data/demo_2/obs/pos` are of episodes `demo_1` and `demo_2`, and so
are `data/demo_1/actions` and `data/demo_2/actions`. Invariant: parts between slashes stay whole.
Pure.
"""

from collections.abc import Sequence


def without_common_parts(names: Sequence[str]) -> list[str]:
    """Give names without the parts that all of them begin or end with.

    Examples:
        >>> without_common_parts(["data/demo_1/actions", "data/demo_10/actions"])
        ['demo_1', 'demo_10']
        >>> without_common_parts(["/a/x", "/a/b/x"])
        ['', 'b']
    """
    split = [name.strip("/").split("/") for name in names]
    head = _shared(split)
    rest = [parts[head:] for parts in split]
    tail = _shared([parts[::-1] for parts in rest])
    return ["/".join(parts[: len(parts) - tail]) for parts in rest]


def _shared(names: Sequence[list[str]]) -> int:
    """Give how many parts all names begin with: as many as the first and the last in order."""
    first, last = min(names), max(names)
    same = (k for k, (a, b) in enumerate(zip(first, last, strict=False)) if a != b)
    return next(same, len(first))
