"""Rows decoded once: a source in place of one whose rows are compressed, wherever it is a part.

Idea: the sources that rows are made of are asked for themselves with a cache, and those that need
none give themselves. Invariant: rows are the same; only what reading them costs changes.
"""

from npdata.sources.base import Source
from npdata.sources.cache.cache import Cache, with_cache

WAYS = {
    "memory": "in memory",
    "mapped": "mapped",
    "files": "each a file",
    "library": "read by h5py, and of a kind for which it is not",
    "decoded": "in many groups, or of different lengths",
}
"""Why rows of an access are as they were."""


def cached(source: Source, cache: Cache | None) -> Source:
    """Give the rows of a source so that they are decoded once; the source where that changes none.

    OSError where nothing can be written in the folder.

    Examples:
        >>> source = npdata.open_source("x.npy")
        >>> cached(source, Cache.of("ram", None)) is source, source.details
        (True, (('cache', 'not needed: its rows are mapped'),))
    """
    if cache is None:
        return source
    bases = source.bases
    made = [base.cached(cache) for base in bases]
    kept = [new for new, base in zip(made, bases, strict=True) if new is not base]
    if kept:
        given = source.over(made)
        given.details = with_cache(given.details, dict(kept[0].details)["cache"])
        return given
    needed = "not kept" if source.access.kind in ("decoded", "library") else "not needed"
    text = f"{needed}: its rows are {WAYS[source.access.kind]}"
    source.details = with_cache(source.details, text)
    return source
