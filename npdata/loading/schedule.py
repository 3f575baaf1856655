"""How a loader works: on how many threads, how far ahead, into which memory, and why.

Idea: decided once from what is asked for and what is known of the data (bytes of a batch, how its
sources are read, cores, accelerator). Invariant: what the user names is done or refused, and
"auto" never changes which batches come. Pure functions: nothing is read and no thread started.
"""

import sys
from dataclasses import dataclass
from math import inf
from numbers import Integral
from typing import Any, Literal, TypeAlias

import torch

from npdata.errors import LoaderError
from npdata.loading.cast import DTypes
from npdata.loading.turns import LEAST_JOB, LEAST_TO_COMPARE, Alone

Auto: TypeAlias = Literal["auto"]

SMALL_BYTES = 1 << 17
"""Batches below this are read faster than one thread hands them to another; see docs/loader.md.
What a function of the user takes is not known before: see `Alone`."""
RUN_BYTES = 1 << 20
"""Small batches are gathered together, so many bytes at most; with 256 KiB it took 1.2 times."""
LEAST_RUN = 4
"""Fewer batches are made one by one: large ones are copied by several cores, or pinned."""
LONG_COPY = 640 << 10
"""Batches of so many bytes are made together by a thread and the loop where torch has one core. On
many they are cast one by one, by all."""
MOST_THREADS = 8
"""More threads than this copy no faster: memory is the limit."""
GATHERING_THREADS = 2
"""Where a batch is a gather and nothing else, more threads wait for the interpreter."""
MANY_CORES = 4
"""From so many cores on they share the copy of a batch. On fewer, torch's threads wait for each
other and for the loop."""
LEAST_RATE = 4e9
"""Bytes a second at which many cores copy what lies in memory, at least; what takes longer comes
from the disk."""
SHORT_STEP = 1e-3
"""Beside an accelerator many cores copy for a loop that comes back within so many seconds. A longer
step, which waits for the accelerator, would wait for the copy too."""
LARGE_COPY = 1 << 23
"""Larger batches come from threads as fast, also beside short steps."""
MOST_ASKED = 1024
"""A system that starts a million threads, one after the other, does nothing else for minutes."""
RUN_THREADS = 2
"""As many keep up with a loop that does nothing: it hands a run out in the time of a gather."""
RUNS_AHEAD = 2
"""Runs ahead for each batch that `prefetch` asks for: with half as many, threads ran out of runs
while the loop numbered rows, and an epoch took 1.08 to 1.15 times as long."""
LEAST_EPOCH = 1 << 24
"""An epoch of runs with fewer bytes is over before threads, which take 0.2 ms to begin, help."""


@dataclass(frozen=True, kw_only=True)
class Options:
    """What the user asked for: see `Loader`."""

    num_threads: int | Auto = "auto"
    prefetch: int = 4
    pin_memory: bool | Auto = "auto"
    dtype: DTypes = None
    memory_budget: int | None = None
    device: torch.device | None = None
    progress: bool = False
    resident: bool | Auto = False


@dataclass(frozen=True, kw_only=True)
class Data:
    """What is known of the data: `batch_bytes` is None where it is not npdata's.

    `gathered_bytes` are those of a batch that can be gathered with others; None: it cannot be.
    `stored_bytes` are those while casts wait, see `LateCasts`. `most_batches` is how many of these
    may be gathered at once. `epoch_bytes` are those of all rows. `small_files`: rows are small
    files, and to read them is most of what is done. `spans`: a sample is a span of rows, and Python
    is half of what a batch takes. `gathers`: no function of the user sees a sample or a batch.
    `copies`: such a batch is a copy of rows that lie in memory or in mapped files.
    """

    batch_bytes: int | None
    library: bool
    gathered_bytes: int | None = None
    stored_bytes: int = sys.maxsize
    most_batches: int = sys.maxsize
    epoch_bytes: int = 0
    small_files: bool = False
    spans: bool = False
    gathers: bool = False
    copies: bool = False


