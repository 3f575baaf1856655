"""How much memory an epoch takes, of the process and its workers, beside peers.

Idea: each peer runs an epoch in a process of its own, and this one looks on. What is counted is
what nothing else on the machine shares: anonymous and shared-memory pages of the process and of all
its children, each page once (`Pss_Anon` and `Pss_Shmem` of Linux). Pages of the page cache, which
the system takes back whenever it likes, do not count. The figure is by how much the highest sum is
above what the process had after its imports.
"""

import importlib
import select
import subprocess
import sys
from pathlib import Path

from benchmarks.against import convert
from benchmarks.harness import Bench, UnavailableError
from benchmarks.peers import PEERS, installed
from benchmarks.peers.peer import Data, shuffled
from benchmarks.report import Cell, Chart, Column, Section, Table

WIDTH, BATCH = 784, 256
COLUMNS = ("MiB, no worker", "MiB, 2 workers")


def child(module: str, workers: int, data: Data) -> None:
    """Run an epoch; tell when the imports are done, wait for a line, tell when it has ended."""
    peer = importlib.import_module(f"benchmarks.peers.{module}").PEER
    epoch = shuffled(data, batch=BATCH, workers=workers)
    _ = epoch.lists, epoch.arrays
    print("ready", flush=True)
    sys.stdin.readline()
    total = sum(1 for _batch in peer.batches(peer.open(data), epoch))
    print(f"done {total}", flush=True)
    sys.stdin.readline()


def tree(pid: int) -> list[int]:
    """Give a process and all that descend from it."""
    found = [pid]
    for one in found:
        try:
            for task in Path(f"/proc/{one}/task").iterdir():
                found += map(int, (task / "children").read_text().split())
        except (FileNotFoundError, ProcessLookupError):
            continue
    return found


def private(pid: int) -> int:
    """Give the bytes that a process and its children have for themselves."""
    total = 0
    for one in tree(pid):
        try:
            lines = Path(f"/proc/{one}/smaps_rollup").read_text().splitlines()
        except (FileNotFoundError, ProcessLookupError):
            continue
        total += sum(
            int(line.split()[1]) << 10
            for line in lines
            if line.startswith(("Pss_Anon:", "Pss_Shmem:"))
        )
    return total


def growth(module: str, workers: int, data: Data) -> float:
    """Give the MiB by which an epoch grew the memory of its processes."""
    words = [sys.executable, "-m", "benchmarks.memory", module, str(workers)]
    words += [str(data.folder), str(data.rows)]
    with subprocess.Popen(
        words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        _expect(process, "ready")
        before = most = private(process.pid)
        _go_on(process)
        while not _has_line(process):
            most = max(most, private(process.pid))
        _expect(process, "done")
        _go_on(process)
    return (most - before) / (1 << 20)


def _expect(process: subprocess.Popen[str], word: str) -> None:
    assert process.stdout is not None
    line = process.stdout.readline()
    if not line.startswith(word):
        raise RuntimeError(f"expected {word!r} of the child, got {line!r}")


def _has_line(process: subprocess.Popen[str]) -> bool:
    assert process.stdout is not None
    return bool(select.select([process.stdout], [], [], 0.005)[0])


def _go_on(process: subprocess.Popen[str]) -> None:
    assert process.stdin is not None
    process.stdin.write("\n")
    process.stdin.flush()


def run(bench: Bench, rows: int = 50_000, names: tuple[str, ...] = PEERS) -> list[Section]:
    """Measure, and give the section of the report."""
    if not Path("/proc/self/smaps_rollup").exists():
        raise UnavailableError("the system does not tell the memory of a process in /proc")
    data = Data(folder=bench.folder, rows=rows, width=WIDTH).write(hdf5=True)
    table: list[tuple[Cell, ...]] = []
    for name in names:
        for peer in installed((name,))[0]:
            convert((peer,), data)
            table.append(
                (
                    peer.name,
                    *(growth(name, n, data) if peer.takes(n) else None for n in (0, 2)),
                )
            )
    columns = (Column(name=""), *(Column(name=name, format=",.0f") for name in COLUMNS))
    return [
        Section(
            name="memory",
            title="Memory of an epoch beside peers",
            note=f"{rows:,} rows of 3 KiB ({data.rows * data.row_bytes >> 20} MiB) and a label, "
            f"batches of {BATCH}. What the process and its workers had for themselves at most, "
            "less what the process had after its imports; pages of the page cache do not count.",
            table=Table(columns=columns, rows=tuple(table)),
            charts=(Chart(kind="bars", file="bench-memory.svg", x="", y="MiB", series=COLUMNS),),
        )
    ]


if __name__ == "__main__":
    module_, workers_, folder_, rows_ = sys.argv[1:]
    child(module_, int(workers_), Data(folder=Path(folder_), rows=int(rows_), width=WIDTH))
