"""Sparse rows are those of scipy's `toarray`, dense or sparse in a batch."""

import pickle
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import scipy.sparse
import torch
from few import few
from hypothesis import given
from hypothesis import strategies as st
from torch.utils.data import DataLoader, StackDataset, Subset

import npdata
from npdata import NumpyDataset
from npdata.dataset.sparse_tensors import dense_of
from npdata.errors import (
    ConversionError,
    FieldError,
    FormatError,
    MemberNotFoundError,
    UnequalShapesError,
    UnsupportedSourceError,
)
from npdata.loading.finish_on_device import sent_as_stored

ROWS, COLUMNS = 60, 11
CPU = torch.device("cpu")


def matrix(dtype: str = "f4", index: str = "i4", density: float = 0.3) -> scipy.sparse.csr_matrix:
    rng = np.random.default_rng(0)
    dense = rng.integers(1, 9, (ROWS, COLUMNS)) * (rng.random((ROWS, COLUMNS)) < density)
    dense[7] = 0
    made = scipy.sparse.csr_matrix(dense.astype(dtype))
    made.indices, made.indptr = made.indices.astype(index), made.indptr.astype(index)
    return made


def stored(kind: str, folder: Path, m: scipy.sparse.csr_matrix) -> Any:
    """The matrix in a kind of storage, as a field."""
    parts = {"data": m.data, "indices": m.indices, "indptr": m.indptr}
    if kind == "memory":
        return npdata.csr(*parts.values(), m.shape)
    if kind == "npy":
        for name, part in parts.items():
            np.save(folder / f"{name}.npy", part)
        return npdata.csr(*(folder / f"{name}.npy" for name in parts), m.shape)
    options: Any = {"hdf5": {}, "chunked": {"chunks": (16,)}}.get(
        kind, {"chunks": (16,), "compression": "gzip", "shuffle": True}
    )
    with h5py.File(folder / f"{kind}.h5", "w") as file:
        group = file.create_group("X")
        group.attrs["encoding-type"], group.attrs["shape"] = "csr_matrix", m.shape
        for name, part in parts.items():
            group.create_dataset(name, data=part, **options)
    return f"{folder}/{kind}.h5::X"


def as_array(batch: torch.Tensor) -> np.ndarray:
    """What a sparse tensor holds: torch makes not every dtype dense."""
    made = np.zeros(batch.shape, batch.values().numpy().dtype)
    counts = np.diff(batch.crow_indices().numpy())
    made[np.repeat(np.arange(len(counts)), counts), batch.col_indices().numpy()] = batch.values()
    return made


@pytest.mark.parametrize("kind", ["memory", "npy", "hdf5", "chunked", "gzip"])
@pytest.mark.parametrize("index", ["i4", "i8"])
def test_batches_are_those_of_scipy(kind: str, index: str, tmp_path: Path) -> None:
    m = matrix(index=index)
    field = stored(kind, tmp_path, m)
    dense, sparse = NumpyDataset(field), NumpyDataset(field, layout="csr")

    @few((kind, index))
    @given(st.lists(st.integers(-ROWS, ROWS - 1), max_size=12))
    def check(rows: list[int]) -> None:
        expected = m[np.array(rows, int)].toarray() if rows else np.zeros((0, COLUMNS), "f4")
        batch = npdata.collate(dense.__getitems__(rows))
        assert batch.numpy().tobytes() == expected.tobytes()
        made = npdata.collate(sparse.__getitems__(rows))
        assert made.layout == torch.sparse_csr
        assert torch.equal(made.to_dense(), batch)
        for row in rows[:2]:
            assert (dense[row].numpy() == m[row].toarray()[0]).all()
            assert torch.equal(sparse[row], dense[row])

    check()
    assert (dense[5:20].numpy() == m[5:20].toarray()).all()
    assert (pickle.loads(pickle.dumps(dense))[[3, 7]].numpy() == m[[3, 7]].toarray()).all()


