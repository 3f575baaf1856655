"""Groups that stand for one array are opened by name or as h5py has them open, with their cures."""

import pickle
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import scipy.sparse
from torch.utils.data import DataLoader

import npdata
from npdata import NumpyDataset
from npdata.errors import ExternalDataError, FieldError, MemberNotFoundError, UnsupportedSourceError

ROWS, COLUMNS = 30, 7
X = scipy.sparse.random(ROWS, COLUMNS, 0.4, format="csr", dtype=np.float32, random_state=0)
CODES = np.arange(ROWS, dtype=np.int8) % 4 - 1
PARTS = ("data", "indices", "indptr")


def write_sparse(group: h5py.Group, m: Any, kind: str | None = None) -> None:
    for part in PARTS:
        group[part] = getattr(m, part)
    if kind is not None:
        group.attrs["encoding-type"], group.attrs["shape"] = kind, m.shape


def write_categorical(group: h5py.Group, categories: Any) -> None:
    group.attrs["encoding-type"] = "categorical"
    codes = np.minimum(CODES, len(categories) - 1)
    group["codes"], group["categories"] = codes, categories


@pytest.fixture
def path(tmp_path: Path) -> Path:
    with h5py.File(tmp_path / "cells.h5ad", "w") as file:
        write_sparse(file.create_group("X"), X, "csr_matrix")
        write_sparse(file.create_group("layers/csc"), X.tocsc(), "csc_matrix")
        write_categorical(file.create_group("obs/kind"), np.array([b"B", b"T", b"NK"]))
    return tmp_path / "cells.h5ad"


class TestOpenGroups:
    @pytest.mark.parametrize("mode", ["r", "r+"])
    @pytest.mark.parametrize("form", ["alone", "several", "named", "mapping", "source"])
    def test_an_open_group_is_what_its_name_is(self, path: Path, mode: str, form: str) -> None:
        with h5py.File(path, mode) as file:
            x, kind = file["X"], file["obs/kind"]
            ds = {
                "alone": lambda: NumpyDataset(x),
                "several": lambda: NumpyDataset(x, kind),
                "named": lambda: NumpyDataset(x=x, kind=kind),
                "mapping": lambda: NumpyDataset({"x": x, "kind": kind}),
                "source": lambda: NumpyDataset(npdata.open_source(x)),
            }[form]()
            read = ds[[4, -1, 4]]
            labels = {"several": 1, "named": "kind", "mapping": "kind"}
        rows = [4, -1, 4]
        if form in labels:
            assert ds.fields[labels[form]].categories == ("B", "T", "NK")
            assert read[labels[form]].tolist() == CODES[rows].tolist()
            read = read[0 if form == "several" else "x"]
        assert read.tolist() == X.toarray()[rows].tolist()
        if mode == "r":  # to close the other changes the file
            assert len(pickle.loads(pickle.dumps(ds))) == ROWS

    def test_workers_open_the_group_again(self, path: Path) -> None:
        with h5py.File(path) as file:
            ds = NumpyDataset(file["X"])
            loader = DataLoader(ds, 8, num_workers=2, collate_fn=npdata.collate)
            rows = [row for batch in loader for row in batch.tolist()]
        assert rows == X.toarray().tolist()

    def test_an_open_frame_is_still_a_mapping_of_fields(self, path: Path) -> None:
        with h5py.File(path, "r+") as file:
            file["obs/size"] = np.arange(ROWS)
            ds = NumpyDataset(file["obs"])
            assert ds[5] == {"kind": CODES[5], "size": 5}

    def test_a_matrix_that_anndata_has_not_read_is_opened(self, tmp_path: Path) -> None:
        anndata = pytest.importorskip("anndata", reason="the writer is not there")
        pandas = pytest.importorskip("pandas")
        index = [pandas.Index(list(map(str, range(n))), dtype=object) for n in X.shape]
        frames = [pandas.DataFrame(index=each) for each in index]
        anndata.AnnData(X=X, obs=frames[0], var=frames[1]).write_h5ad(tmp_path / "a.h5ad")
        cells = anndata.read_h5ad(tmp_path / "a.h5ad", backed="r")
        assert NumpyDataset(x=cells.X)[:]["x"].tolist() == X.toarray().tolist()
        cells.file.close()

    def test_other_groups_say_what_they_have(self, path: Path) -> None:
        with h5py.File(path, "r+") as file:
            file["more/inner/x"] = np.zeros(3)
            with pytest.raises(
                UnsupportedSourceError, match=r"it has 'x'; give .*more/inner/NAME'"
            ):
                NumpyDataset(x=file["more/inner"])
            group = file["X"]
        with pytest.raises(UnsupportedSourceError, match="closed"):
            npdata.open_source(group)

    def test_a_group_that_no_other_process_finds_is_refused(self) -> None:
        with h5py.File("memory", "w", driver="core", backing_store=False) as file:
            write_sparse(file.create_group("X"), X, "csr_matrix")
            with pytest.raises(UnsupportedSourceError, match="driver 'core'"):
                NumpyDataset(file["X"])