@dataclass(frozen=True, kw_only=True)
class Schedule:
    """Batches are made on `threads` threads (0: in the caller), `depth` batches ahead.

    With `helps` the loop makes batches as well, where it would wait; `alone` is when it makes all
    of them, see `Prefetcher`. `pinned` is whether into pinned memory. `reason`
    is why so many threads. Up to `run` batches are gathered at once, and `depth` is then a number
    of runs; if it `casts_late`, each is cast when the loop asks for it. `resident` says which rows
    are held in memory or on a device, where that was asked for. `cores` is how many each thread
    copies on.
    """

    threads: int
    depth: int
    pinned: bool
    reason: str
    run: int = 1
    casts_late: bool = False
    resident: str = ""
    helps: bool = False
    alone: Alone | None = None
    cores: int = 1

    def __repr__(self) -> str:
        return f"<Schedule: {self}>"

    def __str__(self) -> str:
        threads = "1 thread" if self.threads == 1 else f"{self.threads} threads"
        if self.cores > 1:
            threads += f" of {self.cores} cores"
        if self.helps:
            threads += " and the loop while it waits"
        ahead = "batches" if self.run == 1 else f"runs of {self.run} batches"
        where = f"{threads}, {self.depth} {ahead} ahead"
        if self.alone is not None and self.cores > 1:
            where = f"the loop on all cores while batches are short, else {where}"
        elif self.alone is not None:
            where = f"the loop while it comes back soon or is faster, else {where}"
        caller = "in the caller" if self.run == 1 else f"in the caller, {self.run} batches at once"
        memory = "pinned" if self.pinned else "ordinary"
        held = f"; {self.resident}" if self.resident else ""
        return f"{where if self.threads else caller}, {memory} memory: {self.reason}{held}"


