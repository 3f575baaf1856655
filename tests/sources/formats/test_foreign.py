"""Files of other formats are named, with what to do, and never called damaged or raw."""

import gzip
import json
import tarfile
import wave
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from processes import run

from npdata import NumpyDataset, errors, stack

X = np.arange(12, dtype=np.float32).reshape(4, 3)


def netcdf(path: Path) -> None:
    scipy_io = pytest.importorskip("scipy.io")
    with scipy_io.netcdf_file(path, "w") as file:
        file.createDimension("row", 4)
        file.createVariable("x", "f4", ("row",))[:] = X[:, 0]


def matlab(path: Path) -> None:
    pytest.importorskip("scipy.io").savemat(path, {"x": X}, appendmat=False)


def parquet(path: Path) -> None:
    pa = pytest.importorskip("pyarrow")
    pytest.importorskip("pyarrow.parquet").write_table(pa.table({"x": X[:, 0]}), path)


def arrow(path: Path) -> None:
    pa = pytest.importorskip("pyarrow")
    pytest.importorskip("pyarrow.feather").write_feather(pa.table({"x": X[:, 0]}), str(path))


def wav(path: Path) -> None:
    with wave.open(str(path), "wb") as sound:
        sound.setparams((1, 2, 16_000, 4, "NONE", ""))
        sound.writeframes(bytes(8))


def tar(path: Path) -> None:
    np.save(path.with_name("x.npy"), X)
    with tarfile.open(path, "w") as archive:
        archive.add(path.with_name("x.npy"))


def zarr_zip(path: Path) -> None:
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("zarr.json", '{"zarr_format": 3}')


def other_zip(path: Path) -> None:
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("notes.txt", "hello")


def zarr(version: int) -> Callable[[Path], None]:
    def write(path: Path) -> None:
        path.mkdir()
        name = "zarr.json" if version == 3 else ".zgroup"
        (path / name).write_text(json.dumps({"zarr_format": version, "node_type": "group"}))

    return write


def zarr_json(path: Path) -> None:
    path.write_text(json.dumps({"zarr_format": 3, "node_type": "array"}))


KINDS: dict[str, tuple[str, Callable[[Path], None], str]] = {
    "netCDF-3": ("x.nc", netcdf, "netCDF-3: `nccopy -k nc4"),
    "netCDF-3, named HDF5": ("x.h5", netcdf, "netCDF-3: `nccopy -k nc4"),
    "MATLAB": ("x.mat", matlab, r"MATLAB file of version 5: save it with -v7\.3"),
    "torch.save": ("x.pt", lambda path: torch.save(torch.zeros(3), path), r"torch\.load it"),
    "torch.save, old": (
        "x.pth",
        lambda path: torch.save(torch.zeros(3), path, _use_new_zipfile_serialization=False),
        r"torch\.load it",
    ),
    "torch.save, named npz": (
        "x.npz",
        lambda path: torch.save(torch.zeros(3), path),
        r"torch\.load it",
    ),
    "gzip": ("x.npy.gz", lambda path: path.write_bytes(gzip.compress(b"x")), "gzip: unpack it"),
    "gzip, named npy": ("x.npy", lambda p: p.write_bytes(gzip.compress(b"x")), "gzip: unpack it"),
    "png": (
        "x.png",
        lambda p: p.write_bytes(b"\x89PNG\r\n\x1a\n..."),
        "an image: decode each once",
    ),
    "wav": ("x.wav", wav, "sound or video: decode each once"),
    "csv": ("x.csv", lambda p: p.write_text("id,age\na,3\n"), r"pandas\.read_csv\(path\)"),
    "numbers as text": ("x.dat", lambda p: np.savetxt(p, X), r"np\.loadtxt\(path\)"),
    "numbers and NaN": (
        "x.dat",
        lambda p: p.write_text("8.38 0 NaN\n8.39 nan 30\n"),
        r"np\.loadtxt\(path\)",
    ),
    "NIfTI": ("x.nii", lambda p: p.write_bytes(bytes(344) + b"n+1\0" + bytes(9)), r"nibabel\.load"),
    "DICOM": ("x.dcm", lambda p: p.write_bytes(bytes(128) + b"DICM" + bytes(9)), "pydicom.dcmread"),
    "tar": ("x.tar", tar, "tar archive: unpack it first, or read it with webdataset"),
    "parquet": ("x.parquet", parquet, r"pyarrow\.parquet\.read_table"),
    "arrow": ("x.feather", arrow, r"pyarrow\.feather\.read_table"),
    "zarr 2": ("x.zarr", zarr(2), r"Zarr, .* open it with zarr\.open"),
    "zarr 3": ("x.zarr", zarr(3), r"Zarr, .* open it with zarr\.open"),
    "zarr in a zip": ("x.zarr.zip", zarr_zip, r"Zarr, .* open it with zarr\.open"),
    "zarr.json": ("zarr.json", zarr_json, r"Zarr, .* open it with zarr\.open"),
    "another zip": ("x.npz", other_zip, r"no \.npz, since nothing in it is a \.npy .*'notes\.txt'"),
}


@pytest.mark.parametrize("kind", KINDS)
def test_the_error_names_the_format_and_what_to_do(tmp_path: Path, kind: str) -> None:
    name, write, reason = KINDS[kind]
    write(tmp_path / name)
    with pytest.raises(errors.FormatError, match=reason):
        NumpyDataset(tmp_path / name)
    with pytest.raises(errors.FormatError, match=reason):
        stack(tmp_path / name)
    if name.endswith(".npz"):
        with pytest.raises(errors.FormatError, match=reason):
            NumpyDataset.from_npz(tmp_path / name)
    if (tmp_path / name).is_file():
        with pytest.raises(errors.FormatError, match=reason):
            NumpyDataset.from_hdf5(tmp_path / name, "x")


def test_files_of_numpy_that_are_opened_as_hdf5(tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", np.zeros(3))
    np.savez(tmp_path / "x.npz", x=np.zeros(3))
    for name, cure in (("x.npy", r"NumpyDataset\(path\)"), ("x.npz", "from_npz")):
        with pytest.raises(errors.FormatError, match=cure):
            NumpyDataset.from_hdf5(tmp_path / name, "x")


def test_inspect_names_them_too_and_raw_bytes_may_begin_so(tmp_path: Path) -> None:
    (tmp_path / "x.gz").write_bytes(gzip.compress(bytes(100)))
    code = "import sys; from npdata.cli.main import main; sys.exit(main(sys.argv[1:]))"
    assert "compressed by gzip" in " ".join(
        run(code, "inspect", str(tmp_path / "x.gz")).stdout.split()
    )
    assert len(NumpyDataset.from_raw(tmp_path / "x.gz", dtype="u1")) > 10
