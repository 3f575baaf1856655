"""The rows of any source, decoded once: what they are made of is kept, and they are put over that.

Idea: a source says what its rows are made of (`bases`), and each of these what it is with a cache.
Invariant: a source that needs no cache, or can have none, stays the one it is.
"""

from collections.abc import Sequence
from typing import TypeAlias

from npdata.runtime.undisturbed import undisturbed
from npdata.sources.base import Source, with_detail
from npdata.sources.cache.cache import Cache

_AS_BEFORE = {
    "memory": "in memory",
    "mapped": "mapped",
    "files": "each a file",
    "library": "read by h5py, and of a kind for which it is not",
    "decoded": "in many groups, of different lengths, or a member of a zip",
}
"""Why rows of an access are as they were."""


KeptSources: TypeAlias = dict[tuple[Source, Cache], Source]
"""Sources that were given a cache, as they are with it."""


def cached(source: Source, cache: Cache | None, known: KeptSources | None = None) -> Source:
    """Give the rows of a source so that they are decoded once; the source where that changes none.

    Those made of what is `known` are made of the same again, and what is new is added to it.
    OSError where nothing can be written in the folder.

    Examples:
        >>> source = npdata.open_source("x.npy")
        >>> cached(source, Cache.of("ram", None)) is source, why_not_cached(source)
        (True, 'not needed: its rows are mapped')
    """
    if cache is None:
        return source
    bases = source.bases
    # An interrupt could leave the folder locked.
    made = undisturbed(_cached, bases, cache, {} if known is None else known)
    kept = [new for new, base in zip(made, bases, strict=True) if new is not base]
    if kept:
        given = source.over(made)
        given.tell(details=with_detail(given.details, "cache", dict(kept[0].details)["cache"]))
        return given
    return source


def _cached(bases: Sequence[Source], cache: Cache, known: KeptSources) -> list[Source]:
    with cache.room() as keep:
        for base in bases:
            if (base, cache) not in known:
                known[base, cache] = base.cached(keep)
    return [known[base, cache] for base in bases]


def why_not_cached(source: Source) -> str:
    """Say why `cached` gave the source itself."""
    needed = "not kept" if source.access.kind in ("decoded", "library") else "not needed"
    return f"{needed}: its rows are {_AS_BEFORE[source.access.kind]}"
