"""The tensors of a batch are found and cast in whatever holds them."""

import re
from collections import OrderedDict, namedtuple
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch
from torch.utils.data import StackDataset, Subset

import npdata
from npdata import Loader, NumpyDataset
from npdata.dataset.nested import map_tensors
from npdata.errors import LoaderError
from npdata.loading.cast import cast, known_dtypes
from npdata.loading.finish_on_device import Finish
from npdata.sources.packed.packing import Packing
from npdata.sources.packed.unpack import TensorDecoder

NO_FIELD = "which is no field; fields are"
Pair = namedtuple("Pair", "x y")


def test_tensors_are_found_in_any_container() -> None:
    batch = OrderedDict(a=[torch.ones(2)], b=Pair(torch.ones(1), "text"), c=(3, None))
    moved = map_tensors(lambda tensor: tensor + 1, batch)
    assert type(moved) is OrderedDict
    assert moved["a"][0].tolist() == [2, 2]
    assert moved["b"] == Pair(torch.tensor([2.0]), "text")
    assert moved["c"] == (3, None)


@pytest.mark.parametrize(
    "growing, expected",
    [
        (False, [torch.float32, torch.uint8, torch.float32]),
        (True, [torch.float64, torch.float32, torch.float32]),
        (None, [torch.float32] * 3),
    ],
)
def test_casts_that_grow_wait_for_the_copy(growing: bool | None, expected: list) -> None:
    batch = [torch.zeros(2, dtype=d) for d in (torch.float64, torch.uint8, torch.float32)]
    assert [part.dtype for part in cast(batch, torch.float32, growing=growing)] == expected


@pytest.mark.parametrize("dtype", [torch.float16, {"x": torch.float16}])
@pytest.mark.parametrize("form", ["<f4", ">f4", "f8", "i1", "?"])
def test_arrays_that_a_batch_transform_gives_are_cast_too(dtype: object, form: str) -> None:
    ds = NumpyDataset(x=np.arange(3), batch_transform=lambda b: {"x": b["x"].numpy().astype(form)})
    (batch,) = Loader(ds, 3, dtype=dtype)
    assert batch["x"].dtype == torch.float16
    assert batch["x"].tolist() == np.arange(3).astype(form).tolist()
    (batch,) = Loader(ds, 3)
    assert batch["x"].dtype == np.dtype(form)


def test_an_array_of_text_in_a_batch_has_no_dtype_to_be_cast_to() -> None:
    batch = cast([np.array(["a"]), np.ones(1, np.float32)], torch.float64)
    assert batch[0].tolist() == ["a"]
    assert batch[1].dtype == torch.float64


def test_a_cast_leaves_the_lengths_of_padded_samples_alone() -> None:
    padded = npdata.Padded(torch.zeros(1, 2), torch.tensor([2]))
    for held in ([padded], Pair("text", padded), {"x": {"y": padded}}):
        batch = cast(held, torch.float16)
        while not isinstance(batch, npdata.Padded):
            batch = list(batch.values() if isinstance(batch, dict) else batch)[-1]
        assert (batch.values.dtype, batch.lengths.dtype) == (torch.float16, torch.int64)
    ds = NumpyDataset(npdata.ragged([5, 6], lengths=[2]), np.zeros(1))
    ((text, _),) = Loader(ds, 1, dtype="float32")
    assert (text.values.dtype, text.lengths.dtype) == (torch.float32, torch.int64)


@pytest.mark.parametrize("dtype", [torch.int64, {"y": torch.int64}])
@pytest.mark.parametrize(
    "options", [{}, {"resident": True}, {"device": "cpu"}, {"num_threads": 1, "batch_size": 1}]
)
def test_the_field_of_a_number_that_is_lost_is_named(dtype: object, options: dict) -> None:
    ds = NumpyDataset(x=np.zeros(2), y=np.array([1, np.nan]))
    with pytest.raises(TypeError, match=r"^field 'y' \(dtype= of the Loader\): nan is no"):
        list(Loader(ds, **{"batch_size": 2, **options}, dtype=dtype))


