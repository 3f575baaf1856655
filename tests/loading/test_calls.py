"""How many Python calls a batch takes: they are the same in every run, as its time is not."""

from pathlib import Path

import pytest

from benchmarks import path

MOST = {"DataLoader with npdata.collate": 18, "Loader, 0 threads": 23, "Loader": 3}
"""Calls inside npdata for a batch of two mapped fields; see benchmarks/path.py for the rest."""


@pytest.mark.parametrize("way", MOST)
def test_a_batch_takes_few_calls(way: str, tmp_path: Path) -> None:
    path.write(tmp_path, path.ROWS)
    counted = path.calls(path.ways(tmp_path)[way])
    counted.pop("others")
    assert 0 < sum(counted.values()) <= MOST[way], counted
