"""From a way, an order and a subject to something that can be timed.

Idea: every pass begins with a fresh sampler of the same order, so all contenders read the same
batches; a timed pass goes from epoch to epoch until its time is over, as a training does.
Invariant: whatever a pass started (threads, worker processes, files) ends with it, also where it
is left in the middle.
"""

import signal
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any

from torch.utils.data import DataLoader

from npdata.cli.bench.ceiling import Ceiling, bare
from npdata.cli.bench.contender import Contender
from npdata.cli.bench.plain import Rows, row_by_row, sorted_batches
from npdata.cli.bench.subject import Subject
from npdata.cli.bench.way import Way
from npdata.dataset.collate import collate
from npdata.loading.loader import Loader

Sampler = Callable[[], Iterable[Rows]]


def contender_of(
    way: Way, subject: Subject, sampler: Sampler, *, endless: bool, name: str | None = None
) -> Contender:
    """Read by `way` what a fresh `sampler()` gives: once, or `endless`ly, epoch after epoch."""

    def batches() -> Iterator[Any]:
        if way.kind == "dataloader":
            return _dataloader(subject, sampler(), way.helpers, endless)
        if way.kind == "loader":
            return _loader(subject, sampler(), way.helpers, endless)
        rows = _epochs(sampler(), endless)
        return (row_by_row if way.kind == "plain" else sorted_batches)(subject.files, rows)

    return Contender(name=name or way.name, batches=batches)


def ceiling_contender(
    ceiling: Ceiling, subject: Subject, batches: list[Rows], *, rows: int, threads: int, name: str
) -> Contender:
    """Do the bare operation for `batches`, again and again; see `bare`."""
    sources = subject.dataset.sources
    return Contender(
        name=name,
        batches=lambda: bare(ceiling, sources, subject.files, batches, rows=rows, threads=threads),
    )


def _epochs(batches: Iterable[Any], endless: bool) -> Iterator[Any]:
    yield from batches
    while endless:
        yield from batches


def _dataloader(
    subject: Subject, sampler: Iterable[Rows], workers: int, endless: bool
) -> Iterator[Any]:
    with subject.opened() as dataset:
        loader: DataLoader[Any] = DataLoader(
            dataset,
            batch_sampler=sampler,  # type: ignore[arg-type]
            collate_fn=collate,
            num_workers=workers,
            persistent_workers=workers > 0,
        )
        # The first iterator starts the processes, and the later ones have them already.
        with _interrupts_wait():
            batches = iter(loader)
        yield from batches
        del batches
        if endless:
            yield from _epochs(loader, endless)


@contextmanager
def _interrupts_wait() -> Iterator[None]:
    """Let Ctrl-C wait, and processes that are started meanwhile not mind it.

    In the middle of a fork Python loses it, or leaves a process behind; a worker ends with its
    pass, and has nothing to say about it.
    """
    caught: list[int] = []
    before = signal.signal(signal.SIGINT, lambda number, _: caught.append(number))
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
    if caught:
        raise KeyboardInterrupt


def _loader(
    subject: Subject, sampler: Iterable[Rows], threads: int, endless: bool
) -> Iterator[Any]:
    with subject.opened() as dataset, Loader(dataset, sampler=sampler, num_threads=threads) as all_:
        yield from _epochs(all_, endless)
