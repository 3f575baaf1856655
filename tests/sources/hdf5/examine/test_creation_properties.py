"""Datasets that are made alike are understood once, and each as if it were alone."""

import dataclasses
import itertools
import pickle
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from npdata import NumpyDataset, errors, open_source
from npdata.sources.hdf5.examine.chunk_table import ChunkTable
from npdata.sources.hdf5.examine.creation_properties import Creations
from npdata.sources.hdf5.examine.layout import read_layout, read_layout_named
from npdata.sources.hdf5.file import FileFacts

DTYPES: list[Any] = ["f4", ">f4", "i2", "u1", "S3", h5py.string_dtype(), ("f4", (2,))]
DTYPES += [[("a", "i2"), ("b", "f8")], h5py.enum_dtype({"a": 1, "b": 2}, "i1"), "i4"]
WAYS: list[dict[str, Any]] = [
    {},
    {"chunks": (4, 2)},
    {"chunks": (2, 4)},
    {"chunks": (4, 1)},
    {"chunks": (4, 1), "compression": 4},
    {"chunks": (4, 2), "maxshape": (None, 4)},
    {"chunks": (4, 2), "compression": 1},
    {"chunks": (4, 2), "compression": 4},
    {"chunks": (4, 2), "compression": 4, "shuffle": True},
    {"chunks": (4, 2), "fletcher32": True},
]
FILLS = [None, 0, 7]
SETS_FILL_TIME = h5py.version.version_tuple[:2] >= (3, 12)


@settings(max_examples=30)
@given(
    made=st.lists(
        st.tuples(st.sampled_from(DTYPES), st.sampled_from(WAYS), st.sampled_from(FILLS)),
        min_size=2,
        max_size=12,
    ),
    times=st.sampled_from(["ifset", "never"]),
)
def test_a_layout_does_not_depend_on_what_was_looked_at_before(
    tmp_path_factory: pytest.TempPathFactory, made: list[Any], times: str
) -> None:
    path = tmp_path_factory.mktemp("kinds") / "d.h5"
    with h5py.File(path, "w") as file:
        for k, (dtype, way, fill) in enumerate(made):
            number = np.dtype(dtype).kind in "iuf" and np.dtype(dtype).subdtype is None
            way = way | ({"fillvalue": fill} if number else {})
            if np.dtype(dtype).hasobject:
                way = {name: value for name, value in way.items() if name != "fletcher32"}
            elif SETS_FILL_TIME:
                way = way | {"fill_time": times}
            file.create_dataset(f"x{k}", (8, 4), dtype, **way)
    with h5py.File(path) as file:
        facts, kinds = FileFacts.of(file), Creations()
        for k in itertools.chain(range(len(made)), reversed(range(len(made)))):
            dataset = file[f"x{k}"].id
            shared = read_layout(dataset, facts, kinds.of(dataset))
            alone = read_layout_named(file, f"x{k}")
            for name in (each.name for each in dataclasses.fields(alone)):
                if name != "chunks":
                    assert getattr(shared, name) == getattr(alone, name)


