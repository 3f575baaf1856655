"""What the tests of `npdata convert` share."""

import os
import pty
import subprocess
from pathlib import Path

import h5py
import numpy as np
import processes
from h5fuzz import same
from processes import FORKS, environment

from npdata.cli.main import main

COMMAND = "import sys; from npdata.__main__ import main; sys.exit(main())"


def convert(*arguments: object) -> int:
    """Run the command in this process, and give its exit code."""
    try:
        return main(["convert", *map(str, arguments)])
    except SystemExit as end:
        return int(end.code or 0)


def assert_same(one: np.ndarray, other: np.ndarray) -> None:
    """Compare shapes, dtypes with their byte order, and the bits of all elements."""
    assert one.dtype == other.dtype
    assert one.dtype.str == other.dtype.str
    assert same(one, other)


def load(path: Path, name: str, like: np.ndarray) -> np.ndarray:
    """Read an array as NumPy or h5py does."""
    if path.suffix == ".npy":
        return np.load(path)
    if path.suffix == ".npz":
        with np.load(path) as archive:
            return archive[name]
    if path.suffix == ".h5":
        with h5py.File(path) as file:
            return file[name][...]
    return np.fromfile(path, like.dtype).reshape(like.shape)


def run(*arguments: object, encoding: str = "utf-8") -> subprocess.CompletedProcess[str]:
    """Run the command in a process of its own, which writes in this encoding."""
    code = f"import sys; sys.stdout.reconfigure(encoding={encoding!r}); {COMMAND}"
    return processes.run(code, "convert", *map(str, arguments))


def signalled(*arguments: object, number: int) -> tuple[int, str]:
    """Send a signal to the command as soon as its progress bar shows a rate.

    Gives its exit status, and what a terminal has shown.
    """
    own, terminal = pty.openpty()
    variables = environment(COLUMNS="100", TERM="xterm")
    process = FORKS.begin(
        COMMAND, ("convert", *map(str, arguments)), variables, (terminal, terminal)
    )
    os.close(terminal)
    shown = b""
    sent = False
    while part := _read(own):
        shown += part
        if not sent and b"B/s" in shown:
            process.send(number)
            sent = True
    os.close(own)
    return process.wait(), shown.decode()


def _read(terminal: int) -> bytes:
    try:
        return os.read(terminal, 4096)
    except OSError:
        # So Linux says that nobody has the other end any more.
        return b""
