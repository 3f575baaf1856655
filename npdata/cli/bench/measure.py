"""The run: warm up, show that all methods read the same rows, then time them in turns.

Idea: rows are first read in file order until a limit of bytes or time; what was reached is what is
measured, from memory, and stands for the rest. Then methods take turns until the time budget is
used. Invariant: nothing is timed that was not shown to give the plain reader's rows, byte for byte.
A method for which a batch takes too long is judged by the first rows of a batch.
"""

import statistics
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from torch.utils.data import DataLoader

from npdata.cli.bench.candidate import Candidate, Pass, require_same, time_pass
from npdata.cli.bench.plain import Rows, row_by_row, sorted_batches
from npdata.cli.bench.report import (
    ORDERS,
    Conditions,
    Figure,
    Method,
    NotMeasured,
    OrderName,
    Report,
    methods_of,
)
from npdata.cli.bench.roofline import Roofline
from npdata.cli.bench.target import Target
from npdata.cli.console import interrupts_wait
from npdata.dataset.collate import collate
from npdata.loading.loader import Loader
from npdata.loading.readahead import take_batches
from npdata.sampling.sampler import BlockBatchSampler

_ROUNDS, _PASS_SECONDS, _PASS_BATCHES = 5, 0.5, 8
"""At most so many rounds; a pass has so many seconds and batches where the time is enough."""
_MOST_BYTES = 2 << 30
"""So many bytes of rows are measured, or a quarter of the memory."""
_ROOFLINE_ROWS = 1 << 22
_CHECKED_BATCHES = 4
_GROWTH = 4, 64
"""More rows are compared in steps of so many times as many at least, and at most."""
_FIRST_ROW = np.zeros(1, np.int64)


class WarmUpSampler(BlockBatchSampler):
    """An order with a batch of one row before its first epoch.

    What begins a pass (opening, processes, threads) is over when that row arrives, and is not
    taken for the reading of a first batch.
    """

    _warm = False

    def __iter__(self) -> Iterator[Any]:
        """Begin the next epoch."""
        if not self._warm:
            self._warm = True
            yield _FIRST_ROW
        yield from super().__iter__()


@dataclass(frozen=True, kw_only=True)
class Run:
    """What is compared on which rows: the first `rows` of `target`."""

    target: Target
    about: Conditions
    roofline: Roofline
    rows: int

    def sampler(
        self, order: OrderName, kind: type[BlockBatchSampler] = BlockBatchSampler
    ) -> BlockBatchSampler:
        """Give a fresh sampler of an order, at its first epoch."""
        size, block_rows = self.about.batch_size, self.about.block_rows
        return kind(self.rows, size, shuffle=ORDERS[order], block_rows=block_rows)

    def timed(self, order: OrderName, method: Method) -> Candidate:
        """Read an order epoch after epoch, as a training does, after one row to warm up."""
        if method.kind == "roofline":
            return self.tried(method, take_batches(iter(self.sampler(order)), _ROOFLINE_ROWS))

        def batches() -> Iterator[Any]:
            return self._read(method, self.sampler(order, WarmUpSampler), endless=True)

        return Candidate(name=method.name, batches=batches)

    def tried(self, method: Method, batches: Sequence[Rows]) -> Candidate:
        """Read these batches once; the roofline again and again."""
        return Candidate(
            name=method.name, batches=lambda: self._read(method, batches, endless=False)
        )

    def _read(self, method: Method, batches: Any, *, endless: bool) -> Iterator[Any]:
        """Read what every iteration over `batches` gives, once or again and again."""
        if method.kind in ("plain", "h5py"):
            read = row_by_row if method.kind == "plain" else sorted_batches
            yield from read(self.target.openers, _epochs(batches, endless))
            return
        while method.kind == "roofline":
            # Opened anew for each round: nothing decoded is used again.
            with self.target.opened() as dataset:
                yield from self.roofline.once(
                    dataset.sources, batches, rows=self.rows, threads=self.about.cores
                )
        with self.target.opened() as dataset:
            if method.kind == "loader":
                with Loader(dataset, sampler=batches, num_threads=method.helpers) as loader:
                    yield from _epochs(loader, endless)
            else:
                loaded: DataLoader[Any] = DataLoader(
                    dataset,
                    batch_sampler=batches,
                    collate_fn=collate,
                    num_workers=method.helpers,
                    persistent_workers=method.helpers > 0,
                )
                # The first iterator starts the processes, and the later ones have them already.
                with interrupts_wait():
                    first = iter(loaded)
                yield from first
                del first
                if endless:
                    yield from _epochs(loaded, endless)


def _epochs(batches: Iterable[Any], endless: bool) -> Iterator[Any]:
    yield from batches
    while endless:
        yield from batches


