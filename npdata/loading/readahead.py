"""Which parts of the files the next batches need, announced to the kernel before they are read.

Idea: the order is known ahead, so row numbers are taken from the sampler some way before their
rows are read; the blocks that they touch are announced once, in as many requests as there are
runs of blocks, and blocks that no batch has touched for long are dropped. Invariant: advice never
changes what is read, only when it comes from the disk. A stretch of the order whose rows lie so
thinly that whole blocks would read much more than the rows is left without advice.
"""

from collections import OrderedDict, deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Any, NamedTuple, Self

import numpy as np

from npdata.arrays.blocks import Blocks
from npdata.arrays.dtypes import Ints
from npdata.arrays.runs import merged
from npdata.dataset.numpy_dataset import NumpyDataset
from npdata.loading.wrapped_datasets import datasets_within, parts_of
from npdata.sources.base import Source, costliest

AHEAD_BYTES = 128 << 20
"""So far ahead of the batches where no memory budget is given: two windows of 64 MiB."""
_STRETCHES, _STRETCH_ROWS = 4, 1 << 18
"""The order is looked at in stretches of so many rows at most, and so many of them lie ahead."""
_DENSE = 16
"""Blocks are announced whole if that reads at most so many times the bytes of the rows."""

Runs = list[tuple[int, int]]


@dataclass(frozen=True, kw_only=True)
class Advice:
    """Rows of `sources`, as pairs of first and stop, that will be needed, and that will not."""

    sources: tuple[Source, ...]
    need: Runs
    leave: Runs

    def send(self) -> None:
        """Pass it on to the sources; those that can do nothing with it ignore it."""
        for source in self.sources:
            for first, stop in self.need:
                source.will_need(first, stop)
            for first, stop in self.leave:
                source.dont_need(first, stop)


class Job(NamedTuple):
    """A batch of rows to read, its number in the iteration, and the advice to give before it."""

    number: int
    rows: Any
    advice: tuple[Advice, ...] = ()


class _Announced:
    """The blocks that were announced, those needed last at the end, and their bytes."""

    def __init__(self) -> None:
        self._blocks: OrderedDict[int, int] = OrderedDict()
        self._bytes = 0

    def add(self, blocks: Ints, sizes: Ints) -> list[int]:
        """Note that blocks of so many bytes are needed; give those that were not announced."""
        new = []
        for block, size in zip(blocks.tolist(), sizes.tolist(), strict=True):
            if block in self._blocks:
                self._blocks.move_to_end(block)
            else:
                self._blocks[block] = size
                self._bytes += size
                new.append(block)
        return new

    def beyond(self, most: int) -> list[int]:
        """Forget the blocks that were needed longest ago, down to `most` bytes or one block."""
        gone = []
        while self._bytes > most and len(self._blocks) > 1:
            block, size = self._blocks.popitem(last=False)
            self._bytes -= size
            gone.append(block)
        return gone


