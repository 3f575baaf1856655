"""Whatever ends a conversion, nothing half-written is left: signals, full and read-only disks."""

import errno
import os
import resource
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
from conversions import convert, signalled

from npdata.cli.convert.formats import NPY, Array, ConvertError
from npdata.cli.convert.transfer import Pace, verify_array
from npdata.sources.open import open_source


@pytest.fixture(scope="module")
def noise(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file of 40 MB that does not get smaller."""
    path = tmp_path_factory.mktemp("noise") / "x.npy"
    np.save(path, np.random.default_rng(0).integers(0, 256, (10_000, 4000), dtype=np.uint8))
    return path


@pytest.fixture(scope="module")
def long(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file of 8 GB, none of them on the disk, which take 28 s of a core to compress."""
    path = tmp_path_factory.mktemp("long") / "x.npy"
    np.lib.format.open_memmap(path, "w+", np.uint8, (2_000_000, 4000))
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


@contextmanager
def largest_file(size: int) -> Iterator[None]:
    """Let no file of this process get larger."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


@pytest.mark.parametrize(
    "number, code", [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129)]
)
def test_a_signal_in_the_middle_leaves_nothing(
    long: Path, tmp_path: Path, number: int, code: int
) -> None:
    (tmp_path / "y.h5").write_text("precious")
    how = ("--compression", "gzip:9", "--force")
    status, shown = signalled(long, tmp_path / "y.h5", *how, number=number)
    assert status == code
    assert [path.name for path in tmp_path.iterdir()] == ["y.h5"]
    assert (tmp_path / "y.h5").read_text() == "precious"
    assert "write" in shown
    assert "Traceback" not in shown


@pytest.mark.parametrize("how", [("y.npy",), ("y.h5", "--compression", "gzip"), ("y.npz",)])
def test_a_full_disk_leaves_nothing(
    noise: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], how: tuple[str, ...]
) -> None:
    with mounted(tmp_path, "size=20m"):
        assert convert(noise, tmp_path / how[0], *how[1:]) == 1
        assert list(tmp_path.iterdir()) == []
    (error,) = capsys.readouterr().err.splitlines()
    assert ("No space left" if "gzip" in how else "the disk has 21 MB free") in error


@pytest.mark.parametrize(
    "how",
    [
        *[("y.npy",), ("y.bin",), ("y.npz",), ("y.npz", "--compression", "gzip:1"), ("y.h5",)],
        *[("y.h5", "--chunks", "none"), ("y.h5", "--compression", "gzip")],
    ],
)
def test_a_disk_that_fills_up_meanwhile_leaves_what_was_there(
    noise: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], how: tuple[str, ...]
) -> None:
    target = tmp_path / how[0]
    target.write_text("precious")
    with largest_file(20 << 20):
        assert convert(noise, target, *how[1:], "--force") == 1
    (error,) = capsys.readouterr().err.splitlines()
    assert error == f"npdata convert: {target}: File too large"
    assert list(tmp_path.iterdir()) == [target]
    assert target.read_text() == "precious"


def test_a_read_only_disk_is_an_error(
    noise: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with mounted(tmp_path, "ro"):
        assert convert(noise, tmp_path / "y.h5") == 1
    assert "y.h5: Read-only file system" in capsys.readouterr().err


@pytest.mark.parametrize("step", ["fsync", "close"])
def test_a_disk_that_reports_late_that_it_took_nothing_leaves_nothing(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    step: str,
) -> None:
    """As network file systems do; no disk at hand can be made to."""
    path, target = _small(tmp_path / "x.npy"), tmp_path / "y.npy"
    working = getattr(os, step)

    def fail(descriptor: int) -> None:
        part = Path(f"/proc/self/fd/{descriptor}").readlink()
        working(descriptor)
        if part.suffix == ".part" and part.stat().st_size:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, step, fail)
    assert convert(path, target) == 1
    assert capsys.readouterr().err == f"npdata convert: {target}: No space left on device\n"
    assert list(tmp_path.iterdir()) == [path]


def test_a_copy_that_differs_is_found(tmp_path: Path) -> None:
    path = _small(tmp_path / "x.npy")
    assert convert(path, tmp_path / "y.npy") == 0
    with (tmp_path / "y.npy").open("r+b") as file:
        file.seek(128 + 1234 * 16 + 9)
        file.write(b"!")
    how = Pace(threads=2, block_bytes=1000 * 16, cache_bytes=0)
    array = Array(name="x", source=open_source(path))
    with pytest.raises(ConvertError, match=r"row 1234 of .*x\.npy differs from its copy"):
        verify_array(array, tmp_path / "y.npy", NPY, how, lambda count: None)


def _small(path: Path) -> Path:
    np.save(path, np.random.default_rng(0).standard_normal((5000, 2)))
    return path
