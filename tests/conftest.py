"""Shared by all tests: reproducible property tests, one thread per process, data to read."""

import gc
import multiprocessing
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import hypothesis
import numpy as np
import pytest
import torch
from forms import FORMS, write_forms
from kinds import Data, write
from threads import assert_no_thread_is_left

from npdata.sources.hdf5.chunks import budget, cache

hypothesis.settings.register_profile(
    "suite",
    derandomize=True,
    deadline=None,
    max_examples=40,
    database=None,
    suppress_health_check=[hypothesis.HealthCheck.too_slow],  # as on a machine that is busy
)
hypothesis.settings.load_profile("suite")
torch.set_num_threads(1)
# Else each worker imports torch, for 2 s, as the one in tests/sources/hdf5/test_plugins.py does.
PRELOADED = (
    "torch.utils.data",
    "torch.nested._internal.nested_tensor",
    "npdata.dataset.numpy_dataset",
)
multiprocessing.set_forkserver_preload([*PRELOADED])
# What a shell runs in the background ignores Ctrl-C, and under nohup the end of the terminal.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)
if signal.getsignal(signal.SIGHUP) is signal.SIG_IGN:
    signal.signal(signal.SIGHUP, signal.SIG_DFL)
# For `import benchmarks`; last, so that what is tested is the installed package.
sys.path.append(str(Path(__file__).parent.parent))


def pytest_collection_finish() -> None:
    """Leave torch and the tests out of every later `gc.collect()`, which took 0.4 s each."""
    # Hypothesis asks the collector once who holds its random numbers. Since Python 3.14 the holder
    # is among what is frozen here.
    hypothesis.given(hypothesis.strategies.none())(lambda nothing: nothing)()
    gc.collect()
    gc.freeze()


@pytest.fixture(autouse=True, scope="module")
def _nothing_is_left_by_other_files() -> None:
    """Leave what other files' tests made out of every later `gc.collect()` too."""
    assert_no_thread_is_left()
    gc.freeze()


@pytest.fixture(scope="session")
def data(tmp_path_factory: pytest.TempPathFactory) -> Data:
    """The same rows in every kind of source, and the arrays that they must equal."""
    return write(tmp_path_factory.mktemp("data"))


@pytest.fixture(scope="session")
def others(tmp_path_factory: pytest.TempPathFactory) -> Data:
    """The files of all forms that samples have, beside those of every kind of source."""
    return write_forms(tmp_path_factory.mktemp("others"))


@pytest.fixture(params=FORMS)
def form(request: pytest.FixtureRequest) -> str:
    """The name of each form."""
    return request.param


@pytest.fixture(scope="session")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The pages, built."""
    folder = tmp_path_factory.mktemp("site")
    done = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(folder)],
        cwd=Path(__file__).parent.parent,
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "NO_MKDOCS_2_WARNING": "1"},
    )
    assert done.returncode == 0, done.stderr
    assert "WARNING" not in done.stderr
    return folder


@pytest.fixture
def in_folder(tmp_path: Path):
    """Run the test inside an empty folder."""
    before = Path.cwd()
    os.chdir(tmp_path)
    yield tmp_path
    os.chdir(before)


@pytest.fixture
def rng() -> np.random.Generator:
    """A generator that gives the same numbers in every run."""
    return np.random.default_rng(0)


@pytest.fixture(autouse=True)
def usual_chunk_cache() -> Iterator[None]:
    """A test that sets the size of the chunk cache leaves no cache of that size to others."""
    yield
    made = cache._cache.made()
    if made is not None and made.budget != budget.default_budget():
        cache._cache.take()
        made.close()


@pytest.fixture
def on_disk(tmp_path: Path) -> Path:
    """A folder for files that lie on a disk, whose pages the system may drop."""
    mounts = Path("/proc/self/mountinfo")
    if mounts.exists():
        device = tmp_path.stat().st_dev
        place = f" {os.major(device)}:{os.minor(device)} "
        if any(place in line and " - tmpfs " in line for line in mounts.read_text().splitlines()):
            pytest.skip("files of tmpfs are memory; TMPDIR= names a folder on a disk")
    return tmp_path
