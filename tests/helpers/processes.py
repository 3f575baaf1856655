"""What the tests with processes of their own share."""

import os
import signal
import subprocess
import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
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


def run(code: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-W", "error", "-c", code, *arguments],
        capture_output=True,
        text=True,
        check=False,
        env=environment(),
        timeout=HANG,
    )


def interrupted(code: str, *arguments: str, after: str) -> tuple[int, str]:
    """Send Ctrl-C to a process once it has printed `after`; give its exit status and errors."""
    with subprocess.Popen(
        [sys.executable, "-c", code, *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment(),
    ) as process:
        assert process.stdout is not None
        try:
            assert process.stdout.readline() == after
            process.send_signal(signal.SIGINT)
            _, errors = process.communicate(timeout=HANG)
        finally:
            process.kill()
    return process.returncode, errors


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
