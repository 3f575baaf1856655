"""bfloat16 and float8: files keep their bits and forget their name, which dtype= gives back."""

from collections.abc import Callable
from pathlib import Path

import h5py
import ml_dtypes
import numpy as np
import pytest
import torch

from npdata import NumpyDataset, errors
from npdata.arrays.dtypes import ML_DTYPES, torch_dtype

VALUES = [1.5, -2, 0.25, 3, 1]


def hdf5(path: Path, array: np.ndarray, **options: object) -> str:
    if array.dtype == ml_dtypes.float8_e5m2:
        array = array.view("V1")  # h5py knows no such type
    with h5py.File(path / "d.h5", "w") as file:
        file.create_dataset("x", data=array, **options)
    return f"{path}/d.h5::x"


def npy(path: Path, array: np.ndarray) -> str:
    np.save(path / "x.npy", array)
    return f"{path}/x.npy"


def npz(path: Path, array: np.ndarray) -> str:
    np.savez_compressed(path / "d.npz", x=array)
    return f"{path}/d.npz::x"


WRITERS: dict[str, Callable[[Path, np.ndarray], str]] = {
    "npy": npy,
    "npz": npz,
    "hdf5, contiguous": hdf5,
    "hdf5, chunked": lambda path, array: hdf5(path, array, chunks=(2, 5)),
    "hdf5, compressed": lambda path, array: hdf5(path, array, chunks=(2, 3), compression=1),
    "hdf5, by h5py": lambda path, array: hdf5(path, array, maxshape=(7, None)),
}


@pytest.mark.parametrize("name", [name for name in ML_DTYPES if name != "float8_e8m0fnu"])
@pytest.mark.parametrize("kind", WRITERS)
def test_the_bits_are_read_as_the_dtype_asked_for(tmp_path: Path, kind: str, name: str) -> None:
    values = np.tile(VALUES, (7, 1))
    place = WRITERS[kind](tmp_path, values.astype(getattr(ml_dtypes, name)))
    ds = NumpyDataset(x=place, dtype={"x": torch_dtype(name)})
    assert ds[[6, 0]]["x"].dtype == torch_dtype(name)
    for rows in ([6, 0, 6], slice(None), slice(1, 6, 2)):
        assert ds[rows]["x"].float().tolist() == values[rows].tolist()
    assert ds[3]["x"].float().tolist() == VALUES
    for dtype in (None, torch.float32, torch.uint16):
        with pytest.raises(errors.ConversionError, match=rf"ask for dtype=.*torch\.{name}"):
            NumpyDataset(x=place, dtype=dtype)
