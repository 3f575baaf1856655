"""What an order costs and how good it is: start, memory, speed, and a training on sorted data.

Each start is measured in a process of its own, after the imports: the time until the first batch
of 256 is there, and by how much the peak of resident memory grew. The index time is that of 20,000
batches in mid-epoch, from 100 million rows, so that neither the start nor rows that are made and
not used count for much; the gather beside it, by `torch.index_select`, is of 1000 such batches from
an array of 300,000 rows (row numbers modulo that). All are measured in turn, some times: medians.

The training is of a linear classifier on the digits of scikit-learn,
sorted by label, one row of 64 float64 after the other; its blocks are 8 rows, so that the default
window holds the same share of the file as it would of one of some hundred blocks.
"""

import itertools
import statistics
import subprocess
import sys
import time
from collections.abc import Iterable

import numpy as np
import torch
from sklearn.datasets import load_digits
from torch.utils.data import BatchSampler, RandomSampler

from benchmarks import peak
from benchmarks.harness import Bench
from benchmarks.report import Column, Measured, Section, Table, measured
from npdata.sampling.order.window import WINDOW_BLOCKS
from npdata.sampling.sampler import BlockBatchSampler

BATCH = 256
ROW_BYTES = 3072
BLOCK_ROWS = (1 << 20) // ROW_BYTES


def sampler(kind: str, n: int) -> Iterable[object]:
    if kind == "torch":
        return BatchSampler(RandomSampler(range(n)), BATCH, drop_last=False)
    shuffle = "full" if kind == "full" else "block"
    return BlockBatchSampler(n, BATCH, shuffle=shuffle, block_rows=BLOCK_ROWS)


def start(kind: str, n: int) -> None:
    """Print the milliseconds to the first batch and the MiB of memory that it took."""
    before = peak.set_back()
    begin = time.perf_counter()
    batch = next(iter(sampler(kind, n)))
    took = time.perf_counter() - begin
    grown = peak.highest() - before
    assert len(batch) == BATCH
    print(f"{took * 1e3:.1f} {grown:.1f}")


def starts(bench: Bench) -> Section:
    """Time the start of an order, each in a process of its own."""
    jobs = [("full", 10**9), ("block", 10**9), ("torch", 10**7)]
    if not bench.quick:
        jobs.append(("torch", 10**8))
    rows = []
    for kind, n in jobs:
        words = [sys.executable, "-m", "benchmarks.order", kind, str(n)]
        found = [
            tuple(map(float, subprocess.check_output(words, text=True).split()))
            for _ in range(1 if n == 10**8 else 3)
        ]
        ms, mib = (measured(column) for column in zip(*found, strict=True))
        name = "torch RandomSampler" if kind == "torch" else f'npdata "{kind}"'
        rows.append((name, float(n), ms, mib))
    names = {"": ".2f", "rows": ",.0f", "first batch, ms": ",.1f", "memory, MiB": ",.1f"}
    return Section(
        name="order-start",
        title="What an order costs to start",
        note="Each in a process of its own; memory is what the peak grew by.",
        table=_table(names, rows),
    )


def _table(names: dict[str, str], rows: list[tuple[str | float | Measured, ...]]) -> Table:
    columns = (Column(name=name, format=form) for name, form in names.items())
    return Table(columns=tuple(columns), rows=tuple(rows))


def index_share(bench: Bench) -> Section:
    """Time row numbers and the gather of those rows, in turns."""
    held, count = 300_000, 20_000
    data = torch.from_numpy(np.random.default_rng(0).integers(0, 255, (held, ROW_BYTES), np.uint8))
    out = torch.empty(BATCH, ROW_BYTES, dtype=torch.uint8)
    jobs = {
        "full": {"shuffle": "full"},
        "block": {"block_rows": BLOCK_ROWS},
        "block, world 64": {"block_rows": BLOCK_ROWS, "rank": 0, "world_size": 64},
    }
    index, gather = {name: [] for name in jobs}, {name: [] for name in jobs}
    for _ in range(bench.rounds):
        for name, options in jobs.items():
            world = options.get("world_size", 1)
            batches = iter(BlockBatchSampler(10**8 * world, BATCH, **options))
            rows = [batch % held for batch in itertools.islice(batches, 1000)]
            begin = time.perf_counter()
            for _ in itertools.islice(batches, count):
                pass
            index[name].append((time.perf_counter() - begin) / count)
            begin = time.perf_counter()
            for batch in rows:
                torch.index_select(data, 0, torch.from_numpy(batch), out=out)
            gather[name].append((time.perf_counter() - begin) / len(rows))
            assert torch.equal(out, data[rows[-1]])
    rows = []
    for name in jobs:
        taken, gathered = (measured([1e6 * x for x in each[name]]) for each in (index, gather))
        rows.append((f"npdata {name}", taken, gathered, taken.median / gathered.median))
    names = {"": ".2f", "row numbers, us": ".2f", "gather, us": ".1f", "share": ".1%"}
    return Section(
        name="order-index",
        title="Row numbers beside the gather, a batch of 256 rows of 3 KiB",
        table=_table(names, rows),
    )


def accuracy(shuffle: str | bool, seed: int, block_rows: int, window_blocks: int) -> float:
    """Train on the first 1500 digits of a fixed mix, sorted by label; test on the other 297."""
    images, labels = load_digits(return_X_y=True)
    mix = np.random.default_rng(0).permutation(len(labels))
    train, test = mix[:1500], mix[1500:]
    train = train[np.argsort(labels[train], kind="stable")]
    x, y = torch.from_numpy(images / 16), torch.from_numpy(labels)
    torch.manual_seed(seed)
    model = torch.nn.Linear(64, 10, dtype=torch.float64)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.5)
    batches = BlockBatchSampler(
        len(train),
        32,
        shuffle=shuffle,
        seed=seed,
        block_rows=block_rows,
        window_blocks=window_blocks,
    )
    for _ in range(20):
        for rows in batches:
            chosen = train[rows]
            loss = torch.nn.functional.cross_entropy(model(x[chosen]), y[chosen])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    return float((model(x[test]).argmax(1) == y[test]).double().mean())


def training(bench: Bench) -> Section:
    """Train with each order and compare how well it learnt."""
    block_rows, seeds = 8, 2 if bench.quick else 10
    jobs = [
        ("full shuffle", "full", 1),
        (f"window of {WINDOW_BLOCKS} blocks (default)", "block", WINDOW_BLOCKS),
        ("window of 16 blocks", "block", 16),
        ("window of 4 blocks", "block", 4),
        ("window of 1 block", "block", 1),
        ("file order", False, 1),
    ]
    rows = []
    for name, shuffle, window_blocks in jobs:
        found = [accuracy(shuffle, seed, block_rows, window_blocks) for seed in range(seeds)]
        rows.append((name, statistics.mean(found)))
    return Section(
        name="order-training",
        title=f"Training on digits sorted by label, means of {seeds} seeds",
        table=_table({"": ".2f", "accuracy": ".2%"}, rows),
    )


def run(bench: Bench) -> list[Section]:
    """Measure, and give the sections of the report."""
    return [starts(bench), index_share(bench), training(bench)]


if __name__ == "__main__":
    start(sys.argv[1], int(sys.argv[2]))
