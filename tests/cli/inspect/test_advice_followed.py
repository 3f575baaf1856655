"""Whoever does what `npdata inspect` advises is rid of what it was advised for."""

import json
import shlex
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

import npdata
from npdata.cli.main import main

X = np.random.default_rng(0).integers(0, 9, (40_000, 7, 7), np.uint8)
GIANT = np.zeros((2, 5 << 20), np.float32)
LARGE = np.zeros((1000, 300_000), np.uint8)

Write = Callable[[], str]


def dataset(x: np.ndarray | None = X, **options: Any) -> Write:
    """Write a dataset of HDF5, with these options."""

    def write() -> str:
        with h5py.File("d.h5", "w") as file:
            file.create_dataset("a/x", data=x, **options)
        return "d.h5::a/x"

    return write


def gzip(*chunks: int, x: np.ndarray = X, **options: Any) -> Write:
    return dataset(x, chunks=chunks, compression=1, **options)


def npy() -> str:
    np.save("x.npy", np.asfortranarray(X))
    return "x.npy"


def npz(save: Callable[..., None], x: np.ndarray) -> Write:
    def write() -> str:
        save("d.npz", x=x)
        return "d.npz::x"

    return write


RANDOM, CUT, TINY, H5PY, ORDER, MEMBER = (
    "random rows decodes",
    "each row lies in",
    "to look one up costs more",
    "h5py reads it",
    "in Fortran order",
    "every process that reads it decodes",
)
"""What the advice says: each kind that names a command."""
FILE_OF = {
    "random": (RANDOM, 100_000, gzip(1000, 7, 7)),
    "random, by h5py": (RANDOM, 100_000, dataset(chunks=(1000, 7, 7), scaleoffset=0)),
    "cut": (CUT, 1 << 28, dataset(chunks=(1000, 7, 2))),
    "cut, compressed": (CUT, 400_000, gzip(1000, 2, 7)),
    "cut, of giant rows": (CUT, 1 << 28, gzip(1, 100_000, x=GIANT)),
    "tiny": (TINY, 1 << 28, gzip(10, 7, 7)),
    "tiny, in a tiny slab": (TINY, 100_000, gzip(10, 7, 7)),
    "h5py": (H5PY, 1 << 28, dataset(None, shape=X.shape, dtype="u1")),
    "h5py, in chunks": (H5PY, 1 << 28, dataset(chunks=(2, 7, 7), scaleoffset=0)),
    "order": (ORDER, 1 << 28, npy),
    "order, stored in a zip": (ORDER, 1 << 28, npz(np.savez, np.asfortranarray(X))),
    "member": (MEMBER, 1 << 28, npz(np.savez_compressed, np.asfortranarray(X))),
    "member, larger than the usual memory": (MEMBER, 1 << 28, npz(np.savez_compressed, LARGE)),
}


@pytest.mark.slow
@pytest.mark.parametrize("case", FILE_OF)
def test_what_is_advised_against_something_cures_it(
    in_folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    case: str,
) -> None:
    trouble, slab, write = FILE_OF[case]
    monkeypatch.setenv("NPDATA_CACHE_BYTES", str(slab))
    where = write()
    (sentence,) = (each for each in advice(where, capsys) if trouble in each)
    monkeypatch.setenv("COLUMNS", "30")
    command = sentence.split("\n")[1]
    assert command in [line.strip() for line in shown(where, capsys)]
    _, *words = shlex.split(command)
    assert main(words) == 0
    assert [each for each in advice(words[2], capsys) if trouble in each] == []


def test_a_call_for_many_arrays_is_one_line_on_a_narrow_screen(
    in_folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", "30")
    with h5py.File("d.h5", "w") as file:
        for k in range(60):
            file[f"a long name of a group/of many arrays/x{k}"] = X[:5]
    calls = [line.strip() for line in shown("d.h5", capsys) if "npdata.stack" in line]
    (found,) = [eval(call, {"npdata": npdata}) for call in calls]
    assert len(found) == 60


def shown(where: str, capsys: pytest.CaptureFixture[str]) -> list[str]:
    assert main(["inspect", where]) == 0
    return capsys.readouterr().out.splitlines()


def advice(where: str, capsys: pytest.CaptureFixture[str]) -> list[str]:
    capsys.readouterr()
    assert main(["inspect", "--json", where]) == 0
    ((found,),) = (file["datasets"] for file in json.loads(capsys.readouterr().out)["files"])
    return found["advice"]
