"""Reports of changes, which any thread may ask for."""

import os
import sys
from pathlib import Path

import pytest

from npdata.sources.many_files.watch import Watch


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux reports changes")
def test_a_report_that_another_thread_reads_counts_for_both(tmp_path: Path) -> None:
    watch, path = Watch(), tmp_path / "x"
    path.touch()
    watch.add(os.fsencode(path))
    before, ask = watch.events(), watch._ask

    def ask_late() -> bool:
        watch._ask = ask
        assert watch.events() > before  # as another thread, between the count and the question
        return ask()

    path.write_bytes(b"1")
    watch._ask = ask_late
    assert watch.events() > before
