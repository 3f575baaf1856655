"""Read every kind of source while a timer interrupts at random moments; count what went wrong.

`python -m tests.helpers.ctrl_c 500` interrupts 500 times in all ways together and prints a line
for each way: interrupts, wrong batches, errors, threads left. Exits with 1 where a count is not 0.
A hang prints all stacks.
"""

import faulthandler
import gc
import random
import signal
import sys
import tempfile
import threading
import traceback
from collections.abc import Callable
from multiprocessing import queues
from pathlib import Path
from types import FrameType

import h5py
import numpy as np
from torch.utils.data import DataLoader
from torch.utils.data.dataloader import _MultiProcessingDataLoaderIter

import npdata

ROWS, WIDTH = 4096, 64
X = np.random.default_rng(7).integers(0, 60, (ROWS, WIDTH)).astype(np.float32)
FILES = 64
HANGS_AFTER = 120.0
OF_TORCH = {
    _MultiProcessingDataLoaderIter.__init__.__code__,
    _MultiProcessingDataLoaderIter._shutdown_workers.__code__,
}


def write(folder: Path) -> dict[str, list[str]]:
    """Write the same rows in every kind of file."""
    half = ROWS // 2
    with h5py.File(folder / "d.h5", "w") as file:
        options = {"compression": 4, "shuffle": True}
        file.create_dataset("gzip", data=X, chunks=(128, WIDTH), **options)
        file.create_dataset("tiles", data=X, chunks=(128, 48), **options)
        file.create_dataset("chunked", data=X, chunks=(128, WIDTH))
        file.create_dataset("scaled", data=X.astype(np.int32), chunks=(128, WIDTH), scaleoffset=0)
        file.create_dataset("first", data=X[:half], chunks=(128, WIDTH), **options)
        file.create_dataset("second", data=X[half:], chunks=(64, WIDTH), **options)
    np.save(folder / "x.npy", X)
    np.savez_compressed(folder / "x.npz", x=X)
    (folder / "files").mkdir()
    for k, part in enumerate(np.split(X, FILES)):
        np.save(folder / "files" / f"{k}.npy", part)
    at = f"{folder / 'd.h5'}::"
    return {
        "decoded": [f"{at}gzip"],
        "decoded in tiles": [f"{at}tiles"],
        "mapped": [f"{at}chunked"],
        "through h5py": [f"{at}scaled"],
        "npy": [str(folder / "x.npy")],
        "npz": [f"{folder / 'x.npz'}::x"],
        "two parts": [f"{at}first", f"{at}second"],
        "concatenated files": [str(folder / "files")],
        "stacked files": [str(folder / "files")],
    }


def rows_of(kind: str) -> np.ndarray:
    """Give the rows of a kind of file."""
    return X.reshape(FILES, -1, WIDTH) if kind == "stacked files" else X


def dataset(kind: str, addresses: list[str]) -> npdata.NumpyDataset:
    """Open them, end to end."""
    if kind == "concatenated files":
        return npdata.concatenate(addresses[0])
    if kind == "stacked files":
        return npdata.stack(addresses[0])
    sources = [npdata.open_source(address) for address in addresses]
    whole = sources[0]
    if len(sources) > 1:
        from npdata.sources.concatenated.concat import ConcatSource

        whole = ConcatSource(sources)
    return npdata.NumpyDataset(whole)


def epoch(ds: npdata.NumpyDataset, x: np.ndarray, way: str, seed: int) -> int:
    """Read every row once, in one of five ways, and count the batches that are wrong."""
    order = np.random.default_rng(seed).permutation(len(x))
    if way == "batches":
        parts = np.array_split(order, 16)
        return sum(not (ds[rows].numpy() == x[rows]).all() for rows in parts)
    batches = [part.tolist() for part in np.array_split(order, 16)]
    if way.startswith("DataLoader "):
        workers = int(way.removeprefix("DataLoader "))
        made = DataLoader(ds, batch_sampler=batches, collate_fn=npdata.collate, num_workers=workers)
        return sum(
            not (batch.numpy() == x[rows]).all() for batch, rows in zip(made, batches, strict=True)
        )
    resident, threads = way.startswith("resident"), int(way.split()[1])
    with npdata.Loader(ds, sampler=batches, num_threads=threads, resident=resident) as loader:
        return sum(
            not (batch.numpy() == x[rows]).all()
            for batch, rows in zip(loader, batches, strict=True)
        )