class ReadAhead:
    """Plans advice for rows of `row_bytes` in `blocks`, which `sources` get.

    `rows` gives for each row number of a batch the row in `blocks`. Half of `budget` is announced
    ahead of the batches, and no more than `ahead`, which the sources allow (None: any). What is
    announced beyond the budget is forgotten, and leaves memory; without one it is only forgotten.
    Within a budget, what would drive out blocks that the batches before still need waits for them.
    Where either bounds it, a stretch of more bytes than are held gets no advice, since its blocks
    would drive each other out.

    Examples:
        >>> plan = ReadAhead(Blocks.uniform(8, 2), row_bytes=1, budget=None)
        >>> job = next(plan.jobs([np.array([5, 0, 1, 4])]))
        >>> job.rows.tolist(), job.advice[0].need
        ([5, 0, 1, 4], [(0, 2), (4, 6)])
    """

    def __init__(
        self,
        blocks: Blocks,
        *,
        row_bytes: int,
        budget: int | None,
        ahead: int | None = None,
        rows: Ints | None = None,
        sources: tuple[Source, ...] = (),
    ) -> None:
        self.sources = sources
        self._edges = blocks.edges()
        self._even = blocks.block_rows[0] if len(blocks.rows) == 1 else None
        self._row_bytes = max(1, row_bytes)
        most = AHEAD_BYTES if budget is None else budget // 2
        self._ahead = most if ahead is None else min(ahead, most)
        self._held = 2 * self._ahead if budget is None else budget
        self._drops = budget is not None
        self._bounded = budget is not None or ahead is not None
        self._rows = rows
        self._announced = _Announced()

    @classmethod
    def of(cls, dataset: Any, budget: int | None) -> Self | None:
        """Plan for the sources within `dataset` that advice helps, None where there are none.

        Examples:
            >>> ReadAhead.of(npdata.NumpyDataset("x.npy"), budget=1 << 20).sources[0].access.kind
            'mapped'
            >>> ReadAhead.of(npdata.NumpyDataset("x.npy"), budget=None) is None
            True
        """
        sources, rows = _advised(dataset, 0 if budget else AHEAD_BYTES)
        if not sources:
            return None
        first = costliest(sources)
        # A file is read alone: with the others of its block it would be up to 16 times the bytes.
        alone = first.access.kind == "files"
        row_bytes = sum(source.stored_bytes for source in sources)
        ahead = [
            limit // max(1, source.stored_bytes) * row_bytes
            for source in sources
            if (limit := source.ahead_bytes) is not None
        ]
        return cls(
            Blocks.uniform(len(first), 1) if alone else first.blocks,
            row_bytes=row_bytes,
            budget=None if budget is None else budget * 3 // 4,
            ahead=min(ahead, default=None),
            rows=rows,
            sources=sources,
        )

    def jobs(self, batches: Iterable[Any]) -> Iterator[Job]:
        """Give a job for each batch of row numbers, in order.

        The first waits for one stretch alone: all of them took 80 ms of a file of 100 million rows.
        """
        stretches: deque[list[Any]] = deque()
        rows_each = max(1, min(self._ahead // _STRETCHES // self._row_bytes, _STRETCH_ROWS))
        # `needed` are the blocks of the stretch that was given last, and of those that wait.
        needed: deque[Ints] = deque([np.empty(0, np.int64)])
        left, number, waiting, ahead, announced = iter(batches), 0, 0, 0, 0
        while True:
            told: list[Advice] = []  # in turn: a block may leave, and be needed again
            # A batch may be more than a stretch, so rows are counted, and not stretches.
            while waiting <= ahead * rows_each and (stretch := take_batches(left, rows_each)):
                stretches.append(stretch)
                waiting += sum(map(len, stretch))
                needed.append(self._blocks_of(stretch))
            if not stretches:
                return
            while announced < len(stretches) and self._fits(needed, announced):
                told += self._advise(needed[announced + 1], sum(map(len, stretches[announced])))
                announced += 1
            ahead = min(ahead + 1, _STRETCHES)
            needed.popleft()
            announced -= 1
            for rows in stretches.popleft():
                waiting -= len(rows)
                yield Job(number=number, rows=rows, advice=tuple(told))
                number, told = number + 1, []

    def _blocks_of(self, stretch: list[Any]) -> Ints:
        """Give the blocks of these batches in ascending order, none where a row is not there."""
        rows = np.concatenate([np.asarray(batch, np.int64) for batch in stretch])
        last = (self._edges[-1] if self._rows is None else len(self._rows)) - 1
        if len(rows) and not 0 <= rows.min() <= rows.max() <= last:
            return np.empty(0, np.int64)  # reading will tell which row it is
        rows = rows if self._rows is None else self._rows[rows]
        if self._even is None:
            return np.unique(np.searchsorted(self._edges, rows, side="right") - 1)
        return np.unique(rows // self._even)

    def _sizes(self, blocks: Ints) -> Ints:
        return (self._edges[blocks + 1] - self._edges[blocks]) * self._row_bytes

    def _fits(self, needed: deque[Ints], announced: int) -> bool:
        """Tell whether one more stretch drops no block that those before it need.

        Such a block would be read again, and never dropped. The next stretch is always announced.
        """
        if not announced or not self._drops:
            return True
        together = np.unique(np.concatenate([*islice(needed, announced + 2)]))
        return bool(self._sizes(together).sum() <= self._held)

    def _advise(self, blocks: Ints, rows: int) -> Iterator[Advice]:
        """Give what is needed for so many rows of these blocks, and what may leave, if any."""
        sizes = self._sizes(blocks)
        if sizes.sum() > _DENSE * rows * self._row_bytes:
            return  # they lie thinly
        if self._bounded and sizes.sum() > self._held:
            return
        new, gone = self._announced.add(blocks, sizes), self._announced.beyond(self._held)
        if new:
            leave = self._runs(gone) if self._drops else []
            yield Advice(sources=self.sources, need=self._runs(new), leave=leave)

    def _runs(self, blocks: list[int]) -> Runs:
        ids = np.asarray(blocks, np.int64)
        firsts, stops = merged(self._edges[ids], self._edges[ids + 1])
        return list(zip(firsts.tolist(), stops.tolist(), strict=True))


def _advised(dataset: Any, least_bytes: int) -> tuple[tuple[Source, ...], Ints | None]:
    """Give the sources that advice helps, with the row of theirs for each row; None: the same.

    Mapped files that a stretch ahead would hold, `least_bytes`, are read fast enough without. Where
    wrappers pick different rows of the sources, those that are read with the first alone.
    """

    def advised(part: NumpyDataset) -> list[Source]:
        whole = part.transforms.copies
        return [each for each in part.sources if _accepts_hints(each, least_bytes, whole=whole)]

    if not any(map(advised, datasets_within(dataset))):
        return (), None  # without a look at the indices of a `Subset`
    parts = [(source, rows) for part, rows in parts_of(dataset) for source in advised(part)]
    first = parts[0][1] if parts else None
    return tuple(source for source, rows in parts if _same(rows, first)), first


def _same(rows: Ints | None, others: Ints | None) -> bool:
    if rows is None or others is None:
        return rows is others
    return np.array_equal(rows, others)


def _accepts_hints(source: Source, least_bytes: int, whole: bool) -> bool:
    """Tell whether advice helps; if not `whole`, a transform may read a small part of each row."""
    kind = source.access.kind
    if kind == "mapped" and least_bytes and not whole:
        return False
    if kind in ("mapped", "files"):
        return len(source) * source.stored_bytes > least_bytes
    return kind == "decoded" and source.ahead_bytes is not None


def take_batches(batches: Iterator[Any], rows: int) -> list[Any]:
    """Take the next batches, until they have `rows` rows together; at least one if there is one.

    Examples:
        >>> batches = iter([[1, 2], [3, 4], [5]])
        >>> take_batches(batches, 3), take_batches(batches, 3), take_batches(batches, 3)
        ([[1, 2], [3, 4]], [[5]], [])
    """
    taken: list[Any] = []
    count = 0
    for batch in batches:
        taken.append(batch)
        count += len(batch)
        if count >= rows:
            break
    return taken
