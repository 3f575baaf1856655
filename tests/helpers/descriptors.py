"""Which files this process has open: in all, tests and garbage of tests before have others."""

import os
from pathlib import Path


def descriptors_of(path: Path) -> int:
    """Count the descriptors of a file; 0 where the system does not tell."""
    folder = Path("/proc/self/fd")
    links = [os.path.realpath(link) for link in folder.iterdir()] if folder.exists() else []
    return links.count(os.path.realpath(path))
