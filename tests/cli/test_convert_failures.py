"""Whatever ends a conversion, nothing half-written is left: signals, full and read-only disks."""

import resource
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
from conversions import convert, run, signalled

from npdata.cli.convert.plan import ConvertError
from npdata.cli.convert.verify import verify_field
from npdata.cli.convert.writer import FieldPlan
from npdata.sources.opening import open_source


@pytest.fixture(scope="module")
def noise(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file that takes long to compress: 128 MB that do not get smaller."""
    path = tmp_path_factory.mktemp("noise") / "x.npy"
    block = np.random.default_rng(0).integers(0, 256, (1000, 4000), dtype=np.uint8)
    np.save(path, np.broadcast_to(block, (32, 1000, 4000)).reshape(-1, 4000))
    return path


@contextmanager
def mounted(folder: Path, options: str) -> Iterator[None]:
    mount = ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(folder)]
    if subprocess.run(mount, check=False, capture_output=True).returncode != 0:
        pytest.skip("a disk of its own takes the right to mount one")
    try:
        yield
    finally:
        subprocess.run(["umount", str(folder)], check=True)


@pytest.mark.parametrize("number, code", [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_in_the_middle_leaves_nothing(
    noise: Path, tmp_path: Path, number: int, code: int
) -> None:
    (tmp_path / "y.h5").write_text("precious")
    how = ("--compression", "gzip:9", "--force")
    status, shown = signalled(noise, tmp_path / "y.h5", *how, number=number)
    assert status == code
    assert [path.name for path in tmp_path.iterdir()] == ["y.h5"]
    assert (tmp_path / "y.h5").read_text() == "precious"
    assert "write" in shown
    assert "Traceback" not in shown


@pytest.mark.parametrize("how", [("y.npy",), ("y.h5", "--compression", "gzip"), ("y.npz",)])
def test_a_full_disk_leaves_nothing(noise: Path, tmp_path: Path, how: tuple[str, ...]) -> None:
    with mounted(tmp_path, "size=20m"):
        done = run(noise, tmp_path / how[0], *how[1:])
        left = list(tmp_path.iterdir())
    assert done.returncode == 1
    assert ("No space left" if "gzip" in how else "the disk has 21 MB free") in done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert left == []


@pytest.mark.parametrize(
    "how", [("y.npy",), ("y.bin",), ("y.npz",), ("y.h5",), ("y.h5", "--compression", "gzip")]
)
def test_a_disk_that_fills_up_meanwhile_leaves_nothing(
    noise: Path, tmp_path: Path, how: tuple[str, ...]
) -> None:
    def limit() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (20 << 20, 20 << 20))

    done = run(noise, tmp_path / how[0], *how[1:], preexec_fn=limit)
    assert done.returncode == 1
    assert "File too large" in done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert list(tmp_path.iterdir()) == []


def test_a_read_only_disk_is_an_error(noise: Path, tmp_path: Path) -> None:
    with mounted(tmp_path, "ro"):
        done = run(noise, tmp_path / "y.h5")
    assert done.returncode == 1
    assert "Read-only file system" in done.stderr


def test_a_copy_that_differs_is_found(tmp_path: Path) -> None:
    path = _small(tmp_path / "x.npy")
    assert convert(path, tmp_path / "y.npy") == 0
    with (tmp_path / "y.npy").open("r+b") as file:
        file.seek(128 + 1234 * 16 + 9)
        file.write(b"!")
    field = FieldPlan(name="x", shape=(5000, 2), dtype=np.dtype("f8"), block_rows=1000)
    with pytest.raises(ConvertError, match=r"row 1234 of .*x\.npy differs from its copy"):
        verify_field(open_source(path), field, tmp_path / "y.npy", 2, lambda count: None)


def _small(path: Path) -> Path:
    np.save(path, np.random.default_rng(0).standard_normal((5000, 2)))
    return path
