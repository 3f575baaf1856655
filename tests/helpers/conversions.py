"""What the tests of `npdata convert` share."""

import os
import pty
import subprocess
import sys
from pathlib import Path

import h5py
import numpy as np
from h5fuzz import same
from processes import HANG, environment

from npdata.cli.main import main


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


def run(*arguments: object, **variables: str) -> subprocess.CompletedProcess[str]:
    """Run the command in a process of its own."""
    return subprocess.run(
        [sys.executable, "-W", "error", "-m", "npdata", "convert", *map(str, arguments)],
        capture_output=True,
        text=True,
        check=False,
        env=environment(**variables),
        timeout=HANG,
    )


def signalled(*arguments: object, number: int) -> tuple[int, str]:
    """Send a signal to the command as soon as its progress bar shows a rate.

    Gives its exit status, and what a terminal has shown.
    """
    own, terminal = pty.openpty()
    with subprocess.Popen(
        [sys.executable, "-m", "npdata", "convert", *map(str, arguments)],
        stdout=subprocess.DEVNULL,
        stderr=terminal,
        env=environment(COLUMNS="100", TERM="xterm"),
    ) as process:
        os.close(terminal)
        shown = b""
        sent = False
        while part := _read(own):
            shown += part
            if not sent and b"B/s" in shown:
                process.send_signal(number)
                sent = True
        process.wait(timeout=HANG)
    os.close(own)
    return process.returncode, shown.decode()


def _read(terminal: int) -> bytes:
    try:
        return os.read(terminal, 4096)
    except OSError:
        # So Linux says that nobody has the other end any more.
        return b""