DTYPES = ["f4", "f8", "i4", "i8", "u1", "u2", "u4", "u8", "?", ">f4", "f2", "c8"]


@pytest.mark.parametrize("dtype", DTYPES)
def test_every_dtype_has_the_values_of_scipy(dtype: str) -> None:
    m = matrix("f4")
    data = m.data.astype(dtype)
    expected = np.zeros(m.shape, np.dtype(dtype).newbyteorder("="))
    expected[m.nonzero()] = data
    for layout in ("dense", "csr"):
        rows = npdata.csr(data, m.indices, m.indptr, m.shape, layout=layout)
        ds, same = NumpyDataset(rows), NumpyDataset(rows, transform=lambda row: row)
        for batch in (ds[[9, 7, 9]], same[[9, 7, 9]], *DataLoader(Subset(ds, [9, 7, 9]), 3)):
            made = batch.numpy() if layout == "dense" else as_array(batch)
            assert made.dtype == expected.dtype
            assert (made == expected[[9, 7, 9]]).all()
        sent, finish = sent_as_stored(ds, CPU)
        assert ((finish or dense_of)(sent[[9, 7]]).numpy() == expected[[9, 7]]).all()
    cast = NumpyDataset(npdata.csr(m.data, m.indices, m.indptr, m.shape), dtype=torch.float64)
    assert cast[[1]].dtype == cast[1].dtype == torch.float64


def test_values_given_twice_add_up() -> None:
    field = npdata.csr(np.array([1.0, 2, 4]), np.array([1, 1, 0]), np.array([0, 2, 3]), (2, 2))
    assert NumpyDataset(field)[:].tolist() == [[0, 3], [4, 0]]
    made = NumpyDataset(field, layout="csr")[:]
    assert made.to_dense().tolist() == [[0, 3], [4, 0]]
    assert made.values().tolist() == [3, 4]