@pytest.mark.parametrize("name", ["X", "obs/kind"])
def test_a_group_behind_a_link_to_another_file_is_read_in_that_file(path: Path, name: str) -> None:
    main = path.parent / "main.h5"
    with h5py.File(main, "w") as file:
        write_sparse(file.create_group("X"), 2 * X, "csr_matrix")
        file["linked"] = h5py.ExternalLink(path.name, name)
    ds = NumpyDataset.from_hdf5(main, "linked", allow_external=True)
    assert ds[:].tolist() == NumpyDataset(f"{path}::{name}")[:].tolist()
    with pytest.raises(ExternalDataError):
        NumpyDataset.from_hdf5(main, "linked")


class TestByColumns:
    @pytest.mark.parametrize(
        ("name", "cure"),
        [
            ("X", r"once: adata\.X = adata\.X\.tocsr\(\)"),
            ("layers/a b", r"once: adata\.layers\['a b'\] = adata\.layers\['a b'\]\.tocsr\(\)"),
            ("obsm/pca", r"once: adata\.obsm\['pca'\] = adata\.obsm\['pca'\]\.tocsr\(\)"),
            ("raw/X", r"once: adata = adata\.raw\.to_adata\(\), adata\.X = adata\.X\.tocsr\(\)"),
            ("other", r"once, as scipy's m\.tocsr\(\) has it"),
        ],
    )
    def test_the_cure_fits_the_place(self, tmp_path: Path, name: str, cure: str) -> None:
        with h5py.File(tmp_path / "c.h5", "w") as file:
            write_sparse(file.create_group(name), X.tocsc(), "csc_matrix")
            with pytest.raises(UnsupportedSourceError, match=rf"stored by columns .*{cure}"):
                NumpyDataset(file[name])
        with pytest.raises(UnsupportedSourceError, match=rf"stored by columns .*{cure}"):
            NumpyDataset(f"{tmp_path}/c.h5::{name}")

    @pytest.mark.parametrize("rows", [ROWS, COLUMNS])
    def test_the_cure_for_10x_gives_the_cells(self, tmp_path: Path, rows: int) -> None:
        m = X[:rows].T.tocsc()  # features and barcodes, by barcode
        with h5py.File(tmp_path / "f.h5", "w") as file:
            write_sparse(file.create_group("matrix"), m)
            file["matrix/shape"] = m.shape
            file["matrix/barcodes"] = np.arange(rows).astype("S")
            file["matrix/features/id"] = np.arange(COLUMNS).astype("S")
        with pytest.raises(UnsupportedSourceError, match=r"the cells \(barcodes\)") as told:
            NumpyDataset(f"{tmp_path}/f.h5::matrix")
        typed = str(told.value).partition("(barcodes), and ")[2].partition(" has a row")[0]
        ds = NumpyDataset(eval(typed, {"npdata": npdata}))
        assert ds[:].tolist() == X[:rows].toarray().tolist()

    def test_parts_without_a_shape_name_csr(self, tmp_path: Path) -> None:
        with h5py.File(tmp_path / "p.h5", "w") as file:
            write_sparse(file.create_group("assay"), X)
        with pytest.raises(MemberNotFoundError, match=r"is npdata\.csr of its data, indices, "):
            NumpyDataset(f"{tmp_path}/p.h5::assay")