class Timer:
    """Raises KeyboardInterrupt in the main thread, once, some time after it was armed.

    Never while torch begins or ends the workers of a DataLoader, or inside their queues: one left
    half begun cannot end, and a lock of a queue that stays taken is waited for for ever.
    """

    def __init__(self) -> None:
        self.fired = 0
        signal.signal(signal.SIGALRM, self._interrupt)

    def arm(self, seconds: float) -> None:
        signal.setitimer(signal.ITIMER_REAL, seconds)

    def disarm(self) -> None:
        signal.setitimer(signal.ITIMER_REAL, 0)

    def _interrupt(self, _: int, frame: FrameType | None) -> None:
        codes = [each.f_code for each, _ in traceback.walk_stack(frame)]
        if any(code in OF_TORCH or code.co_filename == queues.__file__ for code in codes):
            self.arm(1e-3)
            return
        self.fired += 1
        raise KeyboardInterrupt


def interrupted(timer: Timer, read: Callable[[], int], seconds: float) -> int:
    """Read until interrupted, and give what was wrong before."""
    wrong, before = 0, timer.fired
    try:
        timer.arm(seconds)
        # Python drops what is raised in a finalizer, so the interrupt need not arrive here. In
        # Python 3.13 it passes the `except` where a `while` with a condition jumps back.
        while True:
            wrong += read()
            if timer.fired > before:
                break
    except KeyboardInterrupt:
        timer.disarm()
    return wrong


def threads_left() -> list[str]:
    """Name the threads of loaders that do not end, now that nothing refers to a loader."""
    gc.collect()
    threads = [thread for thread in threading.enumerate() if thread.name == "npdata"]
    for thread in threads:
        thread.join(300)
    return [thread.name for thread in threads if thread.is_alive()]


WAYS = (
    "batches",
    "Loader 0",
    "Loader 1",
    "Loader 2",
    "Loader 8",
    "resident 1",
    "DataLoader 0",
    "DataLoader 2",
)


def main(times: int) -> int:
    """Interrupt `times` times in all, and give how many things went wrong."""
    gc.freeze()  # to look at what torch and the tests made takes 0.15 s each time
    rng, timer, bad = random.Random(times), Timer(), 0
    with tempfile.TemporaryDirectory() as folder:
        files = write(Path(folder))
        cases = [(kind, way) for kind in files for way in WAYS]
        each = -(-times // len(cases))
        for kind, way in cases:
            faulthandler.dump_traceback_later(HANGS_AFTER, exit=True)
            x, ds = rows_of(kind), dataset(kind, files[kind])
            before = timer.fired
            wrong = errors = 0
            for k in range(each):
                try:
                    ds = dataset(kind, files[kind]) if k % 3 == 0 else ds
                    delay = rng.expovariate(5 if way == "DataLoader 2" else 100)
                    wrong += interrupted(timer, lambda: epoch(ds, x, way, k), delay)  # noqa: B023
                    wrong += epoch(ds, x, "batches", k)
                except Exception as error:
                    timer.disarm()
                    errors += 1
                    print(f"{kind}, {way}: {type(error).__name__}: {error}")
            left = threads_left()
            bad += wrong + errors + len(left)
            print(
                f"{kind}, {way}: {timer.fired - before} interrupts, {wrong} wrong batches, "
                f"{errors} errors, {len(left)} threads left"
            )
    faulthandler.cancel_dump_traceback_later()
    print(f"in all {timer.fired} interrupts, {bad} things wrong")
    return bad


if __name__ == "__main__":
    sys.exit(1 if main(int(sys.argv[1])) else 0)
