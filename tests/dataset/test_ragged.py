"""Samples of different lengths are NumPy's slices, and a batch of them holds the same values."""

import itertools
import pickle
from typing import Any

import h5py
import ml_dtypes
import numpy as np
import pytest
import torch
from few import few
from hypothesis import given
from hypothesis import strategies as st
from kinds import KINDS, ROWS, Data
from torch.nn.utils.rnn import pad_sequence
from torch.utils.data import ConcatDataset, DataLoader, Subset, default_collate

import npdata
from npdata import NumpyDataset
from npdata.errors import ConversionError, FieldError

bounds = st.lists(st.integers(0, ROWS), max_size=8).map(lambda b: [0, *sorted(b), ROWS])


@pytest.fixture(params=KINDS)
def kind(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture
def jagged(data: Data) -> Any:
    """Spans of x in each form, and the arrays that they are."""
    offsets = np.array([0, 3, 3, 40, 41, ROWS])
    made = npdata.ragged(data.folder / "x.npy", offsets=offsets)
    return made, [data.x[a:b] for a, b in itertools.pairwise(offsets)]


def padded(parts: list[np.ndarray], padding: float = 0) -> torch.Tensor:
    return pad_sequence([torch.tensor(p) for p in parts], batch_first=True, padding_value=padding)


@pytest.mark.parametrize("gain", [2, 0.5, torch.tensor(2)])
def test_a_padded_batch_is_no_tuple_to_repeat(gain: Any) -> None:
    batch = npdata.Padded(torch.tensor([[5, 6], [7, 0]]), torch.tensor([2, 1]))
    for product in (lambda: batch * gain, lambda: gain * batch):
        with pytest.raises(TypeError, match=r"write batch\._replace\(values=batch\.values \* 2\)"):
            product()


def test_a_padded_batch_is_that_of_pad_sequence(kind: str, data: Data) -> None:
    values = npdata.open_source(KINDS[kind](data))

    @few(kind)
    @given(bounds, st.lists(st.integers(0, 8), min_size=1, max_size=6), st.sampled_from([0, -7]))
    def check(offsets: list[int], picked: list[int], padding: int) -> None:
        spans = npdata.ragged(values, offsets=np.array(offsets))
        ds = NumpyDataset(spans, padding=padding)
        parts = [data.x[a:b] for a, b in itertools.pairwise(offsets)]
        rows = [k % len(parts) for k in picked]
        batch = npdata.collate(ds.__getitems__(rows))
        assert torch.equal(batch.values, padded([parts[k] for k in rows], padding))
        assert batch.lengths.tolist() == [len(parts[k]) for k in rows]
        assert batch.mask().sum(1).tolist() == batch.lengths.tolist()
        for k in rows:
            assert (ds[k].numpy() == parts[k]).all()
            assert ds[k].shape == parts[k].shape

    check()


def test_offsets_and_lengths_say_the_same(data: Data) -> None:
    lengths = np.array([5, 0, 92], np.uint16)
    np.save(data.folder / "lengths.npy", lengths)
    for spans in (
        npdata.ragged(data.x, lengths=lengths),
        npdata.ragged(data.x, lengths=data.folder / "lengths.npy"),
        npdata.ragged(data.x, offsets=np.array([0, 5, 5, 97])),
        npdata.ragged(data.x, lengths=[5, 0, 92]),
        npdata.ragged(torch.from_numpy(data.x.copy()), lengths=torch.tensor([5, 0, 92])),
        npdata.ragged(list(range(97)), offsets=(0, 5, 5, 97)),
    ):
        assert [len(sample) for sample in NumpyDataset(spans)] == [5, 0, 92]


def test_shards_are_parts(tmp_path: Any, rng: np.random.Generator) -> None:
    lengths = rng.integers(0, 5, (3, 7))
    values = [rng.random((count, 2)) for count in lengths.sum(1)]
    for k in range(3):
        np.save(tmp_path / f"values-{k}.npy", values[k])
        np.save(tmp_path / f"lengths-{k}.npy", lengths[k])
    parts = [npdata.concatenate(tmp_path / f"{name}-*.npy") for name in ("values", "lengths")]
    samples = np.split(np.concatenate(values), np.cumsum(lengths)[:-1])
    ds = NumpyDataset(npdata.ragged(parts[0], lengths=parts[1]))
    assert all(np.array_equal(one, other) for one, other in zip(ds, samples, strict=True))


@pytest.mark.parametrize(
    "dataset",
    [
        NumpyDataset(np.arange(4), np.arange(4)),
        NumpyDataset(np.arange(4), transform=lambda row: row),
        NumpyDataset(np.arange(4), dtype=torch.float32),
        NumpyDataset(np.arange(4)).windows(2),
    ],
)
def test_a_dataset_of_more_than_rows_is_no_part(dataset: NumpyDataset) -> None:
    with pytest.raises(FieldError, match="fields"):
        npdata.ragged(np.arange(6), lengths=dataset)


def test_a_list_of_no_numbers_is_no_part() -> None:
    for values, message in (
        (["a.npy"], "a list "),
        ([[1], [2, 3]], r"of different shapes: give npdata.ragged\(np.concatenate"),
        ([None], "a list "),
    ):
        with pytest.raises(npdata.errors.UnsupportedSourceError, match=message):
            npdata.ragged(values, lengths=[1])
    assert len(NumpyDataset(npdata.ragged(np.zeros((0, 2)), lengths=[]))) == 0


def test_each_form_holds_the_samples(jagged: Any) -> None:
    spans, parts = jagged
    rows = [4, 1, 0, 0]
    listed = npdata.collate(NumpyDataset(spans, ragged="list").__getitems__(rows))
    nested = npdata.collate(NumpyDataset(spans, ragged="jagged").__getitems__(rows))
    assert type(listed) is list
    assert nested.layout == torch.jagged
    for made in (listed, nested.unbind()):
        assert [part.shape for part in made] == [parts[k].shape for k in rows]
        assert all((part.numpy() == parts[k]).all() for part, k in zip(made, rows, strict=True))
    expected = padded([parts[k] for k in rows])
    assert torch.equal(nested.to_padded_tensor(0.0), expected)
    assert listed[0].untyped_storage().data_ptr() == listed[2].untyped_storage().data_ptr()


@pytest.mark.slow
@pytest.mark.parametrize("method", [None, "fork", "forkserver"])
def test_every_process_model_gives_the_same_batches(jagged: Any, method: str | None) -> None:
    spans, parts = jagged
    forms = {"padded": "padded", "jagged": "jagged", "list": "list"}
    ds = NumpyDataset(dict.fromkeys(forms, spans) | {"number": np.arange(5)}, ragged=forms)
    loader = DataLoader(
        ds,
        batch_size=2,
        collate_fn=npdata.collate,
        num_workers=2 if method else 0,
        multiprocessing_context=method,
    )
    seen: dict[str, list[np.ndarray]] = {form: [] for form in forms}
    for batch in loader:
        made = batch["padded"]
        assert type(made) is npdata.Padded
        batch["padded"] = [v[:n] for v, n in zip(made.values, made.lengths.tolist(), strict=True)]
        batch["jagged"] = batch["jagged"].unbind()
        for form in forms:
            assert len(batch[form]) == len(batch["number"])
            seen[form] += [part.numpy().copy() for part in batch[form]]
    for form in forms:
        assert all((a == b).all() for a, b in zip(seen[form], parts, strict=True))


@pytest.mark.parametrize("form", ["padded", "jagged", "list"])
@pytest.mark.parametrize("threads", [0, 2])
def test_a_loader_gives_the_same_batches(jagged: Any, form: str, threads: int) -> None:
    spans, parts = jagged
    ds = NumpyDataset(spans, np.arange(5), ragged={0: form})
    loader = npdata.Loader(ds, 3, num_threads=threads, dtype={0: torch.float64}, device="cpu")
    seen = []
    for made, number in loader:
        flat = made.values() if form == "jagged" else None
        if form == "padded":
            assert made.lengths.dtype == torch.int64
            made = [v[:n] for v, n in zip(made.values, made.lengths.tolist(), strict=True)]
        made = made.unbind() if form == "jagged" else made
        assert flat is None or flat.dtype == torch.float64
        assert all(part.dtype == torch.float64 for part in made)
        assert len(made) == len(number)
        seen += [part.numpy() for part in made]
    assert all((a == b).all() for a, b in zip(seen, parts, strict=True))
    assert loader.stats().nbytes > 0


def test_a_sample_of_writable_rows_is_a_view() -> None:
    x = np.arange(10, dtype=np.float32)
    ds = NumpyDataset(npdata.ragged(x, lengths=np.array([4, 6])))
    ds[1][0] = -1
    assert x[4] == -1
    assert ds.describe().fields[0].conversion == "view"
    assert "4 to 6 rows of (), 10 in all" in str(ds.describe())


def test_a_transform_that_works_in_place_changes_no_data(kind: str, data: Data) -> None:
    values = npdata.open_source(KINDS[kind](data))
    spans = npdata.ragged(values, offsets=np.array([0, 3, 5, ROWS]))
    ds = NumpyDataset(spans, transform=torch.Tensor.zero_)
    for rows in (1, [1, 0]):
        assert not ds[rows][0].any()
        assert (NumpyDataset(spans)[1].numpy() == data.x[3:5]).all()


@pytest.mark.parametrize("form", ["padded", "jagged", "list"])
@pytest.mark.parametrize("mean", [torch.Tensor.mean, lambda x: float(x.mean())])
def test_numbers_that_a_transform_makes_of_samples_are_stacked(form: Any, mean: Any) -> None:
    spans = npdata.ragged(np.arange(10.0), lengths=[3, 7])
    ds = NumpyDataset(x=spans, ragged=form, transform=lambda sample: {"x": mean(sample["x"])})
    collated = DataLoader(ds, 2, collate_fn=npdata.collate)
    for batch in (ds[:], *npdata.Loader(ds, 2), *collated, *DataLoader(ds, 2)):
        assert type(batch["x"]) is torch.Tensor
        assert batch["x"].tolist() == [1, 6]


def test_a_transform_gets_samples_and_its_batches_are_padded(jagged: Any) -> None:
    spans, parts = jagged

    def last(sample: dict[str, Any]) -> dict[str, Any]:
        return {"spans": sample["spans"][-4:], "size": len(sample["spans"])}

    ds = NumpyDataset(spans=spans, transform=last, padding=9)
    batch = npdata.collate(ds.__getitems__([0, 1, 2]))
    assert torch.equal(batch["spans"].values, padded([p[-4:] for p in parts[:3]], 9))
    assert batch["size"].tolist() == [3, 0, 37]
    bare = NumpyDataset(spans, transform=lambda s: 2 * s, ragged="list")
    assert [len(part) for part in bare[[1, 2]]] == [0, 37]
    pair = NumpyDataset(spans, np.arange(5), transform=lambda s: (s[0], s[1]))[[0, 3]]
    assert pair[0].lengths.tolist() == [3, 1]
    assert pair[1].tolist() == [0, 3]


def test_a_batch_that_is_looked_into_gives_the_samples(jagged: Any) -> None:
    spans, parts = jagged
    for form in ("padded", "jagged", "list"):
        batch = NumpyDataset(spans, ragged=form).__getitems__([2, 0])
        assert [sample.shape for sample in batch] == [(37, 3, 5), (3, 3, 5)]
        assert (batch[1].numpy() == parts[0]).all()
    with pytest.raises(npdata.errors.UnequalShapesError):
        npdata.collate([NumpyDataset(spans)[0], NumpyDataset(spans)[2]])
    differ = NumpyDataset(spans, transform=lambda sample: sample[:, : 1 + len(sample) % 2])
    with pytest.raises(npdata.errors.UnequalShapesError, match=r"1 .* \(1, 5\) and there \(2, 5\)"):
        npdata.collate(differ.__getitems__([0, 1]))


def test_samples_of_other_fields_are_named_and_other_errors_of_torch_stay() -> None:
    message = r"sample 1 has fields \['b'\], sample 0 has \['a'\]"
    with pytest.raises(npdata.errors.UnequalShapesError, match=message):
        npdata.collate([{"a": 1}, {"b": 1}])
    with pytest.raises(RuntimeError) as raised:
        npdata.collate([torch.zeros(2), torch.zeros(2, device="meta")])
    assert raised.type is RuntimeError


@pytest.mark.parametrize("workers", [0, 1])
@pytest.mark.parametrize("form", ["padded", "jagged", "list"])
def test_default_collate_makes_the_same_batches(jagged: Any, form: str, workers: int) -> None:
    spans, _ = jagged
    plain = NumpyDataset(s=spans, n=np.arange(5), ragged={"s": form})
    halved = NumpyDataset(spans, transform=lambda sample: sample[::2], ragged=form)
    pairs = NumpyDataset(spans, np.arange(5), ragged={0: form})
    options: dict[str, Any] = {"batch_size": 2, "num_workers": workers}
    if workers:
        options["multiprocessing_context"] = "fork"
    for ds in (plain, halved, pairs, Subset(pairs, [4, 0, 3]), pairs + pairs):
        usual, ours = (
            DataLoader(ds, **options),
            DataLoader(ds, **options, collate_fn=npdata.collate),
        )
        for one, other in zip(usual, ours, strict=True):
            for a, b in zip(parts_of(one), parts_of(other), strict=True):
                assert type(a) is type(b)
                a, b = (v.unbind() if v.layout == torch.jagged else [v] for v in (a, b))
                assert all(map(torch.equal, a, b))


@pytest.mark.parametrize("form", ["padded", "jagged", "list"])
def test_arrays_that_a_transform_gives_make_the_batches_of_tensors(jagged: Any, form: Any) -> None:
    spans, _ = jagged
    tensors = NumpyDataset(s=spans, ragged=form, transform=lambda sample: {"s": sample["s"][::2]})
    arrays = NumpyDataset(
        s=spans, ragged=form, transform=lambda sample: {"s": sample["s"][::2].numpy()}
    )
    for rows, collate in itertools.product(
        ([2, 0], [0], [0, 0], [1]), (npdata.collate, default_collate)
    ):
        one, other = (collate(ds.__getitems__(rows))["s"] for ds in (tensors, arrays))
        assert type(one) is type(other)
        for a, b in zip(parts_of(one), parts_of(other), strict=True):
            assert a.layout == b.layout
            a, b = (v.unbind() if v.layout == torch.jagged else [v] for v in (a, b))
            assert all(map(torch.equal, a, b))


def test_an_array_of_a_transform_is_one_and_what_is_cut_out_of_it_is_stacked(jagged: Any) -> None:
    spans, _ = jagged
    ds = NumpyDataset(spans, transform=lambda sample: sample.numpy())
    samples = ds.__getitems__([0, 2])
    assert all(isinstance(sample, np.ndarray) for sample in samples)
    assert default_collate([sample[:2] for sample in samples]).shape == (2, 2, 3, 5)
    differ = NumpyDataset(spans, transform=lambda sample: sample[:, : 1 + len(sample) % 2].numpy())
    with pytest.raises(npdata.errors.UnequalShapesError, match=r"1 .* \(1, 5\) and there \(2, 5\)"):
        npdata.collate(differ.__getitems__([0, 1]))


def test_a_sum_is_one_dataset(jagged: Any) -> None:
    spans, parts = jagged
    one = npdata.ragged(parts[2], lengths=[len(parts[2])])
    first, second = NumpyDataset(spans, padding=7), NumpyDataset(one, padding=7)
    total = sum([first, second, first])
    expected = [*parts, parts[2], *parts]
    rows = [6, 5, 2, 0, 5]
    for ds in (total, pickle.loads(pickle.dumps(total))):
        batch = npdata.collate(ds.__getitems__(rows))
        for sample, row in zip(batch.samples(), rows, strict=True):
            assert (sample.numpy() == expected[row]).all()
        assert (batch.values[~batch.mask()] == 7).all()
        assert (ds[10].numpy() == parts[4]).all()
    assert total.lengths.tolist() == list(map(len, expected))
    assert isinstance(first + NumpyDataset(spans, padding=8), ConcatDataset)
    assert len(sum([second] * 1200)[[1199]].values) == 1


def parts_of(batch: Any) -> list[torch.Tensor]:
    if isinstance(batch, torch.Tensor):
        return [batch]
    parts = batch.values() if isinstance(batch, dict) else batch
    return [leaf for part in parts for leaf in parts_of(part)]


def test_a_sample_is_a_plain_tensor(jagged: Any) -> None:
    """As `torch.save` and `copy.deepcopy` need it."""
    for options in ({}, {"transform": torch.neg}):
        assert type(NumpyDataset(jagged[0], **options)[2]) is torch.Tensor


def test_a_sample_of_a_batch_is_a_tensor_like_any(jagged: Any) -> None:
    spans, parts = jagged
    sample = NumpyDataset(spans).__getitems__([2, 0])[0]
    assert isinstance(sample, torch.Tensor)
    assert repr(sample) == repr(torch.tensor(parts[2]))
    assert type(sample + 1) is torch.Tensor
    assert torch.equal(pickle.loads(pickle.dumps(sample)), torch.tensor(parts[2]))
    assert torch.equal(pad_sequence([sample], batch_first=True)[0], torch.tensor(parts[2]))


def test_a_padded_batch_moves_and_comes_apart(jagged: Any) -> None:
    spans, parts = jagged
    batch = NumpyDataset(spans)[[3, 0]]
    moved = batch.to("cpu", torch.float64, non_blocking=True)
    assert type(moved) is npdata.Padded
    assert (moved.dtype, moved.lengths.dtype) == (torch.float64, torch.int64)
    assert (moved.shape, moved.device) == (batch.values.shape, batch.lengths.device)
    assert batch.to(dtype=torch.float64).dtype is torch.float64
    assert all((a.numpy() == parts[k]).all() for a, k in zip(batch.samples(), (3, 0), strict=True))


def test_the_axis_that_differs_is_a_star(jagged: Any) -> None:
    assert repr(NumpyDataset(jagged[0])) == "NumpyDataset(0: (5, *, 3, 5) float32)"


@pytest.mark.parametrize("form", ["padded", "jagged", "list"])
def test_dtypes_are_cast_and_swapped(form: str) -> None:
    stored = [np.arange(9, dtype=d) for d in ("u2", ">i4", ">f8", "i1")]
    stored += [np.arange(9).astype(ml_dtypes.bfloat16)]
    for values in stored:
        for dtype in (None, torch.int64, torch.float32):
            spans = npdata.ragged(values, lengths=np.array([2, 7]))
            made = NumpyDataset(spans, dtype=dtype, ragged=form)[[1, 0]]
            parts = made.unbind() if form == "jagged" else made
            if form == "padded":
                parts = [v[:n] for v, n in zip(made.values, made.lengths.tolist(), strict=True)]
                assert (made.values[1, 2:] == 0).all()
            expected = [npdata.as_tensor(values[2:], dtype=dtype), npdata.as_tensor(values[:2])]
            assert all(torch.equal(a, b.to(a.dtype)) for a, b in zip(parts, expected, strict=True))
            assert parts[0].dtype == expected[0].dtype


def test_padding_may_lie_outside_the_stored_dtype() -> None:
    tokens = npdata.ragged(np.arange(6, dtype=np.uint16), lengths=np.array([2, 4]))
    made = NumpyDataset(tokens, dtype=torch.int64, padding=-100)[:]
    assert made.values.tolist() == [[0, 1, -100, -100], [2, 3, 4, 5]]
    nan = npdata.ragged(np.ones(3, np.float32), lengths=np.array([1, 2]))
    assert NumpyDataset(nan, padding=float("nan"))[:].values[0].isnan().tolist() == [False, True]


def test_blocks_follow_the_file(data: Data) -> None:
    offsets = np.array([0, 0, 3, 14, 19, 40, 41, 62, ROWS, ROWS])
    spans = npdata.ragged(f"{data.folder}/d.h5::packed", offsets=offsets)
    edges = NumpyDataset(spans).blocks.edges()
    assert edges[-1] == len(offsets) - 1
    for first, stop in itertools.pairwise(edges):
        assert len(set(offsets[first:stop] // 10)) == 1


def test_empty_batches_and_empty_samples(jagged: Any) -> None:
    spans, _ = jagged
    for form, rows in itertools.product(("padded", "list", "jagged"), ([], [1, 1])):
        ds = NumpyDataset(spans, ragged=form)
        for made in (ds[rows], npdata.collate(ds.__getitems__(rows))):
            assert len(made.lengths if form == "padded" else made) == len(rows)


NUMBERS = ["i1", "u1", "i2", "u2", "i4", "u4", "i8", "u8", "f2", "f4", "f8", "?"]


@pytest.mark.parametrize("dtype", NUMBERS)
@pytest.mark.parametrize("chunks", [None, (3,)])
def test_variable_length_of_h5py(dtype: str, chunks: Any, tmp_path: Any, rng: Any) -> None:
    parts = [rng.integers(0, 2, n).astype(dtype) for n in (3, 0, 7, 1, 5, 2, 4)]
    with h5py.File(tmp_path / "v.h5", "w") as file:
        v = file.create_dataset("v", (8,), h5py.vlen_dtype(np.dtype(dtype)), chunks=chunks)
        for k, part in enumerate(parts):
            v[k] = part
        expected = list(v[:])
    assert all(map(np.array_equal, expected, parts))
    ds = NumpyDataset(f"{tmp_path}/v.h5::v")
    rows = [6, 0, 0, 5, 7, -6]
    batch = npdata.collate(ds.__getitems__(rows))
    assert torch.equal(batch.values, padded([expected[k] for k in rows]))
    assert all((ds[k].numpy() == expected[k]).all() for k in range(8))
    assert (pickle.loads(pickle.dumps(ds))[2].numpy() == expected[2]).all()


def test_variable_length_of_pytables(tmp_path: Any, rng: Any) -> None:
    tables = pytest.importorskip("tables", reason="the writer is not there: pip install tables")
    parts = [rng.integers(-9, 9, n).astype(np.int32) for n in (2, 5, 1, 9)]
    with tables.open_file(str(tmp_path / "t.h5"), "w") as file:
        array = file.create_vlarray(file.root, "v", tables.Int32Atom())
        for part in parts:
            array.append(part)
    ds = NumpyDataset.from_hdf5(tmp_path / "t.h5", v="v", ragged="list")
    assert all((a.numpy() == b).all() for a, b in zip(ds[:]["v"], parts, strict=True))


def test_every_sample_comes_once_on_all_ranks(data: Data) -> None:
    offsets = np.linspace(0, ROWS, 31).astype(int)
    ds = NumpyDataset(npdata.ragged(f"{data.folder}/d.h5::packed", offsets=offsets), np.arange(30))
    seen: list[int] = []
    for rank in range(3):
        sampler = npdata.BlockBatchSampler(
            ds, 4, seed=1, rank=rank, world_size=3, uneven="ragged", window_blocks=2
        )
        for batch, number in npdata.Loader(ds, sampler=sampler):
            parts = [data.x[offsets[k] : offsets[k + 1]] for k in number.tolist()]
            assert torch.equal(batch.values, padded(parts))
            seen += number.tolist()
    assert sorted(seen) == list(range(30))


@pytest.mark.parametrize("bounds", [{"offsets": [0, 3, 3, 7]}, {"lengths": [3, 0, 4]}])
def test_rows_along_another_axis_are_those_of_a_dataset_as_the_error_says(
    bounds: dict[str, list[int]],
) -> None:
    edges = np.arange(14).reshape(2, 7)
    with pytest.raises(
        FieldError, match=r"axis 1 has 7: give ragged\(NumpyDataset\(values, axis=1"
    ):
        npdata.ragged(edges, **bounds)
    graphs = NumpyDataset(npdata.ragged(NumpyDataset(edges, axis=1), **bounds))
    for graph, part in zip(graphs, np.split(edges, [3, 3], axis=1), strict=True):
        assert torch.equal(graph.T, torch.from_numpy(part))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({}, "takes offsets= or lengths=, and got neither"),
        ({"offsets": [0, 97], "lengths": [97]}, "got both"),
        ({"offsets": [0, 50, 40, 97]}, "span 1 of offsets= begins at row 50 and ends at row 40"),
        ({"offsets": [0, 50, 40, 97]}, "none overlaps$"),
        ({"offsets": [0, 9, 50, 0, 47]}, r"at row 0: .* of each file begin at 0, give lengths=np"),
        ({"offsets": [0, 50]}, "end span 0 at row 50, less than the 97 rows of array in memory"),
        ({"offsets": [0, 50, 98]}, "end span 1 at row 98, more than the 97 .*; expected 97 as the"),
        ({"offsets": [0, 50]}, "if these offsets are starts alone, append 97"),
        ({"offsets": [-5, 97]}, "the first of offsets= is -5: .* up to the number of rows$"),
        ({"offsets": np.array([0, 2**64 - 1, 97], "u8")}, f"ends at row {2**64 - 1}: offsets must"),
        ({"offsets": [5, 97]}, "the first of offsets= is 5: expected 0"),
        ({"offsets": [5, 97]}, r"the ends of the spans, give offsets=np\.insert\(ends, 0, 0\)"),
        ({"lengths": [5, 50, 97]}, r"more than the 97 rows .*offsets=np\.insert\(ends, 0, 0\)"),
        ({"offsets": np.zeros(0, int)}, "the first of offsets= is missing"),
        ({"lengths": [50, -3, 50]}, "span 1 has length -3, below 0"),
        ({"lengths": np.array([5, 2**64 - 3], "u8")}, f"end span 1 at row {2**64 + 2}, more than"),
        ({"lengths": [50, 40]}, "lengths= end span 1 at row 90, less than the 97 rows"),
        ({"lengths": [50, 40]}, "array in memory; every row belongs to a span$"),
        ({"lengths": np.zeros(0, int)}, "lengths= name no span, less than the 97 rows"),
        ({"lengths": [50, 50, 50]}, "lengths= end span 1 at row 100, more than the 97 rows"),
        ({"lengths": [1 << 62] * 4 + [97]}, f"end span 0 at row {1 << 62}, more than"),
        (
            {"offsets": np.array([0, (1 << 63) - 1, 1 << 63, (1 << 64) - 1, 97], np.uint64)},
            "span 1 of offsets= begins at row 9223372036854775807",
        ),
        ({"lengths": [50.0, 47.0]}, "dtype float64: expected one dimension of integers"),
        ({"lengths": np.array([[97]])}, r"shape \(1, 1\)"),
    ],
)
def test_bounds_that_do_not_fit_name_the_span(
    arguments: dict[str, Any], message: str, data: Data
) -> None:
    given_bounds = {name: np.asarray(value) for name, value in arguments.items()}
    with pytest.raises(FieldError, match=message):
        npdata.ragged(data.x, **given_bounds)


def test_options_that_no_field_heeds_are_refused(data: Data) -> None:
    spans = npdata.ragged(data.x, lengths=np.array([97]))
    for fields, options, message in (
        ({"y": data.y}, {"ragged": "jagged"}, "field 'y' has rows of one shape"),
        ({"y": data.y[:1], "s": spans}, {"padding": {"y": 3}}, "field 'y' has rows of one shape"),
        ({"y": data.y}, {"padding": data.y}, "a field of that name goes into a mapping"),
        ({"y": data.y}, {"ragged": data.y}, "a field of that name goes into a mapping"),
    ):
        with pytest.raises(FieldError, match=message):
            NumpyDataset(fields, **options)
    for options, message in (
        ({"ragged": "ragged"}, "expected 'padded', 'jagged', 'list' or 'stacked'"),
        ({"ragged": "list", "padding": 1}, "padding=1 with ragged='list', which pads nothing"),
        ({"padding": "x"}, "padding= takes a number"),
    ):
        with pytest.raises(FieldError, match=message):
            NumpyDataset(spans, **options)
    halves = npdata.ragged(np.zeros(2, np.float16), lengths=[2])
    with pytest.raises(FieldError, match=r"padding=1e\+20 of field 0 is no value of torch.float16"):
        NumpyDataset(halves, padding=1e20)
    assert NumpyDataset(halves, padding=-np.inf)[[0]].shape == (1, 2)
    with pytest.raises(FieldError, match=r"padding=0.5 of field 0 is no value of torch.int32"):
        NumpyDataset(npdata.ragged(np.zeros(2, np.int32), lengths=np.array([2])), padding=0.5)


def test_what_holds_no_numbers_is_refused(tmp_path: Any) -> None:
    with h5py.File(tmp_path / "v.h5", "w") as file:
        file.create_dataset("text", data=["a", "bc"])
        file.create_dataset("records", (2,), h5py.vlen_dtype(np.dtype([("a", "i4")])))
    with pytest.raises(ConversionError, match=r"field 'v' .*a tensor holds no text"):
        NumpyDataset(v=f"{tmp_path}/v.h5::text")
    with pytest.raises(ConversionError, match=r"field 'v' .*of variable length"):
        NumpyDataset(v=f"{tmp_path}/v.h5::records")
    with h5py.File(tmp_path / "v.h5", "a") as file:
        file.create_dataset("swapped", (1,), h5py.vlen_dtype(np.dtype(">i4")))[0] = [1, 2]
        assert file["swapped"][0].tolist() == [1 << 24, 2 << 24]  # if h5py learns it, read them
    assert np.array([1, 2], ">i4").tobytes() in (tmp_path / "v.h5").read_bytes()
    with pytest.raises(ConversionError, match=r"in another byte order \(>i4\) wrongly"):
        NumpyDataset(f"{tmp_path}/v.h5::swapped")
    words = npdata.ragged(np.array(["a", "b"]), lengths=np.array([2]))
    with pytest.raises(ConversionError, match=r"field 0 .*a tensor holds no text"):
        NumpyDataset(words)
    with pytest.raises(ConversionError, match=r"hold numbers, and these are <U1; give np.unique"):
        NumpyDataset(words, dtype=str)
    records = np.array([(1, 2.0), (3, 4.0)], [("a", "i4"), ("b", "f4")])
    with pytest.raises(ConversionError, match=r"Dataset\(values, columns='a'\), lengths=...\)"):
        NumpyDataset(npdata.ragged(records, lengths=[2]), columns="b")
    column = npdata.ragged(NumpyDataset(records, columns="b"), lengths=[2])
    assert NumpyDataset(column)[0].tolist() == [2.0, 4.0]
    with pytest.raises(FieldError, match="rows of different lengths already"):
        npdata.ragged(words, lengths=np.array([1]))
    with pytest.raises(FieldError, match=r"field 0 .*has no rows of one shape.*borders=offsets"):
        NumpyDataset(npdata.ragged(np.arange(3), lengths=np.array([3]))).windows(1)


class TestStacked:
    """ragged="stacked": samples that a transform crops to one shape; the data stays as it is."""

    @staticmethod
    def spoilt(sample: torch.Tensor) -> torch.Tensor:
        cropped = sample[:2].clone()
        sample.zero_()
        return cropped

    @pytest.mark.parametrize("dtype", ["f8", ">f4", "i2"])
    def test_a_transform_changes_no_data(self, dtype: str) -> None:
        values = np.arange(12, dtype=dtype)
        for array in (values, values[::-1], np.broadcast_to(values[:1], 12)):
            before = array.copy()
            spans = npdata.ragged(array, lengths=[3, 4, 5])
            ds = NumpyDataset(spans, ragged="stacked", transform=self.spoilt)
            expected = [before[k : k + 2].tolist() for k in (0, 3, 7)]
            for _ in range(2):
                assert [row.tolist() for row in ds] == expected
                assert ds[:].tolist() == expected
                assert next(iter(npdata.Loader(ds, 3))).tolist() == expected
            assert np.array_equal(array, before)
            assert ds.describe().fields[0].conversion == "copy"

    def test_a_sum_is_one_dataset(self) -> None:
        spans = npdata.ragged(np.arange(12), lengths=[3, 4, 5])
        ds = NumpyDataset(spans, ragged="stacked", transform=self.spoilt)
        both = ds + ds
        assert both[[0, 5]].tolist() == [[0, 1], [7, 8]]
        assert next(iter(npdata.Loader(both, 6))).shape == (6, 2)

    def test_a_file_that_changed_is_named(self, tmp_path: Any) -> None:
        np.save(tmp_path / "x.npy", np.arange(12))
        spans = npdata.ragged(tmp_path / "x.npy", lengths=[3, 4, 5])
        ds = NumpyDataset(spans, ragged="stacked")
        assert ds[0].tolist() == [0, 1, 2]
        np.save(tmp_path / "x.npy", np.zeros(12, np.int64))
        for rows in (0, [0, 1]):
            with pytest.raises(npdata.errors.ChangedFileError):
                ds[rows]


def test_a_read_looks_at_the_files_of_its_own_samples_and_at_those_of_views(tmp_path: Any) -> None:
    paths = [tmp_path / f"{k}.h5" for k in range(2)]
    for path in paths:
        with h5py.File(path, "w") as file:
            of_variable_length = file.create_dataset("x", (2,), h5py.vlen_dtype("i8"))
            of_variable_length[:] = [np.arange(2), np.arange(3)]
            file["y"] = np.arange(5)
    read = npdata.concatenate([f"{path}::x" for path in paths], ragged="list")
    parts = [npdata.ragged(f"{path}::y", lengths=[2, 3]) for path in paths]
    viewed = npdata.concatenate(parts, ragged="list")
    assert read[[1, 2]][0].tolist() == [0, 1, 2]
    with paths[1].open("ab") as file:
        file.write(b"more")
    assert read[1].tolist() == [0, 1, 2]
    for ds, rows in ((read, 2), (read, [0, 2]), (viewed, 0)):
        with pytest.raises(npdata.errors.ChangedFileError, match=r"1\.h5 changed"):
            ds[rows]
