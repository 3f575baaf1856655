"""`npdata convert` keeps to `--memory`, measured on processes of its own."""

import re
import subprocess
import sys
from pathlib import Path

import h5py
import numpy as np
import pytest
from processes import HANG, environment

from npdata.cli.arguments import byte_size

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="peak memory as Linux has it")

ROW = 1 << 20
COMMAND = """
import pathlib, sys
from npdata.cli.main import main
code = main(["convert", *sys.argv[1:]])
print(pathlib.Path("/proc/self/status").read_text())
sys.exit(code)
"""


def convert(*arguments: object) -> tuple[int, str, int]:
    """Run the command; give its exit code, its errors, and the most bytes that it took.

    In a new interpreter: one that was forked shares memory with another.
    """
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", COMMAND, *map(str, arguments)],
        capture_output=True,
        text=True,
        check=False,
        env=environment(),
        timeout=HANG,
    )
    used = int(re.findall(r"VmHWM:\s+(\d+) kB", done.stdout)[0]) * 1024
    return done.returncode, done.stderr, used


def chunked(path: Path, **filters: object) -> None:
    """Write 80 rows of 1 MiB, of which half are noise, in chunks of 64."""
    rows = np.zeros((80, ROW // 4), np.int32)
    rows[::2] = np.random.default_rng(0).integers(0, 1 << 20, rows[::2].shape)
    with h5py.File(path, "w") as file:
        file.create_dataset("x", data=rows, chunks=(64, ROW // 4), **filters)


def members(path: Path) -> None:
    with path.open("wb") as file:
        np.savez_compressed(file, **{name: np.zeros((60, ROW), np.uint8) for name in "abc"})


SOURCES = {
    "decoded": lambda path: chunked(path, compression=1, shuffle=True),
    "library": lambda path: chunked(path, scaleoffset=0),
    "member": members,
}


@pytest.mark.slow
@pytest.mark.parametrize("kind", SOURCES)
def test_what_the_refusal_names_is_enough_and_is_kept_to(tmp_path: Path, kind: str) -> None:
    source, target = tmp_path / "x", tmp_path / "y.h5"
    SOURCES[kind](source)
    code, errors, _ = convert(source, target, "--memory", "300MB")
    assert code == 2
    assert not target.exists()
    enough = re.search(r"--memory 300 MB is too little.*--memory (\d+MB) would do", errors)
    assert enough, errors
    code, errors, used = convert(source, target, "--memory", enough[1])
    assert (code, errors) == (0, "")
    assert used <= byte_size(enough[1])
