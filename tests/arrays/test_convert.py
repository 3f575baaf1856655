"""`as_tensor` and `explain`: when memory is shared, when it is copied, what is refused."""

import ml_dtypes
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

import npdata
from npdata import NumpyDataset, as_tensor, explain
from npdata.arrays.convert import cast_to
from npdata.arrays.dtypes import ML_DTYPES, NATIVE, torch_dtype


def shares(tensor: torch.Tensor, array: np.ndarray) -> bool:
    return tensor.data_ptr() == array.__array_interface__["data"][0]


@pytest.mark.parametrize("name", NATIVE)
def test_dtypes_that_torch_has_are_shared(name: str) -> None:
    array = np.arange(6).reshape(2, 3).astype(name)
    tensor = as_tensor(array)
    assert tensor.dtype == torch_dtype(name)
    assert shares(tensor, array)
    assert (tensor.numpy() == array).all()


@pytest.mark.parametrize("name", [name for name in ML_DTYPES if hasattr(torch, name)])
def test_the_dtypes_of_ml_dtypes_keep_their_bits(name: str) -> None:
    array = np.array([0.5, 1, 2, 4]).astype(getattr(ml_dtypes, name))
    tensor = as_tensor(array)
    assert tensor.dtype == torch_dtype(name)
    assert shares(tensor, array)
    assert tensor.to(torch.float32).tolist() == [0.5, 1, 2, 4]
    assert as_tensor(array, copy=True).to(torch.float32).tolist() == [0.5, 1, 2, 4]


@pytest.mark.parametrize("name", [name for name in ML_DTYPES if hasattr(torch, name)])
def test_bits_without_a_name_are_read_as_the_dtype_asked_for(name: str) -> None:
    array = np.array([0.5, 1, 2, 4]).astype(getattr(ml_dtypes, name))
    void = array.view(f"V{array.itemsize}")
    tensor = as_tensor(void, dtype=torch_dtype(name))
    assert tensor.dtype == torch_dtype(name)
    assert shares(tensor, void)
    assert tensor.to(torch.float32).tolist() == [0.5, 1, 2, 4]
    for odd in (void[::2], readonly(void.copy()), np.array((void[0],), object)[0]):
        assert as_tensor(odd, dtype=name).float().reshape(-1)[0] == 0.5
    with pytest.raises(npdata.errors.ConversionError, match="cast the tensor after that"):
        as_tensor(void, dtype=torch.float32)
    with pytest.raises(npdata.errors.ConversionError, match="says nothing of what its bits mean"):
        as_tensor(void, dtype=torch.bfloat16 if array.itemsize == 1 else torch.float8_e5m2)


def readonly(array: np.ndarray) -> np.ndarray:
    array.flags.writeable = False
    return array


def odd_stride() -> np.ndarray:
    return np.zeros(4, [("a", "i1"), ("b", "<f4")])["b"]


def off_by_one_byte() -> np.ndarray:
    return np.zeros(17, np.uint8)[1:].view(np.float32)


WHY_COPIED = {
    "read-only": (readonly(np.ones((2, 3))), "read-only"),
    "Fortran order": (np.ones((2, 3), order="F"), "not C-contiguous"),
    "a column": (np.ones((2, 3))[:, 1], "not C-contiguous"),
    "negative stride": (np.arange(4)[::-1], "stride is negative"),
    "negative stride, read-only": (readonly(np.arange(4))[::-1], "read-only"),
    "odd stride": (odd_stride(), "no multiple of the item size"),
    "misaligned": (off_by_one_byte(), "not aligned"),
    "byte-swapped": (np.arange(4, dtype=">i4"), "native order"),
    "broadcast": (np.broadcast_to(np.float32(2), (3, 2)), "read-only"),
    "bytes": (np.frombuffer(b"abcd", np.uint8), "read-only"),
}


@pytest.mark.parametrize(("array", "reason"), WHY_COPIED.values(), ids=WHY_COPIED)
def test_what_cannot_be_shared_is_copied_and_says_why(array: np.ndarray, reason: str) -> None:
    tensor = as_tensor(array)
    assert (tensor.numpy() == array).all()
    assert tensor.is_contiguous()
    assert not shares(tensor, array)
    assert explain(array).action == "copy"
    assert reason in explain(array).reason


@pytest.mark.parametrize("case", ["read-only", "negative stride", "odd stride", "byte-swapped"])
def test_copy_false_refuses_with_the_reason(case: str) -> None:
    array, reason = WHY_COPIED[case]
    with pytest.raises(TypeError, match=f"{reason}.*use copy=None"):
        as_tensor(array, copy=False)
    assert explain(array, copy=False).action == "refuse"


