"""What is read of many files to know them: their headers, and no row behind them."""

import sys
from pathlib import Path

import h5py
import numpy as np
import pytest

import npdata
from npdata.errors import SourceError

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


@pytest.mark.skipif(sys.platform != "linux", reason="asks /proc")
@pytest.mark.parametrize("options", [{}, {"chunks": (4, 2), "compression": "gzip"}], ids=str)
@pytest.mark.parametrize("function", [npdata.stack, npdata.concatenate])
def test_an_hdf5_file_is_opened_once_for_all_its_datasets(
    tmp_path: Path, function, options
) -> None:
    path, count = tmp_path / "d.h5", 100
    with h5py.File(path, "w") as file:
        for k in range(count):
            file.create_dataset(f"{k}", data=np.full((8, 2), k, "f4"), **options)
    npdata.NumpyDataset(f"{path}::0")
    before = bytes_read()
    data = function(f"{path}::*")
    assert bytes_read() - before < 4 * path.stat().st_size
    for _ in range(2):
        before = bytes_read()
        rows = data[:].numpy().reshape(count, 8, 2)
        assert (rows == np.arange(count)[:, None, None]).all()
    assert bytes_read() - before < 2 * rows.nbytes


def test_one_value_and_an_array_that_is_wrong_are_looked_at_by_themselves(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "d.h5", "w") as file:
        file["x/0"], file["x/1"], file["y/0"], file["y/1"] = 3, 4, [1, 2], h5py.Empty("f4")
    assert npdata.stack(f"{tmp_path}/d.h5::x/*")[:].tolist() == [3, 4]
    with pytest.raises(SourceError, match=r"d\.h5::/y/1 is a null dataset"):
        npdata.stack(f"{tmp_path}/d.h5::y/*")
