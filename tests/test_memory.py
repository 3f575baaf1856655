"""What it costs to open a file that is larger than memory, measured in a process of its own."""

import subprocess
import sys
from pathlib import Path

import pytest

SPARSE = """
import pathlib, sys
import numpy as np, torch, npdata
path, rows = sys.argv[1], (60 << 30) // 4096
with open(path, "wb") as file:
    fields = {"descr": "<f4", "fortran_order": False, "shape": (rows, 1024)}
    np.lib.format.write_array_header_1_0(file, fields)
    start = file.tell()
    file.write(np.full(1024, 1, "<f4").tobytes())
    file.seek(start + (rows - 1) * 4096)
    file.write(np.full(1024, 2, "<f4").tobytes())
def peak():  # of this process: getrusage begins with that of its parent
    lines = pathlib.Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM:"))
pathlib.Path("/proc/self/clear_refs").write_text("5")  # the peak begins at what is resident now
before = peak()
ds = npdata.NumpyDataset(path)
assert len(ds) == rows
assert ds[0].sum() == 1024 and ds[-1].sum() == 2048
assert ds[[0, -1, rows // 2]].sum(1).tolist() == [1024, 2048, 0]
assert ds.describe().fields[0].conversion == "view"
ds[0].fill_(5)
print(peak() - before)
"""


@pytest.mark.skipif(
    sys.platform != "linux", reason="sparse files and peak memory as Linux has them"
)
def test_a_file_of_60_gib_is_opened_in_place(tmp_path: Path) -> None:
    path = tmp_path / "sparse.npy"
    done = subprocess.run(
        [sys.executable, "-c", SPARSE, str(path)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) < 200 * 1024
    with path.open("rb") as file:
        file.seek(128)
        assert file.read(4) == b"\x00\x00\x80?"
