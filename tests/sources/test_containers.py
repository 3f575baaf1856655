"""What people hold rows in is read in place, copied with a word of it, or refused with the cure."""

import array
import importlib.util
from typing import Any

import numpy as np
import pytest
import torch
from processes import run

import npdata
from npdata import NumpyDataset
from npdata.errors import UnsupportedSourceError

X = np.arange(12, dtype=np.float32).reshape(4, 3)
IN_PLACE, COPIED = "read in place", "copied once into an array"


class HasArray:
    def __init__(self, rows: np.ndarray) -> None:
        self.rows = rows

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        return self.rows


class HasInterface:
    def __init__(self, rows: np.ndarray) -> None:
        self.rows = rows
        self.__array_interface__ = rows.__array_interface__


class HasDlpack:
    def __init__(self, rows: np.ndarray) -> None:
        self.rows = rows

    def __dlpack__(self, **options: Any) -> Any:
        return self.rows.__dlpack__(**options)

    def __dlpack_device__(self) -> Any:
        return self.rows.__dlpack_device__()


class HasArrow:
    def __init__(self, inner: Any) -> None:
        self.inner = inner

    def __arrow_c_array__(self, requested_schema: Any = None) -> Any:
        return self.inner.__arrow_c_array__(requested_schema)


def library(name: str) -> Any:
    return pytest.importorskip(name, reason="pip install 'npdata[integrations]'")


def fixed_lists(rows: np.ndarray) -> Any:
    arrow = library("pyarrow")
    return arrow.FixedSizeListArray.from_arrays(arrow.array(rows.ravel()), rows.shape[1])


TAKEN = {
    "tensor": (lambda: torch.from_numpy(X), X, IN_PLACE),
    "view of a tensor": (lambda: torch.from_numpy(X)[1:, ::2], X[1:, ::2], IN_PLACE),
    "list": (lambda: [3, 1, 2], np.array([3, 1, 2]), COPIED),
    "list of rows": (lambda: [[3, 1], [2, 0]], np.array([[3, 1], [2, 0]]), COPIED),
    "range": (lambda: range(1, 9, 3), np.array([1, 4, 7]), COPIED),
    "tuple": (lambda: (1.5, 2.5), np.array([1.5, 2.5]), COPIED),
    "series": (lambda: library("pandas").Series(X[:, 0]), X[:, 0], IN_PLACE),
    "frame": (lambda: library("pandas").DataFrame(X), X, IN_PLACE),
    "nullable series": (
        lambda: library("pandas").Series([1, 2], dtype="Int64"),
        np.array([1, 2]),
        "",
    ),
    "polars": (lambda: library("polars").Series(X[:, 0].copy()), X[:, 0], IN_PLACE),
    "polars frame": (lambda: library("polars").DataFrame(X), X, ""),
    "arrow": (lambda: library("pyarrow").array(X[:, 0].copy()), X[:, 0], IN_PLACE),
    "arrow chunks": (
        lambda: library("pyarrow").chunked_array([[1, 2], [3]]),
        np.array([1, 2, 3]),
        COPIED,
    ),
    "arrow lists": (
        lambda: library("pyarrow").array([[9, 9], [1, 2], [3, 4], [5, 6]])[1:],
        np.array([[1, 2], [3, 4], [5, 6]]),
        IN_PLACE,
    ),
    "arrow lists of lists": (
        lambda: library("pyarrow").chunked_array([[[[1], [2]]], [[[3], [4]]]]),
        np.array([[[1], [2]], [[3], [4]]]),
        COPIED,
    ),
    "arrow lists of one size": (lambda: fixed_lists(X.copy())[1:], X[1:], IN_PLACE),
    "xarray": (lambda: library("xarray").DataArray(X, dims=("row", "n")), X, IN_PLACE),
    "__array__": (lambda: HasArray(X), X, IN_PLACE),
    "nothing masked": (lambda: HasArray(np.ma.masked_equal(X, -9)), X, IN_PLACE),
    "__array_interface__": (lambda: HasInterface(X), X, IN_PLACE),
    "__dlpack__": (lambda: HasDlpack(X.copy()), X, IN_PLACE),
    "__arrow_c_array__": (
        lambda: HasArrow(library("pyarrow").array([1, 2, 3])),
        np.array([1, 2, 3]),
        IN_PLACE,
    ),
    "memoryview": (lambda: memoryview(X), X, IN_PLACE),
    "array.array": (lambda: array.array("d", [1, 2]), np.array([1.0, 2.0]), IN_PLACE),
}