@given(data=st.data(), shape=st.lists(st.integers(1, 6), min_size=1, max_size=3))
def test_chunks_are_numbered_in_c_order_of_their_grid(data: st.DataObject, shape: Any) -> None:
    chunk = tuple(data.draw(st.integers(1, n)) for n in shape)
    grid = tuple(-(-n // c) for n, c in zip(shape, chunk, strict=True))
    places = data.draw(st.permutations(list(np.ndindex(grid))))
    places = places[: data.draw(st.integers(0, len(places)))]
    offsets = [1000 * k + 500 for k in range(len(places))]
    sizes = data.draw(st.lists(st.integers(1, 99), min_size=len(places), max_size=len(places)))
    masks = data.draw(st.lists(st.integers(0, 1), min_size=len(places), max_size=len(places)))
    for _ in range(2):  # the second time its numbers are known
        table = ChunkTable.of(
            shape=(*shape, 2),
            chunk_shape=(*chunk, 2),
            coordinates=np.array(places, np.int64).reshape(-1, len(shape)) * chunk,
            offsets=offsets,
            sizes=sizes,
            masks=masks,
        )
        numbers = [int(np.ravel_multi_index(place, grid)) for place in places]
        order = np.argsort(numbers)
        assert table.fault is None
        assert table.numbers.tolist() == sorted(numbers)
        assert table.offsets.tolist() == [offsets[k] for k in order]
        assert table.sizes.tolist() == [sizes[k] for k in order]
        assert [table.mask(k) for k in range(len(places))] == [masks[k] for k in order]
        assert table.complete == (len(places) == np.prod(grid))
        assert table.stored_bytes == sum(sizes)
        assert table.end == max((a + b for a, b in zip(offsets, sizes, strict=True)), default=0)
        assert (table.smallest, table.largest) == (min(sizes, default=0), max(sizes, default=0))


@pytest.mark.parametrize(
    ("coordinates", "fault"),
    [
        ([[1, 0]], "begins inside another"),
        ([[0, 8]], "outside the dataset"),
        ([[-2, 0]], "outside the dataset"),
        ([[2, 0], [2, 0]], "two chunks are listed"),
    ],
)
def test_a_damaged_list_of_chunks(coordinates: list[list[int]], fault: str) -> None:
    table = ChunkTable.of(
        shape=(4, 8),
        chunk_shape=(2, 4),
        coordinates=np.array(coordinates),
        offsets=[500] * len(coordinates),
        sizes=[32] * len(coordinates),
        masks=[0] * len(coordinates),
    )
    assert fault in (table.fault or "")


def test_chunks_that_differ_in_the_last_axis_alone_are_read_as_they_are(tmp_path: Path) -> None:
    x = np.arange(600, dtype="f4").reshape(100, 6)
    with h5py.File(tmp_path / "d.h5", "w") as file:
        for width in (1, 2, 3, 6):
            for name, options in (("raw", {}), ("gzip", {"compression": 4})):
                file.create_dataset(f"{name}{width}", data=x, chunks=(10, width), **options)
    with h5py.File(tmp_path / "d.h5") as file:
        names = list(file)
    ds = NumpyDataset.from_hdf5(tmp_path / "d.h5", *names)
    assert all((field.numpy() == x[[99, 0, 50]]).all() for field in ds[[99, 0, 50]])


X = np.arange(96, dtype="f4").reshape(24, 4)
NAMES = tuple(f"{way}{k}" for way in ("plain", "raw", "gzip") for k in range(5))


class TestTheFieldsOfAFile:
    @pytest.fixture
    def path(self, tmp_path: Path) -> Path:
        with h5py.File(tmp_path / "d.h5", "w") as file:
            for k in range(5):
                file.create_dataset(f"plain{k}", data=X + k)
                file.create_dataset(f"raw{k}", data=X + k, chunks=(5, 4))
                file.create_dataset(f"gzip{k}", data=X + k, chunks=(5, 4), compression=1)
        return tmp_path / "d.h5"

    def require_rows(self, ds: NumpyDataset) -> None:
        rows = [23, 0, 7, 7]
        for name, got in zip(NAMES, ds.__getitems__(rows).stacked, strict=True):
            assert np.array_equal(got.numpy(), X[rows] + int(name[-1]))

    @pytest.mark.parametrize("sent", [False, True])
    def test_share_its_descriptor_and_its_map(self, path: Path, sent: bool) -> None:
        ds = NumpyDataset.from_hdf5(path, *NAMES)
        ds = pickle.loads(pickle.dumps(ds)) if sent else ds
        for _ in range(2):
            self.require_rows(ds)
        links = Path("/proc/self/fd")
        if links.exists():
            open_files = [str(each.resolve()) for each in links.iterdir()]
            assert open_files.count(str(path)) <= 2  # a map of Python has one of its own
            assert Path("/proc/self/maps").read_text().count(str(path)) == 1
        ds.close()
        if links.exists():
            assert str(path) not in [str(each.resolve()) for each in links.iterdir()]

    def test_are_closed_one_by_one(self, path: Path) -> None:
        ds = NumpyDataset.from_hdf5(path, *NAMES)
        self.require_rows(ds)
        out = np.empty((1, 4), "f4")
        *firsts, last = ds.sources
        for source in firsts:
            source.close()
            with pytest.raises(errors.ClosedError):
                source.read(np.array([3]), out)
            last.read(np.array([3]), out)
            assert np.array_equal(out[0], X[3] + int(NAMES[-1][-1]))

    def test_have_no_file_with_another_dataset(self, path: Path) -> None:
        first, second = (open_source(f"{path}::plain0") for _ in range(2))
        first.close()
        out = np.empty((1, 4), "f4")
        second.read(np.array([3]), out)
        assert np.array_equal(out[0], X[3])
