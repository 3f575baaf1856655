"""A field of another dataset: it keeps its options, and heeds those that are asked for anew."""

from typing import Any

import h5py
import numpy as np
import pytest
import torch

import npdata
from npdata import NumpyDataset, errors

VALUES = np.arange(12, dtype=np.float32).reshape(6, 2)


def ragged(values: Any = VALUES) -> Any:
    return npdata.ragged(values, lengths=[2, 1, 3])


def sparse() -> Any:
    return npdata.csr(np.array([5.0, 7.0]), np.array([2, 0]), np.array([0, 1, 2]), (2, 3))


def form_of(field: Any) -> tuple[Any, ...]:
    batch = NumpyDataset(x=field)[:]["x"]
    values = batch.values if isinstance(batch, npdata.Padded) else batch
    layout = values.layout if isinstance(values, torch.Tensor) else None
    return type(field), type(batch), layout, getattr(values, "dtype", None)


OPTIONS: dict[str, tuple[Any, dict[str, Any]]] = {
    "padded": (ragged, {"padding": -1}),
    "jagged": (ragged, {"ragged": "jagged"}),
    "list": (ragged, {"ragged": "list"}),
    "dense": (sparse, {"layout": "dense"}),
    "csr": (sparse, {"layout": "csr"}),
    "dtype": (lambda: VALUES, {"dtype": "float64"}),
}


@pytest.mark.parametrize("case", OPTIONS)
def test_a_field_keeps_its_options_under_another_name(case: str) -> None:
    make, options = OPTIONS[case]
    field = NumpyDataset({"first": make()}, **options).fields["first"]
    again = NumpyDataset({"x": field}).fields["x"]
    assert form_of(again) == form_of(field)
    assert again.label == "x"
    if case == "padded":
        assert (NumpyDataset(x=again)[:]["x"].values == -1).any()


def test_a_field_takes_other_options() -> None:
    jagged = NumpyDataset({"x": ragged()}, ragged="jagged").fields["x"]
    assert isinstance(NumpyDataset(x=jagged, padding=-1)[:]["x"], npdata.Padded)
    assert isinstance(NumpyDataset(x=jagged, ragged="list")[:]["x"], list)
    padded = NumpyDataset({"x": ragged()}, padding=-1).fields["x"]
    assert (NumpyDataset(x=padded, ragged="padded")[:]["x"].values == -1).any()
    csr = NumpyDataset({"x": sparse()}, layout="csr").fields["x"]
    assert NumpyDataset(x=csr, layout="dense")[:]["x"].layout == torch.strided


@pytest.mark.parametrize("make", [ragged, sparse])
def test_an_axis_of_a_field_that_has_none_is_refused_as_of_its_source(make: Any) -> None:
    given = make()
    with pytest.raises(errors.FieldError) as of_source:
        NumpyDataset({"x": given}, axis=1)
    with pytest.raises(errors.FieldError) as of_field:
        NumpyDataset({"x": NumpyDataset({"x": given}).fields["x"]}, axis=1)
    assert str(of_field.value) == str(of_source.value)


def test_samples_of_different_lengths_in_a_field_are_kept_by_a_cache(tmp_path: Any) -> None:
    with h5py.File(tmp_path / "x.h5", "w") as file:
        file.create_dataset("x", data=VALUES, chunks=(2, 2), compression="gzip")
    field = NumpyDataset({"x": ragged(f"{tmp_path}/x.h5::x")}).fields["x"]
    with NumpyDataset({"x": field}, cache="ram") as ds:
        assert "kept in memory" in dict(ds.fields["x"].source.details)["cache"]
        np.testing.assert_array_equal(ds[2]["x"], VALUES[3:])


@pytest.mark.parametrize("option", [{"layout": "csr"}, {"columns": "age"}])
def test_an_option_for_other_rows_says_that_samples_differ_in_length(option: Any) -> None:
    with pytest.raises(errors.FieldError, match="field 0 has samples of different lengths; a"):
        NumpyDataset(ragged(), **option)