@pytest.mark.parametrize("name", TAKEN)
def test_rows_are_those_of_the_library_and_how_is_said(name: str) -> None:
    make, rows, how = TAKEN[name]
    ds = NumpyDataset(make())
    assert len(ds) == len(rows)
    assert torch.equal(ds[[1, 0]], torch.from_numpy(np.ascontiguousarray(rows[[1, 0]])))
    assert torch.equal(ds[-1], torch.tensor(rows[-1]))
    (source,) = ds.sources
    assert how in source.access.reason
    assert how in str(ds.describe())


def test_an_array_of_jax_is_read_in_place() -> None:
    """In a process of its own, since jax watches forks from its import on."""
    if importlib.util.find_spec("jax") is None:
        pytest.skip("pip install 'npdata[integrations]'")
    done = run(
        """
import warnings
with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    import jax.numpy as jnp
    x = jnp.arange(12.0).reshape(4, 3)
import npdata
ds = npdata.NumpyDataset(x)
assert ds[[1, 0]].tolist() == [[3, 4, 5], [0, 1, 2]]
assert "read in place" in ds.sources[0].access.reason, ds.describe()
"""
    )
    assert done.returncode == 0, done.stderr


def test_a_tensor_is_shared_as_an_array_is() -> None:
    tensor = torch.from_numpy(X.copy())
    ds = NumpyDataset(tensor)
    tensor[2, 1] = -5
    assert ds[2][1] == -5
    assert ds[2].data_ptr() == tensor[2].data_ptr()


def frame() -> Any:
    return library("pandas").DataFrame({"a": [1, 2], "b": ["x", "y"]})


@pytest.mark.parametrize("kind", ["pandas", "polars", "pyarrow", "list", "object array"])
def test_text_becomes_rows_by_what_the_refusal_says(kind: str) -> None:
    labels = ["dog", "cat", "dog"]
    made: dict[str, Any] = {
        "pandas": lambda: library("pandas").Series(labels, index=[7, 1, 3]),
        "polars": lambda: library("polars").Series(labels),
        "pyarrow": lambda: library("pyarrow").array(labels),
        "list": lambda: labels,
        "object array": lambda: np.array(labels, object),
    }
    x = made[kind]()
    kept = NumpyDataset(np.array(x, dtype=str), dtype=str)
    assert [kept[k] for k in range(3)] == labels
    assert NumpyDataset(np.unique(x, return_inverse=True)[1])[:].tolist() == [1, 0, 1]


def nested(layout: torch.layout) -> torch.Tensor:
    return torch.nested.nested_tensor([torch.ones(2), torch.zeros(1)], layout=layout)


@pytest.mark.filterwarnings("ignore:.*(nested|CSR).*:UserWarning")
def test_tensors_of_several_lengths_and_sparse_ones_become_fields_by_what_the_refusal_says() -> (
    None
):
    unequal = [torch.ones(2), torch.zeros(1)]
    for given in (unequal, nested(torch.jagged), nested(torch.strided)):
        told = r"npdata.ragged\(torch.cat\(x\), lengths=\[len\(row\) for row in x\]\)"
        with pytest.raises(UnsupportedSourceError, match=told):
            NumpyDataset(given)
        x = list(given if given is unequal else given.unbind())
        ds = NumpyDataset(npdata.ragged(torch.cat(x), lengths=[len(row) for row in x]))
        assert [sample.tolist() for sample in ds] == [[1, 1], [0]]
    x = torch.eye(3).to_sparse_csr()
    told = r"npdata.csr\(x.values\(\), x.col_indices\(\), x.crow_indices\(\), x.shape\)"
    with pytest.raises(UnsupportedSourceError, match=told):
        NumpyDataset(x)
    ds = NumpyDataset(npdata.csr(x.values(), x.col_indices(), x.crow_indices(), x.shape))
    assert torch.equal(ds[:], torch.eye(3))


