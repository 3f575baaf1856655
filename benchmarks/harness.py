"""Contenders for the same work, timed in turns, and checked to deliver the same rows.

Idea: machines drift, so every round times each contender once, one after the other, and the
figure is the ratio of medians. Before anything is timed, one pass of each contender is checked
against the first: the same batches, every byte of them. Timed passes copy every row out of its
source, so no contender gets away without touching the bytes.
"""

import statistics
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

Batches = Iterable[Sequence[Tensor]]


@dataclass(frozen=True, kw_only=True)
class Contender:
    """`batches()` gives one pass of (x, y) batches; the caller keeps none of them."""

    name: str
    batches: Callable[[], Batches]


@dataclass(frozen=True, kw_only=True)
class Timing:
    """Seconds of each timed pass of one contender."""

    name: str
    seconds: tuple[float, ...]

    @property
    def median(self) -> float:
        """The median pass, in seconds."""
        return statistics.median(self.seconds)

    @property
    def spread(self) -> float:
        """Half the range of the passes, as a part of the median."""
        return (max(self.seconds) - min(self.seconds)) / 2 / self.median


def checksum(batches: Batches) -> tuple[int, ...]:
    """Give a number per batch that depends on every byte and on the order of the rows."""
    sums = []
    for batch in batches:
        total = 0
        for tensor in batch:
            rows = tensor.reshape(len(tensor), -1).contiguous().view(torch.uint8).to(torch.int64)
            weights = torch.arange(1, len(tensor) + 1)
            total = (total * 31 + int((rows.sum(1) * weights).sum())) % (1 << 61)
        sums.append(total)
    return tuple(sums)


def compare(contenders: Sequence[Contender], *, rounds: int = 5) -> dict[str, Timing]:
    """Check that all contenders deliver the same batches, then time `rounds` passes of each."""
    expected = checksum(contenders[0].batches())
    for contender in contenders[1:]:
        if checksum(contender.batches()) != expected:
            raise RuntimeError(f"{contender.name} delivers other rows than {contenders[0].name}")
    seconds: dict[str, list[float]] = {contender.name: [] for contender in contenders}
    for _ in range(rounds):
        for contender in contenders:
            start = time.perf_counter()
            for _batch in contender.batches():
                pass
            seconds[contender.name].append(time.perf_counter() - start)
    return {name: Timing(name=name, seconds=tuple(each)) for name, each in seconds.items()}


def table(timings: dict[str, Timing], rows: int, row_bytes: int) -> str:
    """Give the timings as a Markdown table: rows and bytes a second, ratio to each contender."""
    best = min(timings.values(), key=lambda timing: timing.median)
    lines = ["| | rows/s | GB/s | spread | time, fastest = 1 |", "|---|---:|---:|---:|---:|"]
    for name, timing in timings.items():
        rate = rows / timing.median
        lines.append(
            f"| {name} | {rate:,.0f} | {rate * row_bytes / 1e9:.2f} | ±{timing.spread:.0%} | "
            f"{timing.median / best.median:.2f} |"
        )
    return "\n".join(lines)