def decide_schedule(
    options: Options, data: Data, *, cores: int, pins: bool, torch_threads: int = 1
) -> Schedule:
    """Decide; raises `LoaderError` (a ValueError) for what cannot be.

    `cores` are those that this process may use, of which torch uses `torch_threads`; `pins`:
    batches could go to an accelerator.

    Examples:
        >>> data = Data(batch_bytes=1 << 20, library=True)
        >>> print(decide_schedule(Options(), data, cores=4, pins=False))
        in the caller, ordinary memory: rows are read through h5py, one at a time, and its lock ...
    """
    to_device, torch_cores = options.device is not None, min(cores, torch_threads)
    depth = _depth_of(options, data)
    pins = _pins(options.pin_memory, pins)
    many = torch_cores >= MANY_CORES
    run, casts_late = _run_of(options, data, depth, pinning=pins or to_device, many=many)
    # Without a device, runs gain more than pinned memory does for a copy of a few KiB.
    pinned = pins and (run == 1 or to_device)
    threads, reason = _threads(options, data, cores, in_runs=run > 1)
    auto, beside_device = options.num_threads == "auto" and threads > 0, pinned or to_device
    shared = auto and run == 1 and data.copies and many
    helps = auto and not (beside_device or shared or data.small_files)
    alone = None
    if shared:
        alone = _alone_on_many_cores(data, beside_device=beside_device)
    elif helps and run == 1:
        alone = _alone_on_few_cores(data, torch_cores)
    return Schedule(
        threads=threads,
        depth=depth if run == 1 else depth * RUNS_AHEAD,
        pinned=pinned,
        reason=reason,
        run=run,
        casts_late=casts_late,
        helps=helps,
        alone=alone,
        cores=max(2, (torch_cores - 1) // threads) if shared else 1,
    )


def _alone_on_many_cores(data: Data, *, beside_device: bool) -> Alone | None:
    """Give when they copy for the loop itself: until batches take long."""
    nbytes = data.batch_bytes or 0
    if beside_device and nbytes > LARGE_COPY:
        return None
    return Alone(away=SHORT_STEP if beside_device else inf, job=LEAST_JOB + nbytes / LEAST_RATE)


def _alone_on_few_cores(data: Data, torch_cores: int) -> Alone | None:
    """Let time show who makes batches, where that is not known before.

    Known are large batches that no function of the user sees, where torch has one core: a thread
    and the loop copy two at a time.
    """
    short = data.batch_bytes is not None and data.batch_bytes < LONG_COPY
    if short or data.spans or not data.gathers or torch_cores > 1:
        return Alone(away=LEAST_TO_COMPARE, compares=True)
    return None


def _pins(asked: Any, can: bool) -> bool:
    """Tell whether memory may be pinned, where that is asked for and an accelerator is there."""
    if asked not in (True, False, "auto"):
        raise LoaderError(f"pin_memory={asked!r}: expected True, False or 'auto'")
    if asked is True and not can:
        raise LoaderError(
            "pin_memory=True, but there is no accelerator to pin memory for; leave it out"
        )
    return can and asked is not False


def _depth_of(options: Options, data: Data) -> int:
    """Give how many batches are made ahead, as many as a memory budget holds."""
    depth = _whole("prefetch", options.prefetch, "batches that are ready ahead")
    if options.memory_budget is None:
        return depth
    budget = _whole("memory_budget", options.memory_budget, "bytes, as 4 * 10**9")
    size = data.batch_bytes or 1
    if budget // 4 < size:
        raise LoaderError(
            f"memory_budget={budget} holds fewer than 4 batches of {size} bytes; "
            f"give at least {4 * size}, or a smaller batch_size"
        )
    return min(depth, budget // 4 // size)


def _run_of(
    options: Options, data: Data, depth: int, *, pinning: bool, many: bool
) -> tuple[int, bool]:
    """Give how many batches are gathered at once, and whether they are cast late.

    `pinning`: there is an accelerator; `many` cores cast large batches together. They are cast late
    if that halves a run: 128 rows of 784 uint8 become float32 in 17 µs in place of 46, and 64
    windows of 1,025 uint16 int64 in 21 in place of 42. Beside matrices that are multiplied for 0.2
    ms it takes 0.9 of the time.
    """
    # Asked for 0 threads, each batch is made when it is asked for; pinned memory must be
    # given back to its allocator whole.
    each = options.num_threads == 0 or (options.pin_memory is True and options.device is None)
    if each or data.gathered_bytes is None:
        return 1, False
    budget = options.memory_budget
    room = RUN_BYTES if budget is None else min(RUN_BYTES, budget // 4 // RUNS_AHEAD // depth)
    together = many and data.gathered_bytes >= LONG_COPY
    late = 2 * data.stored_bytes <= data.gathered_bytes and not (pinning or together)
    nbytes = data.stored_bytes if late else data.gathered_bytes
    run = min(room // max(1, nbytes), data.most_batches)
    return (run, late) if run >= LEAST_RUN else (1, False)


def _whole(name: str, value: Any, of: str) -> int:
    if isinstance(value, bool) or not isinstance(value, Integral) or value < 1:
        raise LoaderError(f"{name}={value!r}: expected a whole number of {of}, at least 1")
    return int(value)


def _threads(options: Options, data: Data, cores: int, *, in_runs: bool) -> tuple[int, str]:
    asked, to_device = options.num_threads, options.device is not None
    if asked != "auto":
        whole = isinstance(asked, Integral) and not isinstance(asked, bool)
        if not whole or not 0 <= asked <= MOST_ASKED:
            raise LoaderError(
                f"num_threads={asked!r}: expected 'auto' or an int from 0 to {MOST_ASKED}"
            )
        return int(asked), "as asked for"
    if data.library:
        return 0, (
            "rows are read through h5py, one at a time, and its lock must not be held by a "
            "thread when the process forks"
        )
    if data.small_files:
        return 1, "small files are read by one thread: two would wait for each other at each call"
    if in_runs and cores > 1 and data.epoch_bytes >= LEAST_EPOCH:
        threads = min(cores - 1, RUN_THREADS)
        return threads, "small batches are gathered together, while the loop uses those before"
    small = data.batch_bytes is not None and data.batch_bytes < SMALL_BYTES
    if small and data.gathers and not to_device:
        return 0, (
            f"a batch of {data.batch_bytes} bytes is read faster than a thread hands it over"
        )
    if data.gathers:
        threads = max(1, min(cores - 1, GATHERING_THREADS))
        return threads, f"{cores} cores, and more threads would wait for the interpreter"
    threads = max(1, min(cores - 1, MOST_THREADS))
    return threads, f"{cores} cores, of which one is left to the loop, and {MOST_THREADS} at most"
