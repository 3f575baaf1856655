"""A name that an HDF5 file has not: the error says what was meant, and what to write."""

from pathlib import Path

import h5py
import numpy as np
import pytest

import npdata
from npdata.errors import MemberNotFoundError


@pytest.fixture
def cells(in_folder: Path) -> str:
    with h5py.File("cells.h5ad", "w") as file:
        x = file.create_group("X")
        x.attrs["encoding-type"], x.attrs["shape"] = "csr_matrix", (2, 3)
        x["data"], x["indices"], x["indptr"] = np.ones(1), np.zeros(1, int), np.array([0, 1, 1])
        kind = file.create_group("obs/cell_type")
        kind.attrs["encoding-type"] = "categorical"
        kind["codes"], kind["categories"] = np.zeros(2, np.int8), np.array([b"B"])
        file["obs/pct"] = np.zeros(2)
    return "cells.h5ad"


def test_a_group_that_is_one_array_is_listed_as_one_name(cells: str) -> None:
    with pytest.raises(MemberNotFoundError, match=r"it has 'X', 'obs/cell_type', 'obs/pct'; name"):
        npdata.NumpyDataset(cells)


@pytest.mark.parametrize("name", ["cell_type", "obs.cell_type", "obs/celltype", "OBS/Cell_Type"])
def test_the_name_that_was_meant(cells: str, name: str) -> None:
    with pytest.raises(MemberNotFoundError, match=r"; did you mean obs/cell_type\? it has 'X'"):
        npdata.NumpyDataset(f"{cells}::{name}")


def test_a_second_file_in_the_place_of_a_name(cells: str) -> None:
    Path("more.h5ad").touch()
    with pytest.raises(MemberNotFoundError, match=r"from_hdf5\(\['cells.h5ad', 'more.h5ad'\], "):
        npdata.NumpyDataset.from_hdf5(cells, "more.h5ad", "X")


@pytest.mark.parametrize("name", ["y" * 5000, "a\0b"])
def test_a_name_that_is_no_path(cells: str, name: str) -> None:
    with pytest.raises(MemberNotFoundError, match="it has 'X'"):
        npdata.NumpyDataset.from_hdf5(cells, name)


def test_a_broken_attribute_names_no_kind(cells: str) -> None:
    with h5py.File(cells, "r+") as file:
        file["obs"].attrs["encoding-type"] = np.bytes_(b"\xff")
    with pytest.raises(MemberNotFoundError, match="it has 'X', 'obs/cell_type', 'obs/pct'"):
        npdata.NumpyDataset(f"{cells}::y")
