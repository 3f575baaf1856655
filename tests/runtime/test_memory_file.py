"""A file in memory is there on Linux, whatever Python was built beside."""

import errno
import os
import sys
from pathlib import Path

import pytest
from processes import run

from npdata.runtime.memory_file import memory_file

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="has none")

WITHOUT = """
import os
if hasattr(os, "memfd_create"):
    del os.memfd_create
"""


def test_its_memory_is_shown_by_its_name() -> None:
    descriptor = memory_file("mine")
    assert str(Path(f"/proc/self/fd/{descriptor}").readlink()).startswith("/memfd:mine")
    os.close(descriptor)


def test_python_need_not_have_the_function() -> None:
    done = run(
        f"""{WITHOUT}
from pathlib import Path
from npdata.runtime.memory_file import memory_file
descriptor = memory_file("mine")
print(os.get_inheritable(descriptor), Path(f"/proc/self/fd/{{descriptor}}").readlink())
import resource
resource.setrlimit(resource.RLIMIT_NOFILE, (descriptor, descriptor))
try:
    memory_file("mine")
except OSError as error:
    print(error.errno)
"""
    )
    assert (done.returncode, done.stderr) == (0, "")
    inheritable, name, *_, number = done.stdout.split()
    assert (inheritable, name, int(number)) == ("False", "/memfd:mine", errno.EMFILE)


def test_rows_are_kept_in_it_and_workers_send_batches_in_it(tmp_path: Path) -> None:
    done = run(
        f"""{WITHOUT}
from pathlib import Path
import h5py
import numpy as np
from torch.utils.data import DataLoader
import npdata
with h5py.File({str(tmp_path / "d.h5")!r}, "w") as file:
    file.create_dataset("x", data=np.ones((64, 4096)), chunks=(8, 4096), compression=1)
ds = npdata.NumpyDataset.from_hdf5({str(tmp_path / "d.h5")!r}, "x", cache="ram")
loader = DataLoader(ds, 16, num_workers=1, collate_fn=npdata.collate)
for epoch in range(2):
    for batch in loader:
        assert (batch == 1).all()
ds[[0]]
maps = Path("/proc/self/maps").read_text()
print("memfd:npdata-cache" in maps, "memfd:npdata " in maps)
"""
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == "True True\n"
