"""Whatever rows are stored in, and whatever is made of them, is what NumPy makes of them.

The model of a field is a list of samples, which are NumPy's arrays.
"""

import pickle
from collections.abc import Callable, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import h5py
import numpy as np
import spans
import torch
from hypothesis import given
from hypothesis import strategies as st
from kinds import misaligned
from torch.nn.utils.rnn import pad_sequence
from torch.utils.data import DataLoader, Subset

import npdata
from npdata import NumpyDataset

Rows = np.ndarray


def npy(rows: Rows, path: Path) -> str:
    np.save(path, rows)
    return f"{path}.npy"


def npz(rows: Rows, path: Path) -> str:
    np.savez_compressed(path, x=rows)
    return f"{path}.npz::x"


def gzip(rows: Rows, path: Path) -> str:
    with h5py.File(f"{path}.h5", "w") as file:
        chunks = tuple(max(1, size // 2) for size in rows.shape)
        ends = (None,) * rows.ndim
        file.create_dataset("x", data=rows, chunks=chunks, maxshape=ends, compression=1)
    return f"{path}.h5::x"


def a_file_each(rows: Rows, path: Path) -> Any:
    path.mkdir()
    for number in range(len(rows)):
        np.save(path / f"{number}.npy", rows[number, ...])  # a scalar would lose its byte order
    return npdata.stack(path) if len(rows) else rows


def shards(rows: Rows, path: Path) -> Any:
    path.mkdir()
    for number, part in enumerate(np.array_split(rows, 3)):
        np.save(path / f"{number}.npy", part)
    return npdata.concatenate(path)


def a_column(rows: Rows, path: Path) -> Any:
    table = np.zeros(len(rows), [("id", "u1"), ("x", rows.dtype, rows.shape[1:])])
    table["x"] = rows
    return NumpyDataset(npy(table, path), columns="x")


def the_last_axis(rows: Rows, path: Path) -> Any:
    return NumpyDataset(npy(np.moveaxis(rows, 0, -1).copy(), path), axis=-1)


STORED: dict[str, Callable[[Rows, Path], Any]] = {
    "array": lambda rows, _: rows,
    "Fortran order": lambda rows, _: np.asfortranarray(rows),
    "reversed": lambda rows, _: rows[::-1].copy()[::-1],
    "misaligned": lambda rows, _: misaligned(rows),
    "npy": npy,
    "npz": npz,
    "gzip": gzip,
    "gzip, kept": lambda rows, path: NumpyDataset(gzip(rows, path), cache="ram"),
    "a file each": a_file_each,
    "shards": shards,
    "a column": a_column,
    "the last axis": the_last_axis,
}
DTYPES = ["?", "u1", "<i2", ">i2", ">f4", "f8", "c8"]
REAL = DTYPES[:-1]
RECORD = np.dtype([("age", "<i2"), ("name", "S3"), ("at", ">f4", (2,))])


def tensor(array: Any) -> torch.Tensor:
    return torch.from_numpy(np.array(array, array.dtype.newbyteorder("=")))


def stacked(samples: Sequence[Any]) -> torch.Tensor:
    return torch.stack(list(map(tensor, samples)))


def padded(samples: Sequence[Any]) -> npdata.Padded:
    values = pad_sequence(list(map(tensor, samples)), batch_first=True)
    return npdata.Padded(values, torch.tensor(list(map(len, samples))))


def columns(samples: Sequence[Any]) -> dict[str, Any]:
    age, name, at = ([record[name] for record in samples] for name in RECORD.names or ())
    return {"age": stacked(age), "name": [text.decode() for text in name], "at": stacked(at)}


def sparse(samples: Sequence[Any]) -> torch.Tensor:
    return stacked(samples).to_sparse_csr()


BATCH = {"rows": stacked, "ragged": padded, "csr": sparse, "records": columns}
"""What a batch of samples is, for each kind of field."""


class Fields:
    """Fields made at random, stored in ways of their own, and their models."""

    def __init__(self, draw: Any, folder: str, dtypes: Sequence[str]) -> None:
        self.draw, self.folder, self.files = draw, Path(folder), 0
        self.dtype = draw(st.sampled_from(dtypes))
        self.row = draw(st.sampled_from([(), (2,), (3, 2)]))

    def stored(self, rows: Rows, ways: Sequence[str] = sorted(STORED)) -> Any:
        self.files += 1
        return STORED[self.draw(st.sampled_from(ways))](rows, self.folder / str(self.files))

    def source(self, rows: Rows) -> Any:
        stored = self.stored(rows)
        return stored.sources[0] if isinstance(stored, NumpyDataset) else stored

    def numbers(self, *shape: int) -> Rows:
        return np.random.default_rng(sum(shape)).integers(0, 90, shape).astype(self.dtype)

    def rows(self, count: int) -> tuple[Any, list[Any]]:
        rows = self.numbers(count, *self.row)
        return self.stored(rows), list(rows)

    def ragged(self, count: int) -> tuple[Any, list[Any]]:
        lengths = self.draw(st.lists(st.integers(0, 3), min_size=count, max_size=count))
        values = self.numbers(sum(lengths), 2)
        source = npdata.ragged(self.source(values), lengths=lengths)
        return source, np.split(values, np.cumsum(lengths))[:-1]

    def csr(self, count: int) -> tuple[Any, list[Any]]:
        rows = (self.numbers(count, 5) * (np.arange(5) % 2)).astype(self.dtype)
        found, at = map(np.ascontiguousarray, np.nonzero(rows))
        ends = np.searchsorted(found, range(count + 1))
        parts = self.source(rows[found, at]), self.source(at), ends
        return npdata.csr(*parts, rows.shape, layout="csr"), list(rows)

    def records(self, count: int) -> tuple[Any, list[Any]]:
        table = np.zeros(count, RECORD)
        table["age"], table["name"], table["at"] = np.arange(count), b"ab", 7
        return NumpyDataset(self.stored(table, ["npy", "gzip"]), columns=RECORD.names), list(table)


class Pipeline:
    """A dataset of parts end to end, and the models of its fields; steps change both."""

    def __init__(self, fields: Fields, kinds: Sequence[str], **functions: Any) -> None:
        self.draw, self.ds, self.functions = fields.draw, 0, functions
        self.samples: dict[str, list[Any]] = {kind: [] for kind in kinds}
        for count in self.draw(st.lists(st.integers(0, 5), min_size=1, max_size=3)):
            made = {kind: getattr(fields, kind)(count) for kind in kinds}
            sources = {kind: source for kind, (source, _) in made.items()}
            given = [sources] if len(kinds) > 1 else sources.values()
            self.ds += NumpyDataset(*given, **functions)
            self.samples = {kind: self.samples[kind] + made[kind][1] for kind in kinds}

    def windows(self) -> None:
        """Of rows; fields beside them keep their anchor row. None where none fits."""
        draw, count = self.draw, len(self.ds)
        offsets = draw(st.lists(st.integers(-3, 4), min_size=1, max_size=3))
        stride, edge = draw(st.integers(1, 3)), draw(st.sampled_from(["drop", "repeat", "zero"]))
        borders = sorted(draw(st.lists(st.integers(0, count), max_size=3)))
        alone, edges = len(self.samples) == 1, [0, *borders, count]
        reach = offsets if alone else [*offsets, 0]
        made = spans.windows(edges, offsets, stride, edge, reach)
        if "rows" not in self.samples or not made:
            return
        rows = np.stack(self.samples["rows"])
        anchors = list(spans.anchors(edges, reach, stride, edge))
        self.samples = {kind: [every[k] for k in anchors] for kind, every in self.samples.items()}
        self.samples["rows"] = [spans.values(rows, window, edge) for window in made]
        asked = offsets if alone else {"rows": offsets}
        self.ds = self.ds.windows(asked, stride=stride, edge=edge, borders=edges)

    def twice(self) -> None:
        self.ds = self.ds + self.ds
        self.samples = {kind: 2 * every for kind, every in self.samples.items()}

    def chosen(self) -> None:
        """Rows of a `Subset` of each field, the same for all; windows are none."""
        fields, count = self.ds.fields if self.ds else {}, len(self.ds)
        if not count or any(field.windows is not None for field in fields.values()):
            return
        numbers = self.draw(st.lists(st.integers(-count, count - 1), min_size=1, max_size=6))
        chosen = {label: Subset(NumpyDataset(fields[label]), numbers) for label in fields}
        given = [chosen] if len(chosen) > 1 else chosen.values()
        self.ds = NumpyDataset(*given, **self.functions)
        self.samples = {kind: [all[k] for k in numbers] for kind, all in self.samples.items()}

    def pickled(self) -> None:
        self.ds = pickle.loads(pickle.dumps(self.ds))

    def batch(self, rows: Sequence[int]) -> Any:
        made = {kind: BATCH[kind]([all[k] for k in rows]) for kind, all in self.samples.items()}
        return made if len(made) > 1 else next(iter(made.values()))


def same(given: Any, expected: Any) -> None:
    if isinstance(expected, torch.Tensor):
        for what in ("shape", "dtype", "layout"):
            assert getattr(given, what) == getattr(expected, what)
        if given.layout == torch.sparse_csr:
            given, expected = given.to_dense(), expected.to_dense()
        assert given.numpy().tobytes() == expected.numpy().tobytes()
    elif isinstance(expected, dict):
        assert list(given) == list(expected)
        same(list(given.values()), list(expected.values()))
    elif isinstance(expected, list | tuple):
        for one, other in zip(given, expected, strict=True):
            same(one, other)
    else:
        assert given == expected


def unchanged(value: Any) -> Any:
    return value


def floats(batch: Any) -> Any:
    if isinstance(batch, dict):
        return {name: floats(part) for name, part in batch.items()}
    return batch if isinstance(batch, list) else batch.to(torch.float64)


def first(batch: Any) -> Any:
    if isinstance(batch, dict):
        return {name: first(part) for name, part in batch.items()}
    if isinstance(batch, npdata.Padded):
        return batch.values[0]
    return batch[0] if isinstance(batch, list) else batch.to_dense()[0]


@given(
    st.data(),
    st.lists(st.sampled_from(sorted(BATCH)), min_size=1, max_size=3, unique=True),
    st.sampled_from([{}, {"transform": unchanged}, {"batch_transform": unchanged}]),
    st.lists(st.sampled_from(["windows", "twice", "chosen", "pickled"]), max_size=3),
    st.sampled_from(
        [{}, {"resident": True}, {"resident": "auto", "device": "cpu"}, {"dtype": "float64"}]
    ),
)
def test_any_pipeline_gives_the_rows_of_numpy(
    data: Any, kinds: list[str], functions: Any, steps: list[str], options: Any
) -> None:
    with TemporaryDirectory() as folder:
        dtypes = REAL if "dtype" in options or "csr" in kinds else DTYPES
        made = Pipeline(Fields(data.draw, folder, dtypes), kinds, **functions)
        for step in steps:
            getattr(made, step)()
        ds, count = made.ds, len(made.samples[kinds[0]])
        assert len(ds) == count
        if not count:
            return
        same(ds[:], made.batch(range(count)))
        same(ds[::-2], made.batch(range(count)[::-2]))
        order = data.draw(st.lists(st.integers(-count, count - 1), min_size=1, max_size=9))
        same(ds[order[0]], first(made.batch(order[:1])))
        for batch in (ds[order], npdata.collate(ds.__getitems__(order))):
            same(batch, made.batch(order))
        same(list(DataLoader(Subset(ds, order), 9, collate_fn=npdata.collate)), [made.batch(order)])
        rows = list(npdata.BlockBatchSampler(ds, 4, seed=1))
        assert sorted(np.concatenate(rows)) == list(range(count))
        loader = npdata.Loader(ds, 4, shuffle="block", seed=1, num_threads=0, **options)
        cast = floats if "dtype" in options else unchanged
        same(list(loader), [cast(made.batch(each)) for each in rows])
