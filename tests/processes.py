"""What the tests with processes of their own share."""

import os
from pathlib import Path

import npdata


def environment(**more: str) -> dict[str, str]:
    """Give the variables of a process that imports the same npdata and computes on one core."""
    root = str(Path(npdata.__file__).parent.parent)
    return {**os.environ, "PYTHONPATH": root, "OMP_NUM_THREADS": "1", **more}
