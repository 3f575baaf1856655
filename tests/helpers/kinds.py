"""The same rows in every kind of source: what the contract tests run over."""

import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from torch.utils.data import Subset

import npdata
from npdata import NumpyDataset, open_source
from npdata.sources.concatenated.concat import ConcatSource

ROWS = 97
ODD_FROM_BEHIND = range(2 * ROWS - 1, 0, -2)


@dataclass(frozen=True)
class Data:
    """Where the files are, and the rows that all of them hold."""

    folder: Path
    x: np.ndarray
    y: np.ndarray


def write(folder: Path) -> Data:
    """Write x (ROWS, 3, 5) float32 and y (ROWS,) int64 in every format."""
    rng = np.random.default_rng(7)
    x = rng.standard_normal((ROWS, 3, 5)).astype(np.float32)
    y = rng.integers(-(1 << 40), 1 << 40, ROWS)
    np.save(folder / "x.npy", x)
    np.save(folder / "y.npy", y)
    np.save(folder / "fortran.npy", np.asfortranarray(x))
    np.save(folder / "big_endian.npy", x.astype(">f4"))
    np.savez(folder / "stored.npz", x=x, y=y)
    np.savez_compressed(folder / "packed.npz", x=x, y=y)
    x.tofile(folder / "x.bin")
    (folder / "odd.bin").write_bytes(b"!" + x.tobytes())
    with h5py.File(folder / "d.h5", "w") as file:
        file["group/x"] = x
        file["y"] = y
        file.create_dataset("chunked", data=x, chunks=(10, 3, 5))
        file.create_dataset("tiles", data=x, chunks=(10, 2, 2))
        file.create_dataset("packed", data=x, chunks=(10, 3, 5), compression=4, shuffle=True)
        file.create_dataset("packed tiles", data=x, chunks=(10, 2, 2), compression=1)
        file.create_dataset("two axes", data=x[None], chunks=(1, 10, 2, 5), compression=1)
        last = np.moveaxis(x, 0, -1)
        file.create_dataset("rows last", data=last, chunks=(3, 2, 10), compression=1)
    for part, rows in enumerate((slice(0, 40), slice(40, 41), slice(41, None))):
        with h5py.File(folder / f"part-{part}.h5", "w") as file:
            file["x"] = x[rows]
    (folder / "each").mkdir()
    for row, values in enumerate(x):
        np.save(folder / f"each/{row}.npy", values)
    (folder / "parts").mkdir()
    for part, rows in enumerate((slice(0, 40), slice(40, 41), slice(41, None))):
        np.save(folder / f"parts/{part}.npy", x[rows])
    return Data(folder=folder, x=x, y=y)


FILE_KINDS: dict[str, Callable[[Data], Any]] = {
    "npy": lambda d: d.folder / "x.npy",
    "npy in Fortran order": lambda d: d.folder / "fortran.npy",
    "npz, stored": lambda d: f"{d.folder}/stored.npz::x",
    "npz, compressed": lambda d: f"{d.folder}/packed.npz::x",
    "raw": lambda d: open_source(d.folder / "x.bin", dtype="f4", shape=(-1, 3, 5)),
    "memmap": lambda d: np.load(d.folder / "x.npy", mmap_mode="r"),
    "memmap, writable": lambda d: np.load(d.folder / "x.npy", mmap_mode="r+"),
    "memmap, copy-on-write": lambda d: np.load(d.folder / "x.npy", mmap_mode="c"),
    "view of a memmap": lambda d: np.load(d.folder / "x.npy", mmap_mode="r")[::-1][::-1],
    "strided view of a memmap": lambda d: np.asarray(
        np.lib.stride_tricks.as_strided(np.load(d.folder / "x.npy", mmap_mode="r"))
    ),
    "hdf5, contiguous": lambda d: f"{d.folder}/d.h5::group/x",
    "hdf5, chunked": lambda d: f"{d.folder}/d.h5::chunked",
    "hdf5, tiles": lambda d: f"{d.folder}/d.h5::tiles",
    "hdf5, compressed": lambda d: f"{d.folder}/d.h5::packed",
    "hdf5, kept in a folder": lambda d: kept(d, "packed", cache=f"{d.folder}-cache"),
    "hdf5, tiles kept in a folder": lambda d: kept(d, "packed tiles", cache=f"{d.folder}-cache"),
    "hdf5, kept in memory": lambda d: kept(d, "packed", cache="ram"),
    "hdf5, rows last, kept": lambda d: kept(d, "rows last", cache=f"{d.folder}-cache", axis=-1),
    "hdf5, rows of two axes": lambda d: kept(d, "two axes", axis=(0, 1)),
    "hdf5, several files": lambda d: ConcatSource(
        [open_source(f"{d.folder}/part-{k}.h5::x") for k in range(3)]
    ),
    "hdf5, chosen rows": lambda d: chosen(d.folder / "d.h5::packed", range(ROWS)),
    "a file for each row": lambda d: npdata.stack(d.folder / "each").sources[0],
    "npy, several files": lambda d: npdata.concatenate(d.folder / "parts").sources[0],
}

if sys.platform != "linux":
    # One is refused there, the other is not sent to workers: tests/test_other_systems.py.
    del FILE_KINDS["hdf5, kept in memory"], FILE_KINDS["memmap, copy-on-write"]

MEMORY_KINDS: dict[str, Callable[[Data], Any]] = {
    "array": lambda d: d.x.copy(),
    "read-only array": lambda d: np.frombuffer(d.x.tobytes(), np.float32).reshape(d.x.shape),
    "array in Fortran order": lambda d: np.asfortranarray(d.x),
    "reversed array": lambda d: d.x[::-1].copy()[::-1],
    "every second row": lambda d: np.repeat(d.x, 2, axis=0)[::2],
    "misaligned array": lambda d: misaligned(d.x),
    "array, rows of two axes": lambda d: NumpyDataset(
        np.ascontiguousarray(np.moveaxis(d.x[None], 1, -1)), axis=(0, -1)
    ).sources[0],
    "chosen rows of an array": lambda d: chosen(np.repeat(d.x, 2, axis=0)[::-1], ODD_FROM_BEHIND),
    "columns of an array": lambda d: np.pad(d.x, ((0, 0), (0, 0), (1, 2)))[:, :, 1:-2],
}

KINDS = FILE_KINDS | MEMORY_KINDS


def kept(data: Data, name: str, **options: Any) -> Any:
    """A source of a dataset of HDF5 that is decoded once."""
    return NumpyDataset(f"{data.folder}/d.h5::{name}", **options).sources[0]


def chosen(rows: Any, numbers: range) -> Any:
    """A source of the rows with these numbers."""
    return NumpyDataset(Subset(NumpyDataset(rows), numbers)).sources[0]


def misaligned(array: np.ndarray) -> np.ndarray:
    """Copy an array to an odd address."""
    buffer = np.zeros(array.nbytes + 1, np.uint8)
    buffer[1:] = array.reshape(-1).view(np.uint8)
    return buffer[1:].view(array.dtype).reshape(array.shape)


def dataset(kind: str, data: Data) -> NumpyDataset:
    """A dataset of bare rows of x, from a source of this kind."""
    return NumpyDataset(KINDS[kind](data))
