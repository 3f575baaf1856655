"""What is read of many files to know them: their headers, and no row behind them."""

import sys
from pathlib import Path

import numpy as np
import pytest

import npdata

FILES, ROWS = 20, 1 << 16
RECORD = [(f"column_{k}", "f4") for k in range(8)]
"""A header of more than 128 bytes."""


def bytes_read() -> int:
    """Give how many bytes this process has read from files so far."""
    return int(Path("/proc/self/io").read_text().split()[1])


@pytest.mark.skipif(sys.platform != "linux", reason="asks /proc")
@pytest.mark.parametrize("dtype", ["f4", RECORD], ids=["numbers", "records"])
@pytest.mark.parametrize("version", [(1, 0), (2, 0), (3, 0)])
@pytest.mark.parametrize("function", [npdata.stack, npdata.concatenate])
def test_headers_of_any_length_are_read_without_rows(
    tmp_path: Path, function, version: tuple[int, int], dtype
) -> None:
    for k in range(FILES):
        made = np.lib.format.open_memmap(
            tmp_path / f"{k}.npy", "w+", dtype, (ROWS,), version=version
        )
        made[-1] = k
        del made
    before = bytes_read()
    dataset = function(tmp_path)
    assert bytes_read() - before < FILES * 4096
    assert dataset.sources[0].dtype == np.dtype(dtype)
    last = dataset[-1]["column_7"] if dtype is RECORD else dataset[-1]
    assert last.reshape(-1)[-1] == FILES - 1
