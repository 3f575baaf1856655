"""Every peer on the same rows: with no worker and with two, what it starts and converts in.

100,000 rows of 784 float32 and a label, batches of 256 in random order, page cache warm. Each peer
is used as its own documentation advises; where that is a pipeline without a way to read batches,
it is given `index_select`, the fastest that we know.
"""

from benchmarks.against import compare_peers, convert
from benchmarks.harness import Bench, Timing, rates
from benchmarks.peers import PEERS, installed
from benchmarks.peers.bare_gather import PEER as ROOFLINE
from benchmarks.peers.peer import Data, shuffled
from benchmarks.report import Cell, Chart, Column, Measured, Ratio, Section, Table

WIDTH, BATCH = 784, 256
NONE, TWO = "rows/s, no worker", "rows/s, 2 workers"
COLUMNS = (
    Column(name=""),
    Column(name="reads"),
    Column(name=NONE, format=",.0f"),
    Column(name=TWO, format=",.0f"),
    Column(name="workers are"),
    Column(name="first batch, 2 workers, ms", format=".0f"),
)


def _best(row: tuple[Cell, ...]) -> tuple[bool, float]:
    """Give what rows are sorted by: the roofline, then the better rate of each."""
    measured = [cell.median for cell in row if isinstance(cell, Measured)]
    return row[0] == ROOFLINE.name, max(measured, default=0.0)


def run(bench: Bench, rows: int = 100_000, names: tuple[str, ...] = PEERS) -> list[Section]:
    """Measure, and give the section of the report."""
    peers, _ = installed(names)
    data = Data(folder=bench.folder, rows=rows, width=WIDTH).write(hdf5=True)
    converted = convert(peers, data)
    alone, helped = (
        compare_peers(
            peers, data, shuffled(data, batch=BATCH, workers=workers), rounds=bench.rounds
        )
        for workers in (0, 2)
    )

    def rate(timings: dict[str, Timing], name: str) -> Measured | None:
        return rates(timings[name], steady=True) if name in timings else None

    table: list[tuple[Cell, ...]] = []
    for peer in peers:
        seconds = converted.get(peer.name)
        table.append(
            (
                peer.name,
                "the files" if seconds is None else f"a copy, written in {seconds:.1f} s",
                rate(alone, peer.name),
                rate(helped, peer.name),
                peer.kind if peer.name in helped else None,
                helped[peer.name].first * 1e3 if peer.name in helped else None,
            )
        )
    table.sort(key=_best, reverse=True)
    ours = helped["npdata Loader"]
    return [
        Section(
            name="peers",
            title=f"Rows a second beside peers, {WIDTH * 4 / 1024:.0f} KiB a row",
            note=f"{rows:,} rows of {WIDTH} float32 and a label, batches of {BATCH} in random "
            "order, page cache warm; the first batch of a pass is timed apart. The fastest is "
            "first, at the better of its two rates. scDataset and "
            "Grain shuffle by themselves, so the set of their rows is compared; the others give "
            "the same batches.",
            table=Table(columns=COLUMNS, rows=tuple(table)),
            ratios=tuple(
                Ratio(
                    what=f"Loader, 2 threads, over {name} with 2 workers",
                    value=rates(ours, steady=True).median / rates(each, steady=True).median,
                )
                for name, each in helped.items()
                if each is not ours
            ),
            charts=(
                Chart(kind="bars", file="bench-peers.svg", x="", y="rows/s", series=(NONE, TWO)),
            ),
        )
    ]