REFUSED = {
    "tensor of a graph": (lambda: torch.zeros(3, requires_grad=True), "x.detach()"),
    "sparse tensor": (lambda: torch.eye(3).to_sparse(), "x.to_dense()"),
    "bfloat16": (lambda: torch.zeros(3, dtype=torch.bfloat16), "x.float()"),
    "tensor elsewhere": (lambda: torch.zeros(3, device="meta"), "x.cpu()"),
    "list of tensors": (lambda: [torch.zeros(3)], "torch.stack(x)"),
    "list of different rows": (lambda: [[1, 2], [3]], "npdata.ragged("),
    "list of objects": (lambda: [object()], "np.asarray(x, dtype)"),
    "mixed frame": (frame, "{name: df[name] for name in df}"),
    "objects of pandas": (lambda: library("pandas").Series([1, "x"]), "x.to_numpy(dtype=...)"),
    "text of pandas": (lambda: frame()["b"].astype(object), "dtype=str to keep it"),
    "labels of pandas": (lambda: frame()["b"], "np.unique(x, return_inverse=True)[1]"),
    "labels in a list": (lambda: ["cat", "dog"], "np.unique(x, return_inverse=True)[1]"),
    "missing values": (
        lambda: library("pandas").Series([1, None], dtype="Int64"),
        "na_value=",
    ),
    "categories": (
        lambda: library("pandas").Series(["a"], dtype="category"),
        "codes.to_numpy('int64')",
    ),
    "categories alone": (lambda: library("pandas").Categorical(["a"]), "x.codes.astype('int64')"),
    "index of categories": (
        lambda: library("pandas").CategoricalIndex(["a"]),
        "x.codes.astype('int64')",
    ),
    "array of pandas": (lambda: library("pandas").array([1, None]), "pandas.Series(x)"),
    "nulls of polars": (lambda: library("polars").Series([1, None]), "x.fill_null(value)"),
    "lazy frame": (lambda: library("polars").LazyFrame({"a": [1]}), "x.collect()"),
    "nulls of arrow": (lambda: library("pyarrow").array([1, None]), "x.fill_null(value)"),
    "table": (lambda: library("pyarrow").table({"a": [1]}), "{name: x[name] for name in"),
    "lists of arrow": (lambda: library("pyarrow").array([[1], [2, 3]]), "npdata.ragged("),
    "nulls in lists": (lambda: library("pyarrow").array([[1], [None]]), "without them"),
    "text of arrow": (lambda: library("pyarrow").array(["a"]), "dtype=str to keep it"),
    "text of polars": (lambda: library("polars").Series(["a"]), "dtype=str to keep it"),
    "dask": (lambda: library("dask.array").zeros(3), "x.compute()"),
    "masked values": (lambda: HasArray(np.ma.masked_equal([1, 2], 2)), "x[:].filled(value)"),
    "xarray dataset": (lambda: library("xarray").Dataset({"a": ("r", [1])}), "x.data_vars"),
    "scipy": (lambda: library("scipy.sparse").eye(3), "npdata.csr(m.data"),
    "number": (lambda: 3, "is no source of rows"),
    "bytes": (lambda: b"abc", "is no source of rows"),
    "field": (lambda: npdata.NumpyDataset([1, 2]).fields[0], "the rows of the field, field.source"),
    "generator": (lambda: (k for k in range(3)), "is no source of rows"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_would_change_on_the_way_is_refused_with_the_conversion(name: str) -> None:
    make, cure = REFUSED[name]
    with pytest.raises(UnsupportedSourceError) as caught:
        npdata.open_source(make())
    assert cure in str(caught.value)
