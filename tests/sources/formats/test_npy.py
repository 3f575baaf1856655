"""`.npy` files: every header that NumPy writes, and a clear error for every one that lies."""

import gc
import pickle
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

import npdata
from npdata import NumpyDataset, errors, open_source

X = np.arange(24, dtype=np.float32).reshape(6, 4)


def write(path: Path, header: bytes, data: bytes = b"", version: tuple[int, int] = (1, 0)) -> Path:
    size = len(header).to_bytes(2 if version == (1, 0) else 4, "little")
    path.write_bytes(b"\x93NUMPY" + bytes(version) + size + header + data)
    return path


def header(descr: str = "'<f4'", order: str = "False", shape: str = "(6, 4)") -> bytes:
    return f"{{'descr': {descr}, 'fortran_order': {order}, 'shape': {shape}}}\n".encode()


@pytest.mark.parametrize("version", [(1, 0), (2, 0), (3, 0)])
def test_every_version_of_the_header(tmp_path: Path, version: tuple[int, int]) -> None:
    with (tmp_path / "a.npy").open("wb") as file:
        np.lib.format.write_array(file, X, version=version)
    assert (NumpyDataset(tmp_path / "a.npy")[:].numpy() == X).all()


def test_field_names_outside_latin_1(tmp_path: Path) -> None:
    rows = np.zeros(3, [("ж", "f4")])
    with (tmp_path / "a.npy").open("wb") as file:
        np.lib.format.write_array(file, rows, version=(3, 0))
    assert list(NumpyDataset(tmp_path / "a.npy")[0]) == ["ж"]


