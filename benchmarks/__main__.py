"""Measure, and write the reports.

python -m benchmarks [--quick] [QUESTION ...]

The whole run writes benchmarks/RESULTS.md, results.json, the charts in docs/img and the tables of
README.md. What this machine cannot answer stays as an earlier run measured it. With --quick, or for
some questions only, everything goes to benchmarks/out, and what README shows is compared with what
was measured now, as ratios to the bare gather.
"""

import argparse
import os
import platform
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch

from benchmarks import report as reports
from benchmarks.charts import draw_all
from benchmarks.harness import Bench, UnavailableError
from benchmarks.peers import installed
from benchmarks.questions import QUESTIONS, QUICK, answer
from benchmarks.report import Report, Section

ROOT = Path(__file__).parent.parent
RESULTS, JSON = ROOT / "benchmarks" / "RESULTS.md", ROOT / "benchmarks" / "results.json"
OUT = ROOT / "benchmarks" / "out"
SHOWN = "peers"
"""The section that a quick run is compared with."""
MARKS = {"before-after": "before-after", "speed": SHOWN}
"""The marks in README, and the sections that it shows between them."""
BARE = "bare gather"
"""The row that the rates of a run are compared over."""


def machine() -> str:
    """Tell what the figures were measured on."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / (1 << 30)
    return (
        f"{os.cpu_count()} cores, {memory:.0f} GiB, {platform.machine()}, {platform.system()}, "
        f"Python {platform.python_version()}, torch {torch.__version__}, numpy {np.__version__}"
    )


def measure(names: Sequence[str], *, quick: bool, before: Report | None = None) -> Report:
    """Ask the questions one after the other; what could not be answered is said in the report.

    It then has the sections of `before` in its place.
    """
    begun = time.perf_counter()
    peers, skipped = installed()
    failed: list[str] = []
    sections: list[Section] = []
    for name in names:
        start = time.perf_counter()
        # A folder for each question, so that the files of one do not push out another's.
        with tempfile.TemporaryDirectory() as folder:
            try:
                sections += answer(name, Bench(folder=Path(folder), quick=quick))
            except UnavailableError as error:
                skipped.append(f"{name} left out: {error}")
                sections += [] if before is None else reports.kept(before, name, machine())
            except Exception as error:
                # Half an hour of other answers is not thrown away for one.
                traceback.print_exc()
                failed.append(f"{name}: {type(error).__name__}: {error}")
        print(f"{name}: {time.perf_counter() - start:.0f} s", file=sys.stderr, flush=True)
    return Report(
        machine=machine(),
        versions={peer.package: peer.version for peer in peers if peer.package != "torch"},
        seconds=time.perf_counter() - begun,
        skipped=tuple(skipped),
        failed=tuple(failed),
        sections=tuple(sections),
    )


def write(report: Report) -> None:
    """Write all that a whole run writes; README keeps a table whose section failed."""
    RESULTS.write_text(report.markdown())
    JSON.write_text(report.json())
    draw_all(report, ROOT / "docs" / "img")
    readme = ROOT / "README.md"
    for mark, name in MARKS.items():
        if report.has(name):
            section = report.section(name)
            readme.write_text(reports.with_section(readme.read_text(), mark, section))


def write_aside(report: Report) -> None:
    """Write a part of the report, and compare it with what README shows."""
    OUT.mkdir(exist_ok=True)
    text = report.markdown(images=".")
    if JSON.exists() and report.has(SHOWN):
        before = reports.from_json(JSON.read_text()).section(SHOWN)
        compared = reports.repeated(before, report.section(SHOWN), BARE)
        text += f"\n{compared.markdown('.')}\n"
    (OUT / "RESULTS.md").write_text(text)
    (OUT / "results.json").write_text(report.json())
    draw_all(report, OUT)
    print(text)


def main() -> int:
    """Run what the arguments say; 1 means that a question failed."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("questions", nargs="*", metavar="QUESTION", help=", ".join(QUESTIONS))
    parser.add_argument(
        "--quick", action="store_true", help=f"fewer passes; by itself, {', '.join(QUICK)}"
    )
    arguments = parser.parse_args()
    for name in arguments.questions:
        if name not in QUESTIONS:
            parser.error(f"no question {name!r}; there are {', '.join(QUESTIONS)}")
    partly = arguments.quick or bool(arguments.questions)
    names = arguments.questions or (QUICK if arguments.quick else tuple(QUESTIONS))
    before = None if partly or not JSON.exists() else reports.from_json(JSON.read_text())
    report = measure(names, quick=arguments.quick, before=before)
    finish: Callable[[Report], None] = write_aside if partly else write
    finish(report)
    for line in report.failed:
        print(f"failed: {line}", file=sys.stderr)
    return 1 if report.failed else 0


if __name__ == "__main__":
    sys.exit(main())