@pytest.mark.parametrize("dtype", [torch.float32, {"y": torch.int64}, {"y": torch.bool}])
@pytest.mark.parametrize("options", [{}, {"resident": True}, {"device": "cpu"}])
def test_an_imaginary_part_is_not_lost(dtype: object, options: dict) -> None:
    ds = NumpyDataset(x=np.zeros(2), y=np.array([1, 1j]))
    with pytest.raises(TypeError, match=r"^field 'y' \(.*\): .* discard the imaginary part"):
        list(Loader(ds, 2, **options, dtype=dtype))
    (batch,) = Loader(ds, 2, **options, dtype=torch.complex64)
    assert batch["y"].tolist() == [1, 1j]


def test_the_field_is_named_where_rows_lie_on_a_device_or_are_decoded_there() -> None:
    ds = NumpyDataset(y=np.array([1, np.nan]), dtype=torch.int64)
    with pytest.raises(TypeError, match=r"^field 'y' .*: nan is no"):
        list(Loader(ds, 2, resident=True, device="cpu"))
    decoder = TensorDecoder(
        packing=Packing(missing=(np.float32(3),)), stored=np.dtype("f4"), cast=torch.int64
    )
    with pytest.raises(TypeError, match=r"^field 'y': nan is no"):
        Finish(decoders={"y": decoder}, function=None)({"y": torch.tensor([3.0])})


def test_padding_that_is_no_integer_is_called_padding() -> None:
    one = npdata.Padded(torch.tensor([[1, 2], [3, torch.nan]]), torch.tensor([2, 1]))
    for held, label in ((one, 0), ({"x": one}, "'x'")):
        message = rf"^field {label} \(.*\): the padding, nan, is no torch.int64: give padding=$"
        with pytest.raises(TypeError, match=message):
            cast(held, torch.int64)
    assert cast(one, {0: torch.float64}).dtype == torch.float64
    with pytest.raises(TypeError, match=r"inf is no torch.int64"):
        cast(one._replace(values=torch.tensor([[1, torch.inf], [3, torch.nan]])), torch.int64)


def test_a_bare_tensor_is_field_0() -> None:
    assert cast(torch.zeros(2), {0: torch.int8}).dtype == torch.int8
    with pytest.raises(LoaderError, match="names 1, which is no field"):
        cast(torch.zeros(2), {1: torch.int8})


@pytest.mark.parametrize(
    ("wrapped", "fields"),
    [
        (lambda: NumpyDataset(x=np.zeros(2), y=np.zeros(2)), ["x", "y"]),
        (lambda: NumpyDataset(np.zeros(2), np.zeros(2)), [0, 1]),
        (lambda: NumpyDataset(np.zeros(2)), [0]),
        (lambda: Subset(NumpyDataset(x=np.zeros(2)), [1]), ["x"]),
        (lambda: StackDataset(a=NumpyDataset(x=np.zeros(2))), ["a"]),
    ],
)
def test_a_name_of_no_field_is_refused_where_the_loader_is_made(wrapped, fields) -> None:
    with pytest.raises(LoaderError, match=re.escape(f"names 'typo', {NO_FIELD} {fields}")):
        Loader(wrapped(), 2, dtype={"typo": torch.int8})


def test_fields_that_a_function_gives_are_known_with_the_first_batch() -> None:
    ds = NumpyDataset(np.zeros(2), transform=lambda x: {"made": x})
    (batch,) = Loader(ds, 2, dtype={"made": torch.int8})
    assert batch["made"].dtype == torch.int8
    with pytest.raises(LoaderError, match=re.escape(f"names 0, {NO_FIELD} ['made']")):
        list(Loader(ds, 2, dtype={0: torch.int8}))
    records = NumpyDataset(np.zeros(2, [("a", "f4"), ("b", "f8")]))
    (batch,) = Loader(records, 2, dtype={"a": torch.int8})
    assert (batch["a"].dtype, batch["b"].dtype) == (torch.int8, torch.float64)


