"""An interrupt at any moment of a read: later rows are right, nothing hangs, no thread is left."""

import faulthandler
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import h5py
import inject
import numpy as np
import pytest
from descriptors import descriptors_of
from interrupts import boundaries, run_interrupted
from processes import HANG

import npdata
from npdata import open_source
from npdata.sources.base import Source
from npdata.sources.concatenated.concat import ConcatSource
from npdata.sources.hdf5.chunks.cache import chunk_cache

# Python drops what is raised in a finalizer, and warns; what a finalizer misses is only memory.
pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
ROOT = Path(__file__).parents[2]
TIMES = int(os.environ.get("NPDATA_INTERRUPTS", "0"))
"""So many interrupts in the long form; the short one has few."""
MOST = 40
"""So many boundaries between instructions are tried for each case."""
X = np.random.default_rng(2).integers(0, 9, (96, 24)).astype(np.int32)


def watch() -> None:
    """Show all stacks, and end, where something hangs from here on; all boundaries take minutes."""
    faulthandler.dump_traceback_later(HANG, exit=True)


@pytest.fixture(autouse=True)
def _watched() -> Iterator[None]:
    watch()
    yield
    faulthandler.cancel_dump_traceback_later()


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("interrupts")
    with h5py.File(folder / "d.h5", "w") as file:
        options = {"compression": 1, "shuffle": True}
        file.create_dataset("x", data=X, chunks=(8, 24), **options)
        file.create_dataset("tiles", data=X, chunks=(8, 10), **options)
        file.create_dataset("plain", data=X, chunks=(8, 24))
        file.create_dataset("first", data=X[:40], chunks=(8, 24), **options)
        file.create_dataset("second", data=X[40:], chunks=(8, 24))
        for k, part in enumerate(np.split(X, 12)):
            file.create_dataset(f"groups/{k:02}/x", data=part, chunks=(4, 24), **options)
    np.save(folder / "x.npy", X)
    np.savez_compressed(folder / "x.npz", x=X)
    return folder


OPENED: dict[str, Callable[[Path], Source]] = {
    "decoded": lambda folder: open_source(f"{folder}/d.h5::x"),
    "decoded in tiles": lambda folder: open_source(f"{folder}/d.h5::tiles"),
    "groups": lambda folder: open_source(f"{folder}/d.h5::groups/*/x"),
    "chunks in place": lambda folder: open_source(f"{folder}/d.h5::plain"),
    "npy": lambda folder: open_source(f"{folder}/x.npy"),
    "npz": lambda folder: open_source(f"{folder}/x.npz::x"),
    "two parts": lambda folder: ConcatSource(
        [open_source(f"{folder}/d.h5::{part}") for part in ("first", "second")]
    ),
}


def read(source: Source, rows: np.ndarray) -> np.ndarray:
    out = np.full((len(rows), 24), -1, np.int32)
    source.read(rows, out)
    return out


def require_right(source: Source) -> None:
    rows = np.random.default_rng(0).permutation(96)
    assert (read(source, rows) == X[rows]).all()


@pytest.mark.parametrize("kind", OPENED)
def test_an_interrupt_between_any_two_instructions_of_a_read_costs_no_row(
    kind: str, files: Path
) -> None:
    rows = np.array([3, 90, 41, 3])
    first = OPENED[kind](files)
    count = inject.run(lambda: read(first, rows), -1)
    assert count is not None
    interrupted = 0
    for boundary in boundaries(count, MOST):
        watch()
        source = OPENED[kind](files)
        interrupted += inject.run(lambda: read(source, rows), boundary) is None  # noqa: B023
        require_right(source)
        # Once more, with the file open and the chunks there.
        inject.run(lambda: read(source, rows), boundary)  # noqa: B023
        source.will_need(0, 96)
        require_right(source)
    assert interrupted > 0.5 * len(boundaries(count, MOST))
    require_right(first)


@pytest.mark.parametrize("kind", OPENED)
def test_an_interrupt_between_any_two_instructions_of_an_opening_costs_no_row(
    kind: str, files: Path
) -> None:
    def opened() -> None:
        require_right(OPENED[kind](files))

    count = inject.run(opened, -1)
    assert count is not None
    for boundary in boundaries(count, MOST):
        watch()
        inject.run(opened, boundary)
        opened()


@pytest.mark.parametrize("step", ["decode", "_take_jobs", "_publish", "_handle"])
def test_an_error_between_any_two_instructions_of_a_decoding_thread_costs_no_row(
    step: str, files: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    boundary, seen = -1, 0

    def failing(work: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: Any) -> Any:
            nonlocal boundary, seen
            at, boundary = boundary, -1
            result = []
            done = inject.run(lambda: result.append(work(*arguments)), at)
            if done is None:
                raise inject.Injected
            seen = max(seen, done)
            return result[0]

        return call

    source = OPENED["decoded"](files)
    state = source._state.get()
    owner = state.chunks if step == "decode" else chunk_cache()
    monkeypatch.setattr(owner, step, failing(getattr(owner, step)))
    require_right(source)
    failed = 0
    for each in boundaries(seen, MOST):
        watch()
        chunk_cache().forget(state.chunks)
        state.chunks.closed = False
        while state.chunks.ready:
            pass
        boundary = each
        try:
            require_right(source)
        except inject.Injected:
            failed += 1
        boundary = -1
        require_right(source)
    assert failed > 0.5 * len(boundaries(seen, MOST))


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="needs a timer that interrupts")
def test_ctrl_c_at_a_random_moment_costs_no_row_and_no_thread() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "tests.helpers.ctrl_c", str(TIMES or 5)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=HANG + 10 * TIMES,
        check=False,
    )
    # Python ends by the signal, too, where an interrupt that was caught came inside an exec().
    assert done.returncode in (0, -signal.SIGINT), done.stdout + done.stderr
    assert ", 0 things wrong" in done.stdout
    print(done.stdout)


LINUX = pytest.mark.skipif(sys.platform != "linux", reason="it does not tell what is open")


def maps_of(path: Path) -> int:
    return Path("/proc/self/maps").read_text().count(str(path))


@LINUX
@pytest.mark.parametrize("kind", ["npy", "h5", "stack", "concatenate"])
def test_an_interrupt_while_the_system_opens_or_maps_a_file_leaves_neither(
    kind: str, tmp_path: Path
) -> None:
    path = tmp_path / ("0.h5" if kind == "h5" else "0.npy")
    if kind == "h5":
        with h5py.File(path, "w") as file:
            file.create_dataset("x", data=X, chunks=(8, 24), compression=1)
    else:
        np.save(path, X)
    made = {
        "npy": lambda: npdata.NumpyDataset(path),
        "h5": lambda: npdata.NumpyDataset(f"{path}::x"),
        "stack": lambda: npdata.stack([path]),
        "concatenate": lambda: npdata.concatenate([path]),
    }[kind]

    def rows() -> None:
        assert (made()[[0]].reshape(-1)[:24].numpy() == X[0]).all()

    at = "npdata/runtime/keep_at_once.py"
    count = run_interrupted(rows, at, -1)
    assert count
    for boundary in range(1, count + 1):
        assert run_interrupted(rows, at, boundary) is None
        assert (descriptors_of(path), maps_of(path)) == (0, 0)
