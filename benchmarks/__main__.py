"""Measure everything, write RESULTS.md and the table in README.md."""

import os
import platform
import tempfile
from pathlib import Path

import numpy as np
import torch

from benchmarks import hdf5, loader, main_job

ROOT = Path(__file__).parent.parent
BEGIN, END = "<!-- speed -->", "<!-- /speed -->"


def machine() -> str:
    """Tell what the figures were measured on."""
    return (
        f"{os.cpu_count()} cores, {platform.machine()}, {platform.system()}, "
        f"Python {platform.python_version()}, torch {torch.__version__}, numpy {np.__version__}"
    )


def main() -> None:
    """Run every benchmark and write the reports."""
    with tempfile.TemporaryDirectory() as folder:
        sections = main_job.run(Path(folder)) + hdf5.run(Path(folder)) + loader.run(Path(folder))
    report = "\n\n".join(
        [
            "# Results",
            "Written by `make bench`. Each figure is a ratio of medians over interleaved passes in "
            "one run; both sides were checked to deliver the same bytes.",
            f"Machine: {machine()}.",
            *sections,
        ]
    )
    (ROOT / "benchmarks" / "RESULTS.md").write_text(report + "\n")
    readme = (ROOT / "README.md").read_text()
    head, rest = readme.split(BEGIN)
    tail = rest.split(END)[1]
    table = sections[0].split("\n\n", 1)[1]
    (ROOT / "README.md").write_text(f"{head}{BEGIN}\n{table}\n{END}{tail}")
    print(report)


if __name__ == "__main__":
    main()