def measure(
    target: Target,
    about: Conditions,
    *,
    helpers: int,
    seconds: float,
    show: Callable[[str], None],
) -> Report:
    """Measure for about `seconds`; `show` is called with what is being done.

    Raises `RowsDifferError` where a method gives other rows than the plain one.
    """
    begun = time.perf_counter()
    roofline = Roofline.of(target.dataset.sources)
    methods, not_measured = methods_of(about, helpers=helpers, roofline=roofline.name)
    show("reading the first rows")
    rows = warm_up(target, about, seconds=seconds / 10)
    run = Run(target=target, about=about, roofline=roofline, rows=rows)
    figures: list[Figure] = []
    turns: list[tuple[OrderName, Method]] = []
    for order in ORDERS:
        show(f"{order}: comparing the rows")
        slow = check(run, order, methods, seconds=seconds / len(ORDERS) / len(methods))
        figures += slow
        rates = {figure.method.kind: figure.rate for figure in slow}
        for method in methods:
            if method.kind not in rates:
                turns.append((order, method))
            elif method.helpers:
                reason = f"a batch takes about {about.batch_size / rates[method.kind]:.2g} s"
                not_measured += (NotMeasured(method=method, order=order, reason=reason),)
    share = max(seconds / 3, seconds - (time.perf_counter() - begun)) / len(turns)
    rounds = max(1, min(_ROUNDS, int(share / _PASS_SECONDS)))
    for (order, method), passes in _take_turns(run, turns, rounds, share, show).items():
        rates_ = tuple(one.steady_rate for one in passes)
        first = statistics.median(one.first for one in passes)
        figures.append(
            Figure(order=order, method=method, passes=rates_, seconds_to_first_row=first)
        )
    with target.opened() as dataset:
        auto_threads = Loader(dataset, about.batch_size).describe().threads
    return Report(
        conditions=about,
        rows_measured=rows,
        auto_threads=auto_threads,
        rounds=rounds,
        pass_seconds=share / rounds,
        seconds=time.perf_counter() - begun,
        figures=tuple(figures),
        not_measured=not_measured,
    )


def warm_up(target: Target, about: Conditions, *, seconds: float) -> int:
    """Read rows in file order until a limit of bytes or time; give how many are to be measured.

    These are whole blocks, and at least one batch, where there are more rows than that.
    """
    most = min(_MOST_BYTES, about.memory_bytes // 4) // about.row_bytes
    most = min(about.rows, max(most, about.batch_size))
    begun = time.perf_counter()
    step = max(1, min(about.batch_size, about.block_rows))
    done = 0
    while done < most and (done == 0 or time.perf_counter() - begun < seconds):
        stop = min(most, done + step)
        target.dataset.__getitems__(np.arange(done, stop))
        done = stop
    if done == about.rows:
        return done
    whole = max(1, done // about.block_rows) * about.block_rows
    return min(about.rows, max(whole, about.batch_size))


def check(run: Run, order: OrderName, methods: Sequence[Method], *, seconds: float) -> list[Figure]:
    """Let every method read the same rows; give a figure of those that are too slow to time.

    They read the first row of an order, then more and more of its first batch, then some batches,
    as long as the next step can be expected to take less than `seconds`. Raises `RowsDifferError`
    where the rows differ.
    """
    batches = [rows for rows, _ in zip(run.sampler(order), range(_CHECKED_BATCHES), strict=False)]
    whole, every = len(batches[0]), sum(map(len, batches))
    plain = methods[0]
    alone = [m for m in methods if not m.helpers and m.kind != "roofline"]
    common: list[Rows] = []
    slow: list[Figure] = []
    count = 1
    while alone:
        rows = [_FIRST_ROW, *(batches if count == every else [batches[0][:count]])]
        if plain in alone:
            common = rows
        spent = dict(zip(alone, require_same([run.tried(m, rows) for m in alone]), strict=True))
        goal = whole if count < whole else every
        least = min(goal / count, _GROWTH[0])
        late = [method for method in alone if spent[method] * least > seconds]
        if count < whole:
            slow += [
                Figure(order=order, method=m, passes=(count / spent[m],), estimate=True)
                for m in late
            ]
        alone = [m for m in alone if m not in late and count < every]
        enough = seconds / 2 / max((spent[m] for m in alone), default=1.0)
        count = min(goal, int(count * min(max(enough, _GROWTH[0]), _GROWTH[1])))
    left_out = {figure.method.kind for figure in slow}
    if not run.roofline.checked:
        left_out.add("roofline")
    others = [m for m in methods if m.kind not in left_out and (m.helpers or m.kind == "roofline")]
    require_same([run.tried(method, common) for method in (plain, *others)], batches=len(common))
    return slow


def _take_turns(
    run: Run,
    turns: Sequence[tuple[OrderName, Method]],
    rounds: int,
    share: float,
    show: Callable[[str], None],
) -> dict[tuple[OrderName, Method], list[Pass]]:
    candidates = {turn: run.timed(*turn) for turn in turns}
    passes: dict[tuple[OrderName, Method], list[Pass]] = {turn: [] for turn in turns}
    for number in range(rounds):
        for turn, done in passes.items():
            # A batch may take longer than a pass should; no method takes more than its share.
            left = share - sum(one.seconds for one in done)
            if done and left <= 0:
                continue
            order, method = turn
            show(f"{order}: {method.name}, pass {number + 1} of {rounds}")
            limits = {"seconds": share / rounds, "most_seconds": left}
            done.append(time_pass(candidates[turn], batches=_PASS_BATCHES, **limits))
    return passes