def test_fields_that_a_subclass_gives_are_known_with_the_first_batch() -> None:
    class Numbered:
        def __getitem__(self, row):
            return super().__getitem__(row), row

        def __getitems__(self, rows):
            return [self[int(row)] for row in rows]

    ds = NumpyDataset(np.arange(4.0))
    for numbered in (
        type("Part", (Numbered, Subset), {})(ds, [1, 3]),
        type("Stack", (Numbered, StackDataset), {})(Subset(ds, [1, 3])),
        type("Data", (Numbered, NumpyDataset), {})(np.array([1.0, 3.0])),
    ):
        for dataset in (numbered, Subset(numbered, [0, 1])):
            ((_, rows),) = Loader(dataset, 2, dtype={0: torch.float16})
            assert rows.dtype == torch.int64
            ((_, rows),) = Loader(dataset, 2, dtype={1: torch.float16})
            assert rows.dtype == torch.float16
    with pytest.raises(LoaderError, match="names 'typo'"):
        list(Loader(numbered, 2, dtype={"typo": torch.int8}))


def test_the_only_field_is_cast_whole() -> None:
    ds = NumpyDataset(npdata.ragged(np.arange(6.0), lengths=[2, 4]), ragged="list")
    for dataset in (ds, Subset(ds, [0, 1])):
        (batch,) = Loader(dataset, 2, dtype={0: torch.int8})
        assert [sample.dtype for sample in batch] == [torch.int8] * 2


@pytest.mark.parametrize("name", [torch.float16, "float16", np.float16, np.dtype(np.float16)])
def test_a_dtype_is_named_as_for_a_dataset(name: object) -> None:
    assert known_dtypes(name) == torch.float16
    assert known_dtypes({"x": name, "y": None}) == {"x": torch.float16}


class TestTimes:
    """Times are integers, of which the smallest stands for a missing one."""

    def times(self) -> NumpyDataset:
        days = np.array(["2000-01-01", "NaT"], "M8[D]")
        return NumpyDataset(day=days, x=np.zeros(2), dtype={"day": torch.int64})

    @pytest.mark.parametrize("wrapped", [lambda ds: ds, lambda ds: Subset(ds, [1])])
    @pytest.mark.parametrize("dtype", [torch.float32, {"day": "float64"}])
    def test_are_not_cast_to_floats(self, wrapped, dtype) -> None:
        with pytest.raises(LoaderError, match="missing times in field 'day'"):
            Loader(wrapped(self.times()), 2, dtype=dtype)

    def test_in_samples_out_of_several_parts_are_not_either(self, tmp_path: Path) -> None:
        with h5py.File(tmp_path / "t.h5", "w") as file:
            file["t"] = np.arange(4.0)
            file["t"].attrs["units"] = "days since 2000-01-01"
        times = NumpyDataset(f"{tmp_path}/t.h5::t", decode="cf").sources[0]
        samples = npdata.concatenate([npdata.ragged(times, lengths=[1, 3])] * 2, ragged="list")
        with pytest.raises(LoaderError, match="missing times in field 0"):
            Loader(samples, 2, dtype=torch.float32)

    def test_in_a_stack_are_not_either(self) -> None:
        with pytest.raises(LoaderError, match="missing times in field 'day'"):
            Loader(StackDataset(t=self.times()), 2, dtype={"t": torch.float32})

    @pytest.mark.parametrize("dtype", [torch.int64, {"x": torch.float32}, None])
    def test_do_not_forbid_other_casts(self, dtype) -> None:
        smallest = np.iinfo(np.int64).min
        (batch,) = Loader(self.times(), 2, dtype=dtype)
        assert batch["day"].tolist() == [10957, smallest]
