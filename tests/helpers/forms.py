"""Fields in every form that samples have: beside rows `x` of a dataset, the field `other`.

They are ragged, sparse, text, records, packed and so on, in memory and in files.
"""

import itertools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import torch
from kinds import ROWS, Data, write

import npdata
from npdata import NumpyDataset

rng = np.random.default_rng(3)
LENGTHS = rng.integers(0, 6, ROWS)
OFFSETS = np.append(0, np.cumsum(LENGTHS))
VALUES = rng.integers(0, 99, (OFFSETS[-1], 2)).astype(np.int16)
COLUMNS = rng.integers(0, 7, OFFSETS[-1])
PARTS = (0, 40, 41, ROWS)


def ragged(form: str) -> Callable[[Data], Any]:
    return lambda d: NumpyDataset(
        x=d.x, other=npdata.ragged(VALUES, lengths=LENGTHS), ragged={"other": form}
    )


def sparse(layout: str, stored: bool) -> Callable[[Data], Any]:
    def make(data: Data) -> Any:
        other = f"{data.folder}/other.h5::X"
        if not stored:
            other = npdata.csr(VALUES[:, 0], COLUMNS, OFFSETS, (ROWS, 7))
        return NumpyDataset(x=data.x, other=other, layout={"other": layout})

    return make


def of_file(name: str, **options: Any) -> Callable[[Data], Any]:
    given = {option: {"other": value} for option, value in options.items()}
    return lambda d: NumpyDataset(x=d.x, other=f"{d.folder}/other.h5::{name}", **given)


def of_files(pattern: str, how: Callable[[str], Any]) -> Callable[[Data], Any]:
    return lambda d: NumpyDataset(x=d.x, other=how(f"{d.folder}/{pattern}"))


def summed(sample: dict[str, Any]) -> dict[str, Any]:
    """A sample of one shape, which depends on all of `other`."""
    other = sample["other"]
    return {**sample, "other": torch.tensor([*other.shape, int(other.sum())])}


FORMS: dict[str, Callable[[Data], Any]] = {
    "ragged, padded": ragged("padded"),
    "ragged, jagged": ragged("jagged"),
    "ragged, list": ragged("list"),
    "ragged of compressed values": lambda d: NumpyDataset(
        x=d.x, other=npdata.ragged(f"{d.folder}/other.h5::values", lengths=LENGTHS), padding=-1
    ),
    "hdf5 of variable length": of_file("tokens"),
    "files of variable length": of_files("tokens-*.h5::tokens", npdata.concatenate),
    "files of different lengths": of_files("lengths/*.npy", npdata.stack),
    "files of different shapes": lambda d: NumpyDataset(
        x=d.x, other=npdata.stack(f"{d.folder}/shapes/*.npy"), transform=summed
    ),
    "files of one shape": of_files("each/*.npy", npdata.stack),
    "files end to end": of_files("part-*.h5::x", npdata.concatenate),
    "sparse, dense": sparse("dense", stored=False),
    "sparse, csr": sparse("csr", stored=False),
    "sparse in a file, dense": sparse("dense", stored=True),
    "sparse in a file, csr": sparse("csr", stored=True),
    "text": of_file("text", dtype=str),
    "bytes": of_file("text", dtype=bytes),
    "categories": of_file("kind"),
    "records": of_file("records", columns=["id", "at.x", "at.y"]),
    "columns of records": of_file("records", columns=["name", "at.x"]),
    "one column": of_file("records", columns="at.x"),
    "packed, decoded": of_file("packed", decode="cf"),
    "packed, as stored": of_file("packed"),
    "compressed": lambda d: NumpyDataset(x=d.x, other=f"{d.folder}/d.h5::packed"),
    "in memory": lambda d: NumpyDataset(x=d.x, other=d.y),
}


def write_forms(folder: Path) -> Data:
    """Write the files of all kinds, and those of `kinds`."""
    data = write(folder)
    tokens = np.split(VALUES[:, 0], OFFSETS[1:-1])
    variable = h5py.vlen_dtype(np.int16)
    with h5py.File(data.folder / "other.h5", "w") as file:
        file.create_dataset("values", data=VALUES, chunks=(20, 2), compression=1)
        file.create_dataset("tokens", (ROWS,), variable)[:] = tokens
        file["text"] = [f"row {k}" for k in range(ROWS)]
        kind = file.create_group("kind")
        kind.attrs["encoding-type"] = "categorical"
        kind["codes"], kind["categories"] = (LENGTHS % 3 - 1).astype(np.int8), ["a", "b"]
        record = np.dtype([("id", "i4"), ("name", "S6"), ("at", [("x", "f4"), ("y", "f4")])])
        made = [(k, f"n{k}", (k / 2, -k)) for k in range(ROWS)]
        file.create_dataset("records", data=np.array(made, record), chunks=(10,), compression=1)
        packed = file.create_dataset("packed", data=LENGTHS.astype(np.int16))
        packed.attrs["scale_factor"], packed.attrs["_FillValue"] = 0.5, np.int16(3)
        matrix = file.create_group("X")
        matrix.attrs["encoding-type"], matrix.attrs["shape"] = "csr_matrix", (ROWS, 7)
        parts = {"data": VALUES[:, 0], "indices": COLUMNS, "indptr": OFFSETS}
        for name, part in parts.items():
            matrix.create_dataset(name, data=part, chunks=(16,), compression=1)
    for k, (first, stop) in enumerate(itertools.pairwise(PARTS)):
        with h5py.File(data.folder / f"tokens-{k}.h5", "w") as file:
            file.create_dataset("tokens", (stop - first,), variable)[:] = tokens[first:stop]
    for name in ("lengths", "shapes"):
        (data.folder / name).mkdir()
        for k, tokens_of in enumerate(tokens):
            shape = (len(tokens_of), 1 + k % 2 * (name == "shapes"))
            np.save(data.folder / name / f"{k}.npy", np.resize(tokens_of, shape))
    return data


def same(a: Any, b: Any) -> bool:
    """Whether two values of a sample or batch are of one kind, and hold the same."""
    if type(a) is not type(b):
        return False
    if isinstance(a, dict):
        return a.keys() == b.keys() and all(same(a[name], b[name]) for name in a)
    if isinstance(a, tuple | list):
        return len(a) == len(b) and all(map(same, a, b))
    if not isinstance(a, torch.Tensor):
        return bool(a == b)
    if a.layout != b.layout or a.dtype != b.dtype:
        return False
    if a.layout == torch.jagged:
        return same(list(a.unbind()), list(b.unbind()))
    if a.layout == torch.sparse_csr:
        a, b = a.to_dense(), b.to_dense()
    return a.shape == b.shape and np.array_equal(a.numpy(), b.numpy(), a.dtype.is_floating_point)