@pytest.mark.parametrize("case", ["Fortran order", "a column"])
def test_copy_false_shares_positive_strides(case: str) -> None:
    array, _ = WHY_COPIED[case]
    tensor = as_tensor(array, copy=False)
    assert shares(tensor, array)
    assert tensor.stride() == tuple(step // array.itemsize for step in array.strides)


def test_elements_that_share_their_memory_are_copied_without_a_warning() -> None:
    array, _ = np.broadcast_arrays(np.arange(3.0), np.zeros((2, 3)))
    assert as_tensor(array).tolist() == [[0, 1, 2]] * 2
    writable = np.lib.stride_tricks.as_strided(np.zeros(3), (2, 3), (0, 8))
    assert "stride is zero" in explain(writable).reason
    with pytest.raises(TypeError, match="stride is zero"):
        as_tensor(writable, copy=False)


@pytest.mark.parametrize("name", ["longlong", "ulonglong", "intc", "uintc"])
def test_names_of_c_for_the_same_dtype(name: str) -> None:
    array = np.arange(4).astype(name)
    assert shares(as_tensor(array), array)
    assert as_tensor(array, copy=True).tolist() == [0, 1, 2, 3]


def test_copy_true_is_always_independent() -> None:
    array = np.zeros(3)
    tensor = as_tensor(array, copy=True)
    tensor += 1
    assert array.tolist() == [0, 0, 0]


def test_a_shared_tensor_writes_to_the_array_and_back() -> None:
    array = np.zeros(3)
    tensor = as_tensor(array)
    tensor[0] = 1
    array[1] = 2
    assert array.tolist() == tensor.tolist() == [1, 2, 0]


@pytest.mark.parametrize("shape", [(), (0,), (0, 3), (3, 0), (1, 1, 1)], ids=str)
def test_empty_and_zero_dimensional_arrays_keep_their_shape(shape: tuple[int, ...]) -> None:
    for array in (
        np.ones(shape),
        np.ones(shape, ">f4"),
        readonly(np.ones(shape)),
        np.ones(shape).T,
    ):
        assert tuple(as_tensor(array).shape) == array.shape


def test_numpy_scalars_become_zero_dimensional_tensors() -> None:
    assert as_tensor(np.float32(1.5)).item() == 1.5
    assert as_tensor(np.bool_(1)).dtype == torch.bool
    with pytest.raises(TypeError, match="a NumPy scalar cannot be shared"):
        as_tensor(np.float32(1.5), copy=False)


def test_a_memmap_view_is_shared_where_it_is_writable(tmp_path) -> None:
    np.save(tmp_path / "a.npy", np.arange(6.0))
    private = np.load(tmp_path / "a.npy", mmap_mode="c")[2:]
    assert shares(as_tensor(private), private)
    assert explain(np.load(tmp_path / "a.npy", mmap_mode="r")).action == "copy"


REFUSED = {
    "masked array": (np.ma.zeros(3), r"array\.filled"),
    "matrix": (np.zeros((2, 2)).view(np.matrix), r"np\.asarray"),
    "another subclass": (np.zeros(2).view(type("Volts", (np.ndarray,), {})), r"Volts.*np\.asarray"),
    "list": ([1, 2], r"a list is no NumPy array"),
    "ragged list": ([[1], [2, 3]], r"a list is no NumPy array"),
    "tensor": (torch.zeros(2), r"a Tensor is no NumPy array"),
    "objects": (np.array([1, "a"], object), r"x\.astype\('float32'\) where all are numbers"),
    "a ragged array": (
        np.array([[1], [2, 3]], object),
        r"rows of different lengths npdata\.ragged",
    ),
    "strings": (np.array(["a"]), "holds no text"),
    "bytes": (np.array([b"a"]), "holds no text"),
    "variable strings": (np.array(["a"], np.dtypes.StringDType()), "holds no text"),
    "datetimes": (np.array(["2020-01-01"], "M8[D]"), r"dtype=torch\.int64"),
    "durations": (np.array([5], "m8[s]"), r"dtype=torch\.int64"),
    "long double": (np.zeros(2, np.longdouble), r"astype"),
    "void": (np.zeros(2, "V3"), r"no dtype with the bits.* array\.view\(\('u1', 3\)\)"),
    "void of two bytes": (np.zeros(2, "V2"), r"dtype=torch\.bfloat16, .* array\.view\('u2'\)"),
    "void of one byte": (np.zeros(2, "V1"), r"dtype=torch\.float8_e4m3fn or torch\.float8"),
    "int4": (np.zeros(2, ml_dtypes.int4), r"no int4; convert with array.astype\('float32'\)"),
    "a refused field": (np.zeros(2, [("a", "f4"), ("b", "O")]), "its field 'b'"),
}


@pytest.mark.parametrize(("array", "reason"), REFUSED.values(), ids=REFUSED)
def test_what_no_tensor_can_hold_is_refused_with_what_to_do(array: object, reason: str) -> None:
    assert explain(array).action == "refuse"
    with pytest.raises(TypeError, match=reason) as caught:
        as_tensor(array)
    assert isinstance(caught.value, npdata.errors.ConversionError)
    assert explain(array).reason in str(caught.value)


def test_bytes_of_void_are_an_axis_as_the_error_says_and_rows_stay_as_many() -> None:
    array = np.array([b"abc", b"def"], "S3").view("V3")
    assert as_tensor(array.view(("u1", 3))).tolist() == [[97, 98, 99], [100, 101, 102]]


@pytest.mark.parametrize("order", ["<", ">"])
def test_datetimes_become_ticks_when_asked_for(order: str) -> None:
    array = np.array(["1970-01-03", "NaT"], f"{order}M8[D]")
    assert as_tensor(array, dtype=torch.int64).tolist() == [2, -(1 << 63)]


def test_a_structured_array_becomes_a_dict_of_its_fields() -> None:
    dtype = [("a", "<f4"), ("b", ">i2", (2,)), ("c", [("d", "?")])]
    array = np.zeros(3, dtype)
    array["a"], array["b"], array["c"]["d"] = 1.5, [[1, 2]], True
    tensors = as_tensor(array)
    assert tensors["a"].tolist() == [1.5] * 3
    assert tensors["b"].tolist() == [[1, 2]] * 3
    assert tensors["c"]["d"].tolist() == [True] * 3
    assert explain(array).action == "fields"


@pytest.mark.parametrize("dtype", [torch.float32, np.float32, "float32", np.dtype("<f4")], ids=str)
def test_dtype_casts_as_asked(dtype: object) -> None:
    tensor = as_tensor(np.array([1.5, 2.5]), dtype=dtype)
    assert tensor.dtype == torch.float32
    assert tensor.tolist() == [1.5, 2.5]


@pytest.mark.parametrize("dtype", [torch.FloatTensor, torch.ones(1), "torch.float32"], ids=str)
def test_what_names_no_dtype_is_refused_with_one(dtype: object) -> None:
    with pytest.raises(TypeError, match=r"names no tensor dtype; give a torch dtype such as"):
        as_tensor(np.zeros(2), dtype=dtype)


@pytest.mark.parametrize("name", ["qint8", "quint4x2", "bits8", "int4", "float4_e2m1fn_x2"])
def test_a_dtype_that_torch_casts_no_numbers_to_is_refused(name: str) -> None:
    dtype = getattr(torch, name, torch.qint8)  # an older torch lacks some
    with pytest.raises(TypeError, match=r"no tensor dtype that numbers are cast to; give"):
        as_tensor(np.zeros(2), dtype=dtype)


def test_a_dtype_that_the_array_has_already_still_shares() -> None:
    array = np.zeros(3, np.float32)
    assert shares(as_tensor(array, dtype="float32", copy=False), array)
    with pytest.raises(TypeError, match="cast from float32"):
        as_tensor(array, dtype="float64", copy=False)


def test_a_cast_that_would_drop_the_imaginary_part_is_refused() -> None:
    with pytest.raises(TypeError, match="imaginary part"):
        as_tensor(np.zeros(2, complex), dtype=torch.float32)


def test_sparse_numbers_that_are_not_yet_added_up_are_cast_one_by_one() -> None:
    with torch.sparse.check_sparse_tensor_invariants():
        twice = torch.sparse_coo_tensor(torch.tensor([[1, 1]]), torch.tensor([1.0, 2.0]), (3,))
    assert cast_to(twice, torch.int64).to_dense().tolist() == [0, 3, 0]


def test_what_lies_between_nested_numbers_is_not_looked_at() -> None:
    base = torch.tensor([[1, 2, torch.nan], [4, torch.nan, 5]])
    kept = torch.nested.narrow(base, 1, 0, torch.tensor([2, 1]), layout=torch.jagged)
    assert [row.tolist() for row in cast_to(kept, torch.int64).unbind()] == [[1, 2], [4]]
    with pytest.raises(TypeError, match=r"nan is no torch.int64"):
        cast_to(torch.nested.nested_tensor([base[0]], layout=torch.jagged), torch.int64)


@pytest.mark.parametrize("kind", [np.float16, np.float32, np.float64])
@pytest.mark.parametrize("lost", [np.nan, np.inf, -np.inf, 256, -1, 1e4])
def test_floats_that_are_no_integers_of_the_dtype_are_refused(lost: float, kind: type) -> None:
    array = np.array([3, lost], kind)
    with pytest.raises(TypeError, match=r"is no torch.uint8 \(0 to 255\): put a number in"):
        as_tensor(array, dtype=torch.uint8)


@pytest.mark.parametrize(
    "dtype, edges",
    [
        (np.uint8, [-0.9, 255.9]),
        (np.int8, [-128.9, 127.9]),
        (np.int64, [-(2.0**63), np.nextafter(2.0**63, 0)]),
        (np.uint64, [0.0, np.nextafter(2.0**64, 0)]),
        (bool, [np.nan, np.inf]),
    ],
)
def test_floats_are_cut_off_as_numpy_does(dtype: type, edges: list[float]) -> None:
    array = np.array(edges)
    assert np.array_equal(as_tensor(array, dtype=dtype).numpy(), array.astype(dtype))


@pytest.mark.parametrize("arguments", [{"copy": "no"}, {"copy": 2}, {"dtype": "nonsense"}], ids=str)
def test_arguments_without_a_meaning_are_refused_too(arguments: dict[str, object]) -> None:
    with pytest.raises(TypeError):
        explain(np.float64(1), **arguments)


@pytest.mark.parametrize(
    "arguments", [{"copy": 1}, {"copy": np.True_}, {"dtype": ["f4"]}, {"copy": "no"}], ids=str
)
def test_arguments_without_a_meaning_are_refused(arguments: dict[str, object]) -> None:
    with pytest.raises(TypeError):
        as_tensor(np.zeros(2), **arguments)


@st.composite
def twisted_arrays(draw: st.DrawFn) -> np.ndarray:
    """Arrays of any dtype that torch has, byte order, strides and flags."""
    dtype = np.dtype(draw(st.sampled_from(sorted(NATIVE)))).newbyteorder(
        draw(st.sampled_from("<>"))
    )
    shape = draw(npst.array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=4))
    array = np.arange(np.prod(shape, dtype=int)).reshape(shape).astype(dtype)
    if draw(st.booleans()):
        array = np.asfortranarray(array)
    if draw(st.booleans()):
        steps = [slice(None, None, draw(st.sampled_from([1, 2, -1, -2]))) for _ in shape]
        array = array[(*steps, ...)]
    if draw(st.booleans()):
        array = array.T
    if draw(st.booleans()):
        array = readonly(array.view())
    return array