@pytest.mark.parametrize(
    ("dtype", "cast", "data"),
    [
        ("f8", torch.int8, [0.6, 1.0, 3.0, 0.6]),
        ("f8", torch.float16, [65519.0, 1.0, 3.0, -65000.3]),
        ("u1", torch.int32, [200, 1, 3, 100]),
        ("?", torch.int32, [1, 1, 1, 1]),
    ],
)
@pytest.mark.parametrize("columns", [3, 1000])
def test_values_given_twice_add_up_before_they_are_cast(dtype, cast, data, columns) -> None:
    parts = np.array(data, dtype), np.array([1, 0, 2, 1]) * (columns // 3), np.array([0, 0, 4, 4])
    shape = (3, columns)
    expected = torch.from_numpy(scipy.sparse.csr_matrix(parts, shape).toarray()).to(cast)
    for layout in ("dense", "csr"):
        rows = npdata.csr(*parts, shape, layout=layout)
        asked, plain = NumpyDataset(rows, dtype=cast), NumpyDataset(rows)
        loaded = next(iter(npdata.Loader(plain, 3, dtype=cast)))
        for made in (asked[:], torch.stack([asked[i] for i in range(3)]), loaded):
            dense = made.to_dense() if layout == "csr" else made
            assert torch.equal(dense, expected)
    sent, finish = sent_as_stored(asked, CPU)
    assert torch.equal((finish or dense_of)(sent[:]), expected)


@pytest.mark.parametrize("index", ["i4", "i8", "u1", "u4", "u8"])
def test_columns_in_any_order_stay_as_they_are(index: str) -> None:
    indptr, columns = np.array([0, 0, 2, 2, 4, 4]), np.array([2, 0, 0, 1], index)
    for width in (3, 1000):
        rows = npdata.csr(np.arange(4.0), columns, indptr, (5, width), layout="csr")
        batch = NumpyDataset(rows)[:]
        assert batch.col_indices().tolist() == columns.tolist()
        assert batch.crow_indices().tolist() == indptr.tolist()


@pytest.mark.parametrize("method", [None, "fork", "forkserver"])
def test_every_process_model_gives_the_same_rows(tmp_path: Path, method: str | None) -> None:
    m = matrix()
    ds = NumpyDataset(
        {"dense": stored("gzip", tmp_path, m), "csr": stored("hdf5", tmp_path, m)},
        layout={"csr": "csr"},
    )
    loader = DataLoader(
        ds,
        batch_size=16,
        collate_fn=npdata.collate,
        num_workers=2 if method else 0,
        multiprocessing_context=method,
    )
    batches = list(loader)
    assert (torch.cat([b["dense"] for b in batches]).numpy() == m.toarray()).all()
    assert (torch.cat([b["csr"].to_dense() for b in batches]).numpy() == m.toarray()).all()


def test_a_loader_gives_every_row_once(tmp_path: Path) -> None:
    m = matrix()
    ds = NumpyDataset(
        stored("gzip", tmp_path, m),
        stored("memory", tmp_path, m),
        np.arange(ROWS),
        layout={1: "csr"},
    )
    seen = []
    for dense, sparse, row in npdata.Loader(
        ds, 8, shuffle="block", num_threads=2, dtype={1: torch.float64}
    ):
        assert (dense.numpy() == m[row.numpy()].toarray()).all()
        assert sparse.dtype == torch.float64
        assert torch.equal(sparse.to_dense().float(), dense)
        seen += row.tolist()
    assert sorted(seen) == list(range(ROWS))


@pytest.mark.parametrize("dtype", ["f4", "f8", "i8"])
@pytest.mark.parametrize("index", ["i4", "i8"])
@pytest.mark.parametrize("compression", [None, "gzip"])
def test_cells_of_anndata(dtype: str, index: str, compression: Any, tmp_path: Path) -> None:
    anndata = pytest.importorskip("anndata", reason="the writer is not there: pip install anndata")
    pandas = pytest.importorskip("pandas")
    m = matrix(dtype, index)
    kinds = np.array(["T cell", "B cell", "NK"])[np.arange(ROWS) % 3]

    def names(what: str, count: int) -> Any:  # this AnnData cannot write the text of this pandas
        return pandas.Index([f"{what} {k}" for k in range(count)], dtype=object)

    def cells_of(x: Any) -> Any:
        kind = pandas.Categorical(kinds.astype(object), categories=sorted(set(kinds)))
        kind = kind.rename_categories(pandas.Index(list(kind.categories), dtype=object))
        obs = pandas.DataFrame({"cell_type": kind}, index=names("cell", ROWS))
        var = pandas.DataFrame(index=names("gene", COLUMNS))
        return anndata.AnnData(X=x, obs=obs, var=var)

    cells = cells_of(m)
    cells.layers["counts"] = m * 2
    cells.write_h5ad(tmp_path / "cells.h5ad", compression=compression)
    path = tmp_path / "cells.h5ad"
    ds = NumpyDataset.from_hdf5(path, x="X", counts="layers/counts", cell="obs/cell_type")
    batch = ds[:]
    assert (batch["x"].numpy() == m.toarray()).all()
    assert (batch["counts"].numpy() == 2 * m.toarray()).all()
    field = ds.fields["cell"]
    assert field.categories == ("B cell", "NK", "T cell")
    assert [field.categories[code] for code in batch["cell"].tolist()] == kinds.tolist()
    text = str(ds.describe())
    assert "of 3 categories: 'B cell', 'NK', 'T cell'" in text
    assert "CSR, " in text
    assert "4 bytes" not in text  # a value, and no row
    assert (pickle.loads(pickle.dumps(ds))[5]["x"].numpy() == m[5].toarray()[0]).all()
    assert pickle.loads(pickle.dumps(ds)).fields["cell"].categories == field.categories
    by_columns = tmp_path / "csc.h5ad"
    cells_of(m.tocsc()).write_h5ad(by_columns)
    with pytest.raises(UnsupportedSourceError, match=r"stored by columns .*adata.X.tocsr\(\)"):
        NumpyDataset(f"{by_columns}::X")


def test_columns_with_missing_values_are_opened_where_none_is_missing(tmp_path: Path) -> None:
    anndata, pandas = pytest.importorskip("anndata"), pytest.importorskip("pandas")
    columns: dict[str, Any] = {
        "age": pandas.array([3, None, 7], dtype="Int64"),
        "batch": pandas.array([3, 1, 2], dtype="UInt8"),
        "alive": pandas.array([True, None, False], dtype="boolean"),
        "seen": pandas.array([True, True, False], dtype="boolean"),
    }
    index = pandas.Index(["a", "b", "c"], dtype=object)
    obs = pandas.DataFrame(columns, index=index)
    var = pandas.DataFrame(index=pandas.Index(["g"], dtype=object))
    path = tmp_path / "cells.h5ad"
    anndata.AnnData(X=np.zeros((3, 1), np.float32), obs=obs, var=var).write_h5ad(path)
    ds = NumpyDataset(batch=f"{path}::obs/batch", seen=f"{path}::obs/seen")
    for name, expected in (("batch", np.uint8), ("seen", np.bool_)):
        values = ds[:][name].numpy()
        assert values.dtype == expected
        assert values.tolist() == columns[name].tolist()
    for name in ("age", "alive"):
        told = rf"obs/{name} has no value in 1 rows, such as row 1, .*obs/{name}/mask'"
        with pytest.raises(FieldError, match=told):
            NumpyDataset(f"{path}::obs/{name}")
    both = NumpyDataset(x=f"{path}::obs/age/values", missing=f"{path}::obs/age/mask")
    assert both[:]["missing"].tolist() == [False, True, False]


def test_text_with_missing_values_is_known_too(tmp_path: Path) -> None:
    path = tmp_path / "cells.h5ad"
    with h5py.File(path, "w") as file:  # as AnnData 0.12 writes it where that is allowed
        for name, mask in (("all", [False, False]), ("some", [False, True])):
            group = file.create_group(f"obs/{name}")
            group.attrs["encoding-type"] = "nullable-string-array"
            group["values"], group["mask"] = np.array(["a", "b"], h5py.string_dtype()), mask
    assert NumpyDataset(f"{path}::obs/all", dtype=str)[:] == ["a", "b"]
    with pytest.raises(FieldError, match="obs/some has no value in 1 rows"):
        NumpyDataset(f"{path}::obs/some", dtype=str)


def test_a_matrix_without_rows_is_opened(tmp_path: Path) -> None:
    empty = scipy.sparse.csr_matrix((0, COLUMNS), dtype=np.float32)
    assert NumpyDataset(stored("hdf5", tmp_path, empty))[:].shape == (0, COLUMNS)


def test_parts_that_do_not_fit_are_named() -> None:
    m = matrix()
    good = {"data": m.data, "indices": m.indices, "indptr": m.indptr, "shape": m.shape}
    lying = m.indptr.copy()
    lying[3] = lying[5] + 1
    for changed, message in (
        ({"indptr": lying}, r"span 3 of indptr .*begins at row"),
        ({"indptr": m.indptr[:-1]}, "has 60 entries for 60 rows"),
        ({"indptr": np.append(m.indptr[:-1], m.nnz + 1)}, "indptr .* end span 59 .*as the last$"),
        ({"indptr": np.append(m.indptr[:-1], m.nnz - 1)}, "indptr .* end span 59 .*as the last$"),
        ({"indptr": np.append(1, m.indptr[1:])}, "indptr .* is 1: expected 0.*number of rows$"),
        (
            {"indices": m.indices[:-1]},
            r"data \(.* values and indices \(.* columns: expected one column",
        ),
        ({"indices": m.indices.astype("f4")}, "indices .*expected one dimension of integers"),
        ({"data": m.data[:, None]}, "data .*expected one dimension of numbers"),
        ({"data": m.data.astype("U3")}, "data .*expected one dimension of numbers"),
        ({"shape": (60,)}, "expected \\(rows, columns\\)"),
        ({"shape": (60, -1)}, "at least 0"),
        ({"layout": "csc"}, "layout='csc'"),
    ):
        with pytest.raises(FieldError, match=message):
            npdata.csr(**(good | changed))
    narrow = npdata.csr(m.data, m.indices, m.indptr, (ROWS, COLUMNS - 1))
    row = int(np.flatnonzero(m.toarray()[:, -1])[0])
    for layout in ("dense", "csr"):
        with pytest.raises(FormatError, match=f"row {row} of .* has a value in column 10"):
            NumpyDataset(narrow, layout=layout)[[7, row]]
    for column, columns in ((-1, COLUMNS), (0, 0)):
        lies = npdata.csr(
            np.ones(1), np.array([column], np.int32), np.array([0, 0, 1]), (2, columns)
        )
        with pytest.raises(FormatError, match=f"row 1 of .* has a value in column {column}, "):
            NumpyDataset(lies)[:]
    with pytest.raises(FieldError, match="layout= is for sparse rows, and field 0"):
        NumpyDataset(m.data, layout="csr")
    with pytest.raises(FieldError, match="a field of that name goes into a mapping"):
        NumpyDataset(npdata.csr(**good), layout=m.data)
    with pytest.raises(ConversionError, match="holds no text"):
        NumpyDataset(np.array(["a"]))


def test_matrices_behind_a_wildcard_are_refused_with_what_to_write(tmp_path: Path) -> None:
    m = matrix()
    with h5py.File(tmp_path / "d.h5", "w") as file:
        for k in range(2):
            group = file.create_group(f"{k}/X")
            group.attrs.update({"encoding-type": "csr_matrix", "shape": m.shape})
            group["data"], group["indices"], group["indptr"] = m.data, m.indices, m.indptr
    places = [f"{tmp_path}/d.h5::/{k}/X" for k in range(2)]
    with pytest.raises(MemberNotFoundError, match=re.escape(f"concatenate([{places[0]!r}, ...])")):
        NumpyDataset(f"{tmp_path}/d.h5::*/X")
    with pytest.raises(MemberNotFoundError, match="no wildcard or groups= opens it"):
        NumpyDataset.from_hdf5(tmp_path / "d.h5", "X", groups=["1"])
    assert (npdata.concatenate(places)[:].numpy() == np.tile(m.toarray(), (2, 1))).all()


def test_groups_that_are_no_matrix_are_refused(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "d.h5", "w") as file:
        file.create_group("plain")["x"] = np.zeros(3)
        for name, attributes in (
            ("half", {"encoding-type": "csr_matrix", "shape": (3, 3)}),
            ("shapeless", {"encoding-type": "csr_matrix"}),
        ):
            group = file.create_group(name)
            group.attrs.update(attributes)
            group["data"], group["indices"] = np.zeros(2), np.zeros(2, int)
        file["shapeless/indptr"] = np.array([0, 2])
    with pytest.raises(MemberNotFoundError, match="is a group, and a dataset is needed"):
        NumpyDataset(f"{tmp_path}/d.h5::plain")
    with pytest.raises(FormatError, match="'csr_matrix' and has no 'indptr'"):
        NumpyDataset(f"{tmp_path}/d.h5::half")
    with pytest.raises(FormatError, match="no attribute shape of two numbers"):
        NumpyDataset(f"{tmp_path}/d.h5::shapeless")


@pytest.mark.parametrize("shape_as", ["attribute", "dataset"])
def test_a_group_without_an_encoding_is_known_by_its_parts(tmp_path: Path, shape_as: str) -> None:
    m = matrix()
    with h5py.File(tmp_path / "d.h5", "w") as file:
        for name, each in (("rows", m), ("columns", m.tocsc()), ("square", m[:COLUMNS])):
            group = file.create_group(name)
            for part in ("data", "indices", "indptr"):
                group[part] = getattr(each, part)
            (group.attrs if shape_as == "attribute" else group)["shape"] = each.shape
    assert (NumpyDataset(f"{tmp_path}/d.h5::rows")[:].numpy() == m.toarray()).all()
    with pytest.raises(UnsupportedSourceError, match="stored by columns"):
        NumpyDataset(f"{tmp_path}/d.h5::columns")
    with pytest.raises(MemberNotFoundError, match="is a group"):  # by rows or by columns?
        NumpyDataset(f"{tmp_path}/d.h5::square")


@pytest.mark.parametrize("layout", ["dense", "csr"])
def test_sparse_rows_of_several_files_stay_sparse(tmp_path: Path, layout: Any) -> None:
    parts = matrix(), matrix(index="i8")[:0], matrix(index="i8", density=0.1)[:20], matrix()[7:8]
    for k, part in enumerate(parts):
        (tmp_path / str(k)).mkdir()
        stored("hdf5", tmp_path / str(k), part)
    expected = scipy.sparse.vstack(parts).toarray()
    files = f"{tmp_path}/*/hdf5.h5"
    ways = [
        NumpyDataset.from_hdf5(files, "X", layout=layout),
        npdata.concatenate(f"{files}::X", layout=layout),
        sum(NumpyDataset(f"{tmp_path}/{k}/hdf5.h5::X", layout=layout) for k in range(4)),
    ]
    rng = np.random.default_rng(0)
    for ds in [*ways, pickle.loads(pickle.dumps(ways[0]))]:
        for rows in ([], [80], [3, 79, 3, 60, 80], rng.permutation(81)):
            batch = ds[rows]
            assert batch.layout == (torch.strided if layout == "dense" else torch.sparse_csr)
            dense = batch.to_dense() if layout == "csr" else batch
            assert dense.numpy().tolist() == expected[rows].reshape(-1, COLUMNS).tolist()
        assert (ds[61].numpy() == expected[61]).all()
        assert (ds.windows(3, borders=[])[[58]].numpy() == expected[58:61]).all()
        (batch,) = npdata.Loader(ds, 81)
        assert (batch.to_dense().numpy() == expected).all()
    assert (sent_as_stored(ways[0], CPU)[1] is None) == (layout == "csr")
    narrow = NumpyDataset(npdata.csr([1.0], [0], [0, 1], (1, 3)), layout=layout)
    with pytest.raises(FieldError, match="they make no one field"):
        npdata.concatenate([narrow.fields[0].source, ways[2].fields[0].source])
    with pytest.raises(FieldError, match="for sparse rows, and not all parts of field 0"):
        npdata.concatenate([narrow.fields[0].source, np.zeros((1, 3))], layout="csr")


@pytest.mark.parametrize(
    ("option", "double"),
    [
        ("transform", lambda row: 2 * row),
        ("transform", lambda row: 2 * row.numpy()),
        ("batch_transform", lambda rows: 2 * rows),
    ],
)
def test_functions_leave_batches_sparse(option: str, double: Callable[[Any], Any]) -> None:
    m = matrix()
    rows = npdata.csr(m.data, m.indices, m.indptr, m.shape, layout="csr")
    ds = NumpyDataset(x=rows, **{option: lambda part: {"x": double(part["x"])}})
    subset = Subset(ds, [4, 9])
    loader = DataLoader(subset, 2, collate_fn=npdata.collate)
    for batch in (ds[[4, 9]], *loader, *npdata.Loader(subset, 2)):
        assert batch["x"].layout == torch.sparse_csr
        assert (batch["x"].to_dense().numpy() == 2 * m[[4, 9]].toarray()).all()
    assert (np.asarray(ds[4]["x"]) == 2 * m[[4]].toarray()[0]).all()


@pytest.mark.parametrize("workers", [0, 2])
def test_samples_beside_others_become_a_sparse_batch_again(workers: int) -> None:
    m = matrix()
    ds = NumpyDataset(npdata.csr(m.data, m.indices, m.indptr, m.shape), layout="csr")
    both = StackDataset(x=ds, y=NumpyDataset(np.arange(ROWS)))
    for loader in (
        npdata.Loader(both, 7),
        DataLoader(both, 7, num_workers=workers, collate_fn=npdata.collate),
        DataLoader(both, 7, num_workers=workers),
    ):
        batches = list(loader)
        assert all(batch["x"].layout == torch.sparse_csr for batch in batches)
        rows = torch.cat([batch["x"].to_dense() for batch in batches])
        assert (rows.numpy() == m.toarray()).all()
    assert ds[3].layout == both[3]["x"].layout == torch.strided


def test_what_a_batch_transform_makes_dense_stays_dense() -> None:
    m = matrix()
    rows = npdata.csr(m.data, m.indices, m.indptr, m.shape)
    ds = NumpyDataset(rows, layout="csr", batch_transform=lambda batch: batch.to_dense() + 1)
    for loader in (npdata.Loader(ds, 7), DataLoader(ds, 7), DataLoader(StackDataset(ds), 7)):
        for part in loader:
            (batch,) = part if isinstance(part, list | tuple) else (part,)
            assert batch.layout == torch.strided
    assert torch.equal(next(iter(DataLoader(ds, 7))), ds[:7])


def test_a_transform_may_give_other_rows_than_sparse_ones() -> None:
    m = matrix()
    rows = npdata.csr(m.data, m.indices, m.indptr, m.shape, layout="csr")
    assert NumpyDataset(rows, transform=lambda row: row.expand(2, -1))[[4]].shape == (1, 2, COLUMNS)
    with pytest.raises(UnequalShapesError, match=r"sample 1 .* shape \(1,\) and there \(0,\)"):
        NumpyDataset(rows, np.arange(ROWS), transform=lambda row: row[0][: row[1]])[[0, 1]]


def test_windows_of_sparse_rows_are_dense() -> None:
    m = matrix()
    for layout in ("dense", "csr"):
        ds = NumpyDataset(npdata.csr(m.data, m.indices, m.indptr, m.shape, layout=layout))
        assert (ds.windows(3)[[4]].numpy() == m[4:7].toarray()).all()


def test_what_is_sent_to_a_device_is_sparse_and_made_dense_there() -> None:
    m = matrix()
    ds = NumpyDataset(x=npdata.csr(m.data, m.indices, m.indptr, m.shape), y=np.arange(ROWS))
    for whole in (ds, Subset(ds, range(ROWS))):
        sent, finish = sent_as_stored(whole, CPU)
        batch = npdata.collate(sent.__getitems__([4, 9]))
        assert batch["x"].layout == torch.sparse_csr
        made = finish(batch)
        assert (made["x"].numpy() == m[[4, 9]].toarray()).all()
        assert made["y"].tolist() == [4, 9]
    changed = NumpyDataset(npdata.csr(m.data, m.indices, m.indptr, m.shape), transform=torch.clone)
    assert sent_as_stored(changed, CPU) == (changed, None)


def test_parts_may_be_lists_and_tensors() -> None:
    for parts in (([5.0, 7.0], [2, 0], [0, 1, 2]), (torch.tensor([5.0, 7.0]), (2, 0), range(3))):
        assert NumpyDataset(npdata.csr(*parts, (2, 3)))[:].tolist() == [[0, 0, 5], [7, 0, 0]]


def test_a_matrix_of_scipy_says_how_to_give_it() -> None:
    with pytest.raises(UnsupportedSourceError, match=r"is sparse; give npdata.csr\(m.data"):
        NumpyDataset(x=matrix())
