"""What the tests with processes of their own share."""

import os
import signal
import subprocess
import threading
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryFile
from typing import Any, TextIO

import numpy as np
import pytest
from forks import Fork, Forks
from torch.utils.data import DataLoader

import npdata

HANG = 300
"""Seconds that no step takes on the busiest machine, but one that hangs does."""


def environment(**more: str) -> dict[str, str]:
    """Give the variables of a process that imports the same npdata and computes on one core."""
    root = str(Path(npdata.__file__).parent.parent)
    # The screen of whoever runs the tests is not that of the process, whose output is a pipe.
    own = {name: value for name, value in os.environ.items() if name != "COLUMNS"}
    return {**own, "PYTHONPATH": root, "OMP_NUM_THREADS": "1", **more}


FORKS = Forks(environment())


def run(code: str, *arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
    """Run code in a process where npdata is imported and warnings are errors."""
    with TemporaryFile("w+") as errors:
        with running(code, *arguments, errors=errors.fileno(), **variables) as (process, out):
            printed = out.read()
            status = process.wait()
        errors.seek(0)
        return subprocess.CompletedProcess(code, status, printed, errors.read())


@contextmanager
def running(
    code: str, *arguments: str, errors: int | None = None, **variables: str
) -> Iterator[tuple[Fork, TextIO]]:
    """Give such a process and what it prints, and kill it at the end of the block or if it hangs.

    Without a file for its errors they are among what it prints.
    """
    reading, writing = os.pipe()
    with os.fdopen(reading) as out:
        files = (writing, writing if errors is None else errors)
        process = FORKS.begin(code, arguments, environment(**variables), files)
        os.close(writing)
        kills = threading.Timer(HANG, process.send, [signal.SIGKILL])
        kills.start()
        try:
            yield process, out
        finally:
            kills.cancel()
            kills.join()
            process.send(signal.SIGKILL)
            process.wait()


def interrupted(code: str, *arguments: str, after: str) -> tuple[int, str]:
    """Send Ctrl-C to a process once it has printed `after`; give its status and what comes then."""
    with running(code, *arguments) as (process, out):
        assert out.readline() == after
        process.send(signal.SIGINT)
        return process.wait(), out.read()


@contextmanager
def raises_in_a_worker(error: type[Exception], match: str) -> Iterator[pytest.ExceptionInfo]:
    """Expect an error that a worker of a DataLoader may raise, and end the workers behind it.

    What torch raises keeps the iterator in a cycle. When that is collected, its queues end before
    it can tell the workers to end, and then it waits 5 s for each of them.
    """
    with pytest.raises(error, match=match) as caught:
        yield caught
    traceback.clear_frames(caught.tb)


def require_workers_read(
    dataset: Any, order: np.ndarray, expected: np.ndarray, method: str
) -> None:
    """Let two worker processes of this kind read batches of rows, and compare them with NumPy's."""
    loader = DataLoader(
        dataset,
        batch_sampler=order.tolist(),
        collate_fn=npdata.collate,
        num_workers=2,
        multiprocessing_context=method,
    )
    for rows, batch in zip(order, loader, strict=True):
        assert (batch.numpy() == expected[rows]).all()
