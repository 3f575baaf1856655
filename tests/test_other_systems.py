"""Where the system has only what macOS has, rows are the same, and what cannot be is refused."""

import subprocess
import sys
from pathlib import Path

import h5py
import numpy as np
import pytest
from processes import HANG, environment, run

HELPERS = str(Path(__file__).parent / "helpers")

READ_ALL = """
import bare_system
import multiprocessing
import sys
from pathlib import Path
import numpy as np
from kinds import KINDS, write
from torch.utils.data import DataLoader
import npdata

def main():
    data = write(Path(sys.argv[1]))
    here = {kind: make(data) for kind, make in KINDS.items()}
    ds = npdata.NumpyDataset(here)
    assert multiprocessing.get_start_method() == "spawn"
    workers = DataLoader(ds, 32, num_workers=1, collate_fn=npdata.collate)
    for loader in (workers, npdata.Loader(ds, 32)):
        batches = list(loader)
        for kind in here:
            rows = np.concatenate([batch[kind].numpy() for batch in batches])
            assert np.array_equal(rows, data.x), (kind, loader)
    print(len(here))

if __name__ == "__main__":
    main()
"""


@pytest.mark.slow
def test_every_kind_of_source_gives_its_rows_also_to_spawned_workers(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "read_all.py").write_text(READ_ALL)
    variables = environment()
    variables["PYTHONPATH"] += f":{HELPERS}"
    done = subprocess.run(
        [sys.executable, "-W", "error", tmp_path / "read_all.py", tmp_path / "data"],
        env=variables,
        capture_output=True,
        text=True,
        timeout=HANG,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert int(done.stdout) > 20


def test_memory_for_all_processes_is_refused_where_rows_are_decoded(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "d.h5", "w") as file:
        file["plain"] = np.zeros(4)
        file.create_dataset("packed", data=np.zeros(4), chunks=(2,), compression=1)
    done = run(
        f"""
import bare_system
import npdata
npdata.NumpyDataset.from_hdf5({str(tmp_path / "d.h5")!r}, "plain", cache="ram")
try:
    npdata.NumpyDataset.from_hdf5({str(tmp_path / "d.h5")!r}, "packed", cache="ram")
except ValueError as error:
    print(error)
"""
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert "only Linux has it: give a folder" in done.stdout


@pytest.mark.parametrize(
    "before, mode, said",
    [
        ("", "r", ""),
        ("", "c", "in mode 'c' may have been written to, which this system does not tell"),
        ("path.unlink(); np.save(path, np.ones(9))", "r", "another has taken its place"),
    ],
)
def test_a_map_goes_to_another_process_only_if_that_finds_its_rows(
    tmp_path: Path, before: str, mode: str, said: str
) -> None:
    np.save(tmp_path / "x.npy", np.arange(9.0))
    done = run(
        f"""
import bare_system
import pickle
from pathlib import Path
import numpy as np
import npdata
path = Path({str(tmp_path / "x.npy")!r})
ds = npdata.NumpyDataset(np.load(path, mmap_mode={mode!r}))
{before}
try:
    assert (pickle.loads(pickle.dumps(ds))[:].numpy() == np.arange(9)).all()
except ValueError as error:
    print(error)
"""
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert said in done.stdout
    assert bool(said) == bool(done.stdout)