@given(twisted_arrays(), st.sampled_from([None, True, False]))
def test_values_are_numpys_for_every_layout(array: np.ndarray, copy: bool | None) -> None:
    decision = explain(array, copy=copy)
    if decision.action == "refuse":
        assert copy is False
        with pytest.raises(TypeError):
            as_tensor(array, copy=copy)
        return
    tensor = as_tensor(array, copy=copy)
    assert tensor.numpy().astype(array.dtype).tobytes() == array.tobytes()
    assert tensor.dtype == decision.dtype == torch_dtype(array.dtype)
    if array.size:
        assert shares(tensor, array) == (decision.action == "view")


@pytest.mark.parametrize("stride", [0, 24, 192])
def test_the_stride_of_an_axis_of_length_one_does_not_matter(stride: int) -> None:
    array = np.lib.stride_tricks.as_strided(np.arange(3.0), (1, 3), (stride, 8))
    assert array.flags.c_contiguous
    assert npdata.explain(array).action == "view"
    assert npdata.as_tensor(array).tolist() == [[0.0, 1.0, 2.0]]


@pytest.mark.parametrize("dtype", ["c8", "c16"])
def test_complex_numbers_lie_where_torch_works_on_them(dtype: str) -> None:
    """It wants them at a multiple of their size, and NumPy at one of half of it."""
    size = np.dtype(dtype).itemsize
    table = np.ones(4, [("id", f"f{size // 2}"), ("x", dtype)])
    for column in (table["x"], table["x"][:1], np.broadcast_to(table["x"][:1], 4)):
        assert column.flags.aligned
        ds = NumpyDataset(column)
        for tensor in (as_tensor(column), ds[0], ds[:1], ds[[0, 0]], NumpyDataset(table)[0]["x"]):
            assert tensor.data_ptr() % size == 0
            assert (tensor.fill_(2) == 2).all()
        assert (column == 1).all()
    with pytest.raises(TypeError, match="not aligned in memory"):
        as_tensor(table["x"][0, ...], copy=False)