class TestCategories:
    @pytest.mark.parametrize(
        "values", [np.array([10, 20, 30]), np.array([0.5, 1.0, 10.0]), np.array([False, True])]
    )
    def test_numbers_stay_numbers(self, tmp_path: Path, values: np.ndarray) -> None:
        with h5py.File(tmp_path / "a.h5ad", "w") as file:
            write_categorical(file.create_group("obs/dose"), values)
        (categories,) = (NumpyDataset(f"{tmp_path}/a.h5ad::obs/dose").fields[0].categories,)
        assert categories == tuple(values.tolist())
        assert {type(each) for each in categories} == {type(values.tolist()[0])}

    def test_numbers_of_several_files_are_the_same_ones(self, tmp_path: Path) -> None:
        for k, values in enumerate(([1, 2, 3], [2.0, 5.0, 1.0])):
            with h5py.File(tmp_path / f"{k}.h5ad", "w") as file:
                write_categorical(file.create_group("obs/dose"), np.array(values))
        ds = npdata.concatenate(f"{tmp_path}/*.h5ad::obs/dose")
        names = ds.fields[0].categories
        assert names == (1, 2, 3, 5)
        given = [[1, 2, 3], [2, 5, 1]]
        expected = [None if c < 0 else given[k][c] for k in range(2) for c in CODES]
        assert [None if c < 0 else names[c] for c in ds[:].tolist()] == expected

    def test_text_of_one_file_and_numbers_of_another_are_refused(self, tmp_path: Path) -> None:
        for name, categories in (("a", np.array([1, 2, 3])), ("b", ["1", "2", "3"])):
            with h5py.File(tmp_path / f"{name}.h5ad", "w") as file:
                write_categorical(file.create_group("obs/batch"), categories)
        message = r"a\.h5ad.* begin with 1, and .*b\.h5ad.* with '1': .*astype\(str\)"
        with pytest.raises(FieldError, match=message):
            npdata.concatenate(f"{tmp_path}/*.h5ad::obs/batch")

    def test_text_that_may_be_missing_stays_text(self, tmp_path: Path) -> None:
        with h5py.File(tmp_path / "a.h5ad", "w") as file:  # as AnnData writes text of pandas 3
            group = file.create_group("obs/kind")
            group.attrs["encoding-type"], group["codes"] = "categorical", CODES
            inner = group.create_group("categories")
            inner.attrs["encoding-type"] = "nullable-string-array"
            inner["values"] = np.array(["B", "T", "NK"], h5py.string_dtype())
            inner["mask"] = np.zeros(3, bool)
        assert NumpyDataset(f"{tmp_path}/a.h5ad::obs/kind").fields[0].categories == ("B", "T", "NK")


def test_fields_of_other_lengths_name_the_axis_or_stack(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "l.loom", "w") as file:
        file["matrix"], file["kind"] = X.toarray().T, CODES
        file["a"], file["b"] = np.zeros(3), np.zeros(4)
    names = {"x": f"{tmp_path}/l.loom::matrix", "kind": f"{tmp_path}/l.loom::kind"}
    with pytest.raises(FieldError, match=r"give axis=\{'x': 1\}"):
        NumpyDataset(names)
    assert NumpyDataset(names, axis={"x": 1})[3]["x"].tolist() == X.toarray()[3].tolist()
    with pytest.raises(FieldError, match=r"if each is a sample, and no field: npdata\.stack"):
        NumpyDataset.from_hdf5(tmp_path / "l.loom", "a", "b")


def test_no_axis_of_several_files_is_named_for_fields_of_other_lengths(tmp_path: Path) -> None:
    for k in range(3):
        np.save(tmp_path / f"{k}.npy", np.zeros(4))
    with pytest.raises(FieldError, match="its axis 1: leave field 'y' out where all rows share it"):
        NumpyDataset(x=npdata.stack(tmp_path), y=np.zeros(4))
    with pytest.raises(FieldError, match="its axis 1: leave field 'y' out"):  # it is given already
        NumpyDataset(x=np.zeros((7, 5, 3)), y=np.zeros(7), axis={"x": 1})


def test_fields_of_other_lengths_name_no_cure_that_is_none() -> None:
    with pytest.raises(FieldError, match=r"all fields need the same number$"):
        NumpyDataset(x=np.zeros(3), y=np.zeros(4), z=np.zeros(3))
