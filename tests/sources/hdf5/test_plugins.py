"""Filters of hdf5plugin are there in every process without an import of it."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from processes import environment, run

pytest.importorskip("hdf5plugin")

WRITE = """
import sys
import h5py, hdf5plugin, numpy as np
with h5py.File(sys.argv[1], "w") as file:
    file.create_dataset("x", data=np.arange(400), chunks=(50,), compression=hdf5plugin.Blosc2())
    file.create_dataset("zstd", data=np.arange(400), chunks=(50,), compression=hdf5plugin.Zstd())
    file.create_dataset("plain", data=np.arange(400), chunks=(50,), compression="gzip")
"""

READ = """
import sys
import npdata
assert npdata.NumpyDataset(sys.argv[1] + "::plain")[[5]].tolist() == [5]
assert "hdf5plugin" not in sys.modules
assert npdata.NumpyDataset(sys.argv[1] + "::x")[[7, 3]].tolist() == [7, 3]
"""

LOAD = """
import sys
from torch.utils.data import DataLoader
import npdata

if __name__ == "__main__":
    import hdf5plugin
    ds = npdata.NumpyDataset(sys.argv[1] + "::x")
    loader = DataLoader(ds, 100, num_workers=1, collate_fn=npdata.collate,
                        multiprocessing_context=sys.argv[2])
    assert [int(batch[0]) for batch in loader] == [0, 100, 200, 300]
"""


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> str:
    path = str(tmp_path_factory.mktemp("plugins") / "d.h5")
    done = run(WRITE, path)
    assert done.returncode == 0, done.stderr
    return path


def test_a_missing_filter_is_registered_and_only_then(path: str) -> None:
    done = run(READ, path)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("method", ["spawn", "forkserver"])
def test_workers_have_the_filters_of_their_parent(tmp_path: Path, path: str, method: str) -> None:
    script = tmp_path / "load.py"
    script.write_text(LOAD)
    code = f"import runpy; runpy.run_path({str(script)!r}, run_name='__main__')"
    done = run(code, path, method)
    assert done.returncode == 0, done.stderr


def test_the_command_line_has_them(tmp_path: Path, path: str) -> None:
    command = [sys.executable, "-m", "npdata"]
    shown = subprocess.run(
        [*command, "inspect", f"{path}::x"], capture_output=True, text=True, env=environment()
    )
    assert "reading fails" not in shown.stdout
    done = subprocess.run(
        [*command, "convert", f"{path}::x", tmp_path / "x.npy"],
        capture_output=True,
        text=True,
        env=environment(),
    )
    assert done.returncode == 0, done.stderr
    assert np.load(tmp_path / "x.npy").tolist() == list(range(400))


@pytest.mark.slow
def test_without_the_package_the_error_says_what_to_install(path: str) -> None:
    code = "import sys; sys.modules['hdf5plugin'] = None; import npdata\n"
    code += "npdata.NumpyDataset(sys.argv[1] + '::x')"
    done = run(code, path)
    assert "has its filter 32026 (blosc2); a plugin for HDF5 may have it" in done.stderr
    assert "pip install hdf5plugin" in done.stderr


HIDDEN = """
import sys
sys.modules["hdf5plugin"] = None  # as if it were not installed
from npdata.cli.main import main
sys.exit(main(["bench", sys.argv[1] + "::zstd", "--seconds", "0.1", "--workers", "0"]))
"""


def test_bench_compares_with_h5py_where_npdata_needs_no_plugin(path: str) -> None:
    pytest.importorskip("numcodecs")
    options = ["--seconds", "0.1", "--workers", "0"]
    done = subprocess.run(
        [sys.executable, "-m", "npdata", "bench", f"{path}::zstd", *options],
        capture_output=True,
        text=True,
        env=environment(),
    )
    assert done.returncode == 0, done.stderr
    assert "every method gave" in " ".join(done.stdout.split())
    without = run(HIDDEN, path)
    assert without.returncode == 1
    assert "pip install hdf5plugin" in " ".join(without.stderr.split())