def test_many_fields_are_pickled_by_path(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", np.zeros(3, [(f"field {k}", "f4") for k in range(60)]))
    ds = NumpyDataset(tmp_path / "a.npy")
    ds[[0]]
    assert len(pickle.dumps(ds)) <= 4096
    assert len(pickle.loads(pickle.dumps(ds))[1]) == 60


def test_the_old_name_of_bytes(tmp_path: Path) -> None:
    path = write(tmp_path / "a.npy", header(descr="'|a4'", shape="(2,)"), b"abcdefgh")
    assert NumpyDataset(path, dtype=bytes)[1] == b"efgh"
    record = "[('a4', '|a2'), ('at', [('s', 'a1', (2,))])]"
    write(path, header(descr=record, shape="(2,)"), b"abcdefgh")
    assert open_source(path).dtype == np.dtype([("a4", "S2"), ("at", [("s", "S1", (2,))])])


def test_headers_of_python_2(tmp_path: Path) -> None:
    path = write(tmp_path / "a.npy", header(shape="(6L, 4L)"), X.tobytes())
    assert (NumpyDataset(path)[:].numpy() == X).all()


@pytest.mark.parametrize("rows", [np.zeros((0, 3)), np.zeros((3, 0)), np.zeros(0, "S3")])
def test_arrays_without_elements(tmp_path: Path, rows: np.ndarray) -> None:
    np.save(tmp_path / "a.npy", rows)
    assert open_source(tmp_path / "a.npy").shape == rows.shape


def test_data_that_is_not_aligned_is_gathered_all_the_same(tmp_path: Path) -> None:
    path = write(tmp_path / "a.npy", header(), X.tobytes())
    ds = NumpyDataset(path)
    assert (ds[[5, 0, 5]].numpy() == X[[5, 0, 5]]).all()
    assert (ds[2].numpy() == X[2]).all()


def test_arrays_behind_the_first_are_not_dropped(tmp_path: Path) -> None:
    """`np.save` on an open file appends an array, and `np.load(path)` gives the first alone."""
    path = tmp_path / "x.npy"
    with path.open("wb") as stream:
        for k in range(3):
            np.save(stream, np.full((2, 3), k))
    for read in (NumpyDataset, npdata.stack, npdata.concatenate):
        with pytest.raises(errors.FormatError, match=r"x\.npy holds several arrays"):
            read([str(path)] if read is not NumpyDataset else path)


def test_bytes_behind_the_data_are_ignored_as_numpy_does(tmp_path: Path) -> None:
    path = write(tmp_path / "a.npy", header(), X.tobytes() + b"more")
    assert (NumpyDataset(path)[:].numpy() == np.load(path)).all()


BROKEN = {
    "no such version": (b"\x93NUMPY\x09\x00", r"version \(9, 0\)"),
    "cut inside the magic": (b"\x93NUMPY\x01", "ends inside its .npy header"),
    "cut inside the header": (b"\x93NUMPY\x01\x00\xff\x00abc", "ends inside its .npy header"),
    "a header of gigabytes": (b"\x93NUMPY\x02\x00\xff\xff\xff\x7f", "the file is damaged"),
}


@pytest.mark.parametrize(("content", "reason"), BROKEN.values(), ids=BROKEN)
def test_a_file_that_is_damaged(tmp_path: Path, content: bytes, reason: str) -> None:
    (tmp_path / "a.npy").write_bytes(content)
    with pytest.raises(errors.FormatError, match=reason):
        open_source(tmp_path / "a.npy")


LIES = {
    "more rows than there are": (header(shape="(7, 4)"), "bytes 68 to 180, but .* 164 bytes"),
    "more rows than fit an integer": (header(shape="(6, 99999999999999999999)"), "larger than any"),
    "a negative size": (header(shape="(-1, 4)"), "no tuple of sizes"),
    "a size that is no number": (header(shape="('a',)"), "no tuple of sizes"),
    "a bool for a size": (header(shape="(True, 4)"), "no tuple of sizes"),
    "no shape": (b"{'descr': '<f4', 'fortran_order': False}", "no dict of descr"),
    "no order": (header(order="2"), "no bool"),
    "no dtype": (header(descr="'nonsense'"), "cannot be read"),
    "an empty dtype": (header(descr="()"), "cannot be read"),
    "code": (b"__import__('os').getcwd()", "cannot be read"),
    "nothing": (b"", "cannot be read"),
    "deep nesting": (b"(" * 5000, "cannot be read"),
    "Python objects": (header(descr="'|O'"), "pickled Python objects"),
    "an object field": (header(descr="[('a', '|O')]"), "pickled Python objects"),
    "no rows": (header(shape="()"), "one value and no rows"),
}


@pytest.mark.parametrize(("text", "reason"), LIES.values(), ids=LIES)
def test_a_header_that_lies(tmp_path: Path, text: bytes, reason: str) -> None:
    path = write(tmp_path / "a.npy", text.ljust(54), X.tobytes())
    with pytest.raises(ValueError, match=reason) as caught:
        open_source(path)
    assert str(path) in str(caught.value)


def test_pickled_objects_are_never_loaded(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", np.array([{"a": 1}]), allow_pickle=True)
    with pytest.raises(errors.FormatError, match="could run any code"):
        NumpyDataset(tmp_path / "a.npy")


@pytest.mark.parametrize("length", [0, 5, 64, 127, 128, 200])
def test_a_file_cut_anywhere(tmp_path: Path, length: int) -> None:
    np.save(tmp_path / "a.npy", X)
    whole = (tmp_path / "a.npy").read_bytes()
    (tmp_path / "b.npy").write_bytes(whole[:length])
    with pytest.raises(errors.FormatError, match=r"b\.npy"):
        open_source(tmp_path / "b.npy")


def test_headers_are_read_in_threads_while_garbage_is_collected(
    tmp_path: Path,
) -> None:
    """Python 3.11 raised SystemError, since its parser counts the depth of all threads together."""
    np.save(tmp_path / "x.npy", np.zeros((5, 3), np.float32))
    begun = gc.get_threshold()

    def let_others_run(*_: object) -> None:
        time.sleep(0)

    gc.callbacks.append(let_others_run)
    gc.set_threshold(5)
    try:
        with ThreadPoolExecutor(4) as pool:
            opened = list(pool.map(open_source, [tmp_path / "x.npy"] * 400))
    finally:
        gc.set_threshold(*begun)
        gc.callbacks.remove(let_others_run)
    assert {source.shape for source in opened} == {(5, 3)}
