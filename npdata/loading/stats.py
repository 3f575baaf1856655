"""What a loader did, and whether the data or the computation was what took the time.

Idea: the time between two batches is either spent waiting in the loader or used by the loop, and
the larger part says where to look. Invariant: counting costs two readings of the clock a batch, of
a run of small ones one, and figures are of one iteration. It prints nothing.
"""

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, fields
from operator import length_hint
from typing import Any, NamedTuple

from npdata.dataset.html_table import table


@dataclass(frozen=True, kw_only=True)
class LoaderStats:
    """Counts of one iteration: the one under way, or else the one begun last, up to now.

    `seconds_waited` is the time the loop waited for batches, `seconds_used` the time it used them,
    up to now or to the end of the iteration.
    `decoded_chunks` is how many compressed chunks were decoded, also for batches read ahead,
    `reused_chunks` how often a read, of a batch or of a run of small ones, found a chunk that it
    needs decoded already, or being decoded. `resident_bytes` are held by a `Loader(resident=)`.

    Examples:
        >>> stats = LoaderStats(batches=10, samples=640, nbytes=10**9,
        ...                     seconds_waited=0.5, seconds_used=1.5)
        >>> print(stats)
        10 batches, 640 samples, 320 samples/s, 0.50 GB/s, 25% of the time waiting: compute-bound
    """

    batches: int
    samples: int
    nbytes: int
    seconds_waited: float
    seconds_used: float
    decoded_chunks: int = 0
    reused_chunks: int = 0
    resident_bytes: int = 0

    @property
    def seconds(self) -> float:
        """The time since the iteration began, up to now or to its end."""
        return self.seconds_waited + self.seconds_used

    @property
    def samples_per_second(self) -> float:
        """Samples by time, 0 before the first batch."""
        return self.samples / self.seconds if self.seconds else 0.0

    @property
    def gigabytes_per_second(self) -> float:
        """Bytes of batches (10**9) by time, 0 before the first batch."""
        return self.nbytes / 1e9 / self.seconds if self.seconds else 0.0

    @property
    def bound(self) -> str:
        """Say "data-bound" where the loop waited for more of the time than it used."""
        return "data-bound" if self.seconds_waited > self.seconds_used else "compute-bound"

    @property
    def short(self) -> str:
        """The rate and what bounds it, for a progress bar."""
        return f"{self.gigabytes_per_second:.2f} GB/s, {self.bound}"

    def __repr__(self) -> str:
        return f"<LoaderStats: {self}>"

    def _repr_html_(self) -> str:
        """Give it as a table, for notebooks."""
        rates = ("samples_per_second", "gigabytes_per_second", "bound")
        names = [*(f.name for f in fields(self)), *rates]
        values = [(name, getattr(self, name)) for name in names]
        return table("LoaderStats", (), [(name, _shown(value)) for name, value in values])

    def __str__(self) -> str:
        waited = self.seconds_waited / self.seconds if self.seconds else 0.0
        held = f", {self.resident_bytes} bytes resident" if self.resident_bytes else ""
        chunks = f", {self.decoded_chunks} chunks decoded, {self.reused_chunks} reused"
        return (
            f"{self.batches} batches, {self.samples} samples, {self.samples_per_second:,.0f} "
            f"samples/s, {self.gigabytes_per_second:.2f} GB/s, {waited:.0%} of the time waiting: "
            f"{self.bound}{chunks if self.decoded_chunks or self.reused_chunks else ''}{held}"
        )


def _shown(value: object) -> str:
    if isinstance(value, float):
        return f"{value:,.0f}" if value >= 1000 else f"{value:.4g}"
    return f"{value:,}" if isinstance(value, int) else str(value)


class _Run(NamedTuple):
    """Batches that arrived together: the samples of each, the bytes of all.

    `before` has the batches, samples and bytes before them; `left` something for each of them that
    the loop has not received yet.
    """

    before: tuple[int, int, int]
    sizes: Sequence[int]
    nbytes: int
    left: Iterator[Any]


_NOTHING = _Run((0, 0, 0), (), 0, iter(()))


@dataclass(kw_only=True)
class Counter:
    """The counts of an iteration under way; `chunks` gives those of the sources, ever rising.

    Batches arrive one by one or in runs. What of a run was received shows in what is left of it.
    """

    chunks: Callable[[], tuple[int, int]] = field(default=lambda: (0, 0))
    ended: bool = False
    _waited: float = 0.0
    _used: float = 0.0
    _since: float = 0.0
    _until: float | None = None
    _last: _Run = _NOTHING
    """What arrived last. Replaced whole: no interrupt leaves half of it."""

    def __post_init__(self) -> None:
        """Note where the counts of the sources begin."""
        self._chunks_before = self.chunks()

    @property
    def batches(self) -> int:
        """The batches that the loop has received."""
        return self._received()[0]

    def arrived(self, asked: float, sizes: Sequence[int], nbytes: int, left: Iterator[Any]) -> None:
        """Note batches of `sizes` samples, for which the loop asked at that time.

        It has received all before; `left` has a length hint, of those that it has not received yet.
        """
        (batches, samples, before), whole, whole_bytes, _ = self._last
        if whole:
            self._used += asked - self._since
        self._since = time.perf_counter()
        self._waited += self._since - asked
        received = batches + len(whole), samples + sum(whole), before + whole_bytes
        self._last = _Run(received, sizes, nbytes, left)

    def stop(self) -> None:
        """Note that the loop gets no more; idempotent."""
        if self._until is None:
            self._until = time.perf_counter()
            self._used += self._until - self._since if self._last.sizes else 0.0
        self._last = _NOTHING._replace(before=self._received())

    def stats(self) -> LoaderStats:
        """Give the counts as they are now."""
        decoded, reused = self.chunks()
        batches, samples, nbytes = self._received()
        using = time.perf_counter() - self._since if self._last.sizes else 0.0
        return LoaderStats(
            batches=batches,
            samples=samples,
            nbytes=nbytes,
            seconds_waited=self._waited,
            seconds_used=self._used + using,
            decoded_chunks=decoded - self._chunks_before[0],
            reused_chunks=reused - self._chunks_before[1],
        )

    def _received(self) -> tuple[int, int, int]:
        """Give the batches, samples and bytes that the loop has received."""
        (batches, samples, before), sizes, nbytes, left = self._last
        given = sizes[: len(sizes) - length_hint(left)]
        nbytes = nbytes * sum(given) // max(1, sum(sizes))
        return batches + len(given), samples + sum(given), before + nbytes
