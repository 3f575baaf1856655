"""Matrices of AnnData files are joined only where their columns are the same genes."""

import pickle
from pathlib import Path

import h5py
import numpy as np
import pytest

import npdata
from npdata.errors import FieldError

AS_IN_0_6 = "index of records"


def write(name: str, genes: list[str], index: str = "_index") -> None:
    with h5py.File(name, "w") as file:
        file["X"] = np.ones((2, len(genes)), np.float32)
        file["layers/counts"] = np.ones((2, len(genes)), np.int64)
        if index == AS_IN_0_6:
            file["var"] = np.array([(each,) for each in genes], [("index", "S9")])
            return
        var = file.create_group("var")
        var.attrs["_index"] = index
        var[index] = np.array(genes, "S9")


WAYS = {
    "from_hdf5": lambda member: npdata.NumpyDataset.from_hdf5("s*.h5ad", member),
    "concatenate": lambda member: npdata.concatenate(f"s*.h5ad::{member}"),
    "sum": lambda member: sum(npdata.NumpyDataset(f"s{k}.h5ad::{member}") for k in range(2)),
}


@pytest.mark.parametrize("member", ["X", "/X", "layers/counts"])
@pytest.mark.parametrize("way", WAYS)
def test_other_genes_and_another_order_are_refused(way: str, member: str, in_folder: Path) -> None:
    write("s0.h5ad", ["a", "b", "c"])
    write("s1.h5ad", ["a", "c", "b"], index="gene_ids")
    with pytest.raises(FieldError, match=r"s1\.h5ad has other .*column 1 is 'c', and 'b' there"):
        WAYS[way](member)
    write("s1.h5ad", ["a", "c", "b"], index=AS_IN_0_6)
    with pytest.raises(FieldError, match=r"s1\.h5ad has other .*column 1 is 'c', and 'b' there"):
        WAYS[way](member)
    for index in ("gene_ids", AS_IN_0_6):
        write("s1.h5ad", ["a", "b", "c"], index=index)
        assert len(WAYS[way](member)) == 4


@pytest.mark.parametrize("way", ["from_hdf5", "concatenate"])
def test_fewer_genes_are_named_as_such(way: str, in_folder: Path) -> None:
    write("s0.h5ad", ["a", "b", "c"])
    write("s1.h5ad", ["a", "b"])
    with pytest.raises(FieldError, match=r"s1\.h5ad has .*2 and 3 of them.*adata\[:, genes\]"):
        WAYS[way]("X")


@pytest.mark.parametrize("way", WAYS)
def test_a_file_without_names_of_genes_is_joined(way: str, in_folder: Path) -> None:
    write("s0.h5ad", ["a", "b"])
    with h5py.File("s1.h5ad", "w") as file:
        file["X"] = np.ones((2, 2), np.float32)
    assert len(WAYS[way]("X")) == 4


def test_sums_of_sums_and_of_windows_are_compared_too(in_folder: Path) -> None:
    for k, genes in enumerate(("ab", "ab", "ba")):
        write(f"s{k}.h5ad", list(genes))
    a, b, c = (npdata.NumpyDataset(f"s{k}.h5ad::X") for k in range(3))
    sent = pickle.loads(pickle.dumps((a, c)))
    for left, right in ((a + b, c), (a.windows(2), c.windows(2)), (a, c + c), sent):
        with pytest.raises(FieldError, match=r"s2\.h5ad has other genes than .*s0\.h5ad"):
            left + right


def test_no_part_speaks_for_the_genes_of_all(in_folder: Path) -> None:
    write("s0.h5ad", ["a", "b"])
    write("s1.h5ad", ["b", "a"])
    with h5py.File("s2.h5ad", "w") as file:
        file["X"] = np.ones((2, 2), np.float32)
    a, b, unnamed = (npdata.NumpyDataset(f"s{k}.h5ad::X") for k in range(3))
    array = npdata.NumpyDataset(np.ones((2, 2), np.float32))
    for first in (unnamed, array):
        with pytest.raises(FieldError, match=r"s1\.h5ad has other genes than .*s0\.h5ad"):
            first + a + b


def test_matrices_that_are_kept_decoded_are_compared_too(in_folder: Path) -> None:
    for k, genes in enumerate((["a", "b"], ["b", "a"])):
        write(f"s{k}.h5ad", genes)
        with h5py.File(f"s{k}.h5ad", "r+") as file:
            file.create_dataset("layers/packed", data=np.eye(2), chunks=(1, 2), compression=1)
            file.create_dataset("layers/other", data=np.eye(2), chunks=(1, 2), compression="lzf")
            sparse = file.create_group("layers/sparse")
            sparse.attrs["encoding-type"], sparse.attrs["shape"] = "csr_matrix", (2, 2)
            for name in ("data", "indices", "indptr"):
                values = np.arange(3 if name == "indptr" else 2)
                sparse.create_dataset(name, data=values, chunks=(2,), compression=1)
    for name in ("packed", "other", "sparse"):
        a, b = (npdata.NumpyDataset(f"s{k}.h5ad::layers/{name}", cache="ram") for k in range(2))
        joined = npdata.NumpyDataset(f"s0.h5ad::layers/{name}") + npdata.NumpyDataset(
            f"s0.h5ad::layers/{name}"
        )
        twice = npdata.NumpyDataset(joined.sources[0], cache="ram")
        for left in (a, twice):
            with pytest.raises(FieldError, match=r"s1\.h5ad has other genes than .*s0\.h5ad"):
                left + b


def test_codes_of_names_are_refused_where_rows_are_kept_decoded(in_folder: Path) -> None:
    with h5py.File("old.h5ad", "w") as file:
        rows = np.zeros(3, [("kind", "i1"), ("size", "i4")])
        file.create_dataset("obs", data=rows, chunks=(1,), compression=1)
        file["uns/kind_categories"] = np.array(["a", "b"], "S1")
    one = npdata.open_source("old.h5ad::obs")
    for source in (one, npdata.concatenate([one, one], columns="size").sources[0].rows):
        with pytest.raises(FieldError, match=r"column 'kind' of .* holds codes of names"):
            npdata.NumpyDataset(source, columns="kind", cache="ram")


def test_names_behind_a_link_to_another_file_are_not_read(in_folder: Path) -> None:
    write("s0.h5ad", ["a", "b"])
    write("s1.h5ad", ["b", "a"])
    with h5py.File("s1.h5ad", "r+") as file:
        del file["var"]
        file["var"] = h5py.ExternalLink("secret.h5", "/var")
    assert len(WAYS["from_hdf5"]("X")) == 4


def test_names_in_a_virtual_dataset_are_not_read(in_folder: Path) -> None:
    write("s0.h5ad", ["a", "b"])
    write("s1.h5ad", ["a", "b"])
    write("secret.h5", ["b", "a"])
    with h5py.File("s1.h5ad", "r+") as file:
        name = file["var"].attrs["_index"]
        layout = h5py.VirtualLayout((2,), file["var"][name].dtype)
        layout[:] = h5py.VirtualSource("secret.h5", f"var/{name}", shape=(2,))
        del file["var"][name]
        file["var"].create_virtual_dataset(name, layout)
    assert len(WAYS["from_hdf5"]("X")) == 4
