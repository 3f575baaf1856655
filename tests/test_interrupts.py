"""An interrupt at any moment of a read: later rows are right, nothing hangs, no thread is left."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
TIMES = int(os.environ.get("NPDATA_INTERRUPTS", "0"))
"""So many interrupts in the long form; the short one has few."""


@pytest.mark.skipif(sys.platform == "win32", reason="needs a timer that interrupts")
def test_ctrl_c_at_a_random_moment_costs_no_row_and_no_thread() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "tests.helpers.ctrl_c", str(TIMES or 5)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60 + 10 * TIMES,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    print(done.stdout)
