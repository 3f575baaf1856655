"""What the tests with processes of their own share."""

import os
from pathlib import Path


def environment(**more: str) -> dict[str, str]:
    """Give the variables of a process that imports this package and computes on one core."""
    root = str(Path(__file__).parent.parent)
    return {**os.environ, "PYTHONPATH": root, "OMP_NUM_THREADS": "1", **more}
