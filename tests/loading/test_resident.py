"""Rows that are loaded once: the same batches as from the file, and what fits, decided and told."""

import gc
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from interrupts import boundaries, run_interrupted
from kinds import KINDS, Data
from processes import run
from threads import assert_no_thread_is_left
from torch.utils.data import ConcatDataset, StackDataset, Subset, TensorDataset

import npdata
from npdata import BlockBatchSampler, Loader, NumpyDataset
from npdata.arrays.gather import address_of
from npdata.dataset.nested import buffers_of
from npdata.errors import ChangedFileError, DoesNotFitError, LoaderError, RowIndexError
from npdata.loading.finish_on_device import sent_as_stored
from npdata.loading.load_resident import load
from npdata.loading.pipeline import Pipeline
from npdata.loading.residence import candidates_of, decide_residence
from npdata.loading.schedule import Options
from npdata.loading.to_device import Sender
from npdata.runtime.machine import free_of_machine
from npdata.sources.derived.subset import Places

CPU = torch.device("cpu")


def assert_same(ours: Any, other: Any) -> None:
    assert type(ours) is type(other)
    if isinstance(ours, torch.Tensor):
        assert ours.layout == other.layout
        for a, b in zip(buffers_of(ours), buffers_of(other), strict=True):
            assert a.dtype == b.dtype
            assert a.shape == b.shape
            bits = [each.contiguous().reshape(-1).view(torch.uint8) for each in (a, b)]
            assert torch.equal(*bits)
    elif isinstance(ours, dict):
        assert list(ours) == list(other)
        assert_same(list(ours.values()), list(other.values()))
    elif isinstance(ours, str | bytes):
        assert ours == other
    else:
        for a, b in zip(ours, other, strict=True):
            assert_same(a, b)


def on_device(ds: Any, sampler: Any, dtype: Any = None) -> Iterator[Any]:
    """The batches of the way for accelerators, by the memory of the machine."""
    options = Options(dtype=dtype, device=CPU)
    subset = sampler.subset if isinstance(sampler, BlockBatchSampler) else None
    sent, finish = sent_as_stored(ds, CPU)
    held = candidates_of(sent, subset, asked=True, device=CPU)
    loaded = load(sent, held.fields, CPU, progress=False)
    sender = Sender(CPU, dtype, finish=finish, aside=False)
    pipeline = Pipeline.on_device(loaded, options, sender)
    with pipeline.start(iter(sampler)) as results:
        for made in results:
            yield from made.batches


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Rows of many kinds in one file: x, y, small, half, big, time."""
    folder = tmp_path_factory.mktemp("resident")
    rng = np.random.default_rng(3)
    with h5py.File(folder / "d.h5", "w") as file:
        gzip = {"compression": 4, "shuffle": True}
        file.create_dataset("x", data=rng.random((200, 4), np.float32), chunks=(16, 4), **gzip)
        file.create_dataset("y", data=np.arange(200), chunks=(64,), **gzip)
        small = rng.integers(0, 256, (200, 3), np.uint8)
        file.create_dataset("small", data=small, chunks=(16, 3), **gzip)
        file.create_dataset("half", data=rng.random(200).astype(">f2"), chunks=(16,), **gzip)
        file.create_dataset("big", data=rng.integers(0, 1 << 63, 200).astype(">u8"))
        file.create_dataset("scaled", data=np.arange(200), scaleoffset=0, chunks=(64,))
        people = np.zeros(200, [("age", "i2"), ("name", "S4"), ("pos", [("x", ">f4")])])
        people["age"], people["name"] = np.arange(200), b"ab"
        file.create_dataset("people", data=people, chunks=(32,), **gzip)
        file.create_dataset("text", data=np.array([b"row%d" % k for k in range(200)]), **gzip)
        file["variable"] = [f"row {k}" for k in range(200)]
        counts = rng.integers(0, 4, 200)
        file["offsets"] = np.append(0, np.cumsum(counts))
        file.create_dataset("values", data=rng.random((counts.sum(), 2)), chunks=(32, 2), **gzip)
        file.create_dataset("columns", data=rng.integers(0, 6, counts.sum()), **gzip)
        file.create_dataset("filled", data=rng.random(counts.sum()), **gzip)
    return folder / "d.h5"


def both(ds: Any, sampler: Any = None, **options: Any) -> tuple[Loader, Loader]:
    """A loader that holds its rows, and one that reads them."""
    return Loader(ds, sampler=sampler, resident=True, **options), Loader(
        ds, sampler=sampler, **options
    )


class TestBatches:
    @pytest.mark.parametrize("kind", KINDS)
    def test_are_the_same_from_every_kind_of_source(self, data: Data, kind: str) -> None:
        ds = NumpyDataset(KINDS[kind](data))
        ours, other = both(ds, batch_size=8, shuffle=True)
        for _ in range(2):
            assert_same(list(ours), list(other))
        order = BlockBatchSampler(ds, 8, shuffle="full")
        whole = torch.cat(list(on_device(ds, order)))
        order.set_epoch(0)
        assert (whole.numpy() == data.x[np.concatenate(list(order))]).all()

    @given(
        size=st.integers(1, 70),
        shuffle=st.sampled_from(["full", "block", False]),
        uneven=st.sampled_from(["pad", "mask", "ragged", "drop"]),
        world=st.integers(1, 3),
        weighted=st.booleans(),
        part=st.sampled_from(["all", "run", "few", "most", "none"]),
        form=st.sampled_from(["bare", "tuple", "dict"]),
        dtype=st.sampled_from([None, torch.float64, torch.float16, torch.int32]),
        threads=st.sampled_from(["auto", 0, 2]),
    )
    def test_are_the_same_in_every_order(
        self, files, size, shuffle, uneven, world, weighted, part, form, dtype, threads
    ):
        given = {
            "bare": ((f"{files}::x",), {}),
            "tuple": ((f"{files}::x", f"{files}::y", f"{files}::half"), {}),
            "dict": ((), {"x": f"{files}::small", "y": f"{files}::y"}),
        }
        ds = NumpyDataset(*given[form][0], **given[form][1])
        rows = {
            "all": None,
            "run": np.arange(20, 90),
            "few": np.array([7, 150, 3]),
            "most": np.random.default_rng(1).permutation(200)[:150],
            "none": np.arange(0),
        }[part]
        options = {"shuffle": shuffle, "uneven": uneven, "rank": world - 1, "world_size": world}
        options |= {"indices": rows, "seed": 5}
        if weighted and shuffle and rows is None:
            options["weights"] = np.arange(200) % 5
        samplers = [BlockBatchSampler(ds, size, **options) for _ in range(3)]
        ours = Loader(ds, sampler=samplers[0], dtype=dtype, num_threads=threads, resident=True)
        other = Loader(ds, sampler=samplers[1], dtype=dtype)
        for _ in range(2):
            expected = list(other)
            assert_same(list(ours), expected)
            assert_same(list(on_device(ds, samplers[2], dtype)), expected)

    @pytest.mark.parametrize(
        "name, options",
        [
            ("big", {}),
            ("half", {"dtype": torch.float32}),
            ("small", {"dtype": torch.float32}),
            ("scaled", {}),
            ("y", {"dtype": torch.bfloat16}),
        ],
    )
    def test_of_numbers_are_the_same(self, files: Path, name: str, options: Any) -> None:
        ds = NumpyDataset(f"{files}::{name}", **options)
        expected = list(Loader(ds, 7, shuffle=True))
        assert_same(list(Loader(ds, 7, shuffle=True, resident=True)), expected)
        assert_same(list(on_device(ds, BlockBatchSampler(ds, 7, shuffle="full"))), expected)

    @pytest.mark.parametrize(
        "make",
        [
            lambda f: NumpyDataset(f"{f}::people", columns=("name", "age", "pos.x")),
            lambda f: 2 * [NumpyDataset(f"{f}::people", columns=("name", "age"))],
            lambda f: NumpyDataset(f"{f}::people", columns="pos.x"),
            lambda f: NumpyDataset(f"{f}::text", dtype=str),
            lambda f: NumpyDataset(npdata.ragged(f"{f}::values", offsets=f"{f}::offsets")),
            lambda f: NumpyDataset(
                npdata.ragged(f"{f}::values", offsets=f"{f}::offsets"), ragged="jagged"
            ),
            lambda f: NumpyDataset(
                npdata.csr(f"{f}::filled", f"{f}::columns", f"{f}::offsets", (200, 6))
            ),
            lambda f: NumpyDataset(
                npdata.csr(f"{f}::filled", f"{f}::columns", f"{f}::offsets", (200, 6)),
                layout="csr",
            ),
        ],
    )
    def test_of_records_text_and_rows_of_any_length_are_the_same(self, files, make) -> None:
        ds = make(files)
        ds = sum(ds) if isinstance(ds, list) else ds
        for options in ({}, {"indices": [5, 9, 3]}):
            ours, other = both(ds, batch_size=8, shuffle=True, **options)
            assert_same(list(ours), list(other))
            assert "held in memory" in str(ours.describe())

    def test_of_parts_in_memory_and_in_a_file_are_the_same(self, files: Path) -> None:
        half = np.arange(6).astype(">f2")
        parts = [
            npdata.ragged(values, lengths=[2, count - 2])
            for values, count in ((half, 6), (f"{files}::half", 200))
        ]
        ours, other = both(sum(map(NumpyDataset, parts)), batch_size=3)
        assert_same(list(ours), list(other))

    @pytest.mark.parametrize("edge", ["drop", "repeat", "zero"])
    @pytest.mark.parametrize("offsets", [4, (-3, 0, 1), {"x": (-1, 0)}])
    def test_of_windows_are_the_same(self, files: Path, edge: str, offsets: Any) -> None:
        ds = NumpyDataset(x=f"{files}::x", y=f"{files}::big").windows(
            offsets, stride=2, borders=[50, 53, 120], edge=edge, mask=edge != "drop"
        )
        for options in ({}, {"indices": [5, 9, 3]}):
            ours, other = both(ds, batch_size=8, shuffle=True, **options)
            expected = list(other)
            assert_same(list(ours), expected)
            order = BlockBatchSampler(ds, 8, shuffle="full", **options)
            assert_same(list(on_device(ds, order)), expected)

    def test_of_wrapped_datasets_are_the_same(self, files: Path) -> None:
        x, y = NumpyDataset(f"{files}::x"), NumpyDataset(y=f"{files}::y")
        chosen = [5, -1, 30, 5, 199]
        for ds in (
            Subset(x, chosen),
            Subset(Subset(y, chosen), [1, 1, -1]),
            StackDataset(x, y),
            StackDataset(a=x, b=Subset(y, range(199, -1, -1))),
        ):
            ours, other = both(ds, batch_size=2, shuffle=True, indices=[1, 2])
            assert_same(list(ours), list(other))
        assert candidates_of(Subset(x, chosen), asked=True).fields[0].used.tolist() == [5, 30, 199]

    @pytest.mark.parametrize("device", [None, CPU])
    def test_of_fields_of_the_same_rows_hold_them_once(self, files: Path, device: Any) -> None:
        whole, rows = f"{files}::half", NumpyDataset(f"{files}::half")  # big-endian
        left, right = [9, 4, 9, 150], [4, 0, 1, 150]
        cases = [
            (NumpyDataset(a=Subset(rows, left), b=Subset(rows, right)), 5),
            (NumpyDataset(a=whole, b=whole).windows({"a": range(3), "b": range(3, 5)}), 200),
            (NumpyDataset(a=Subset(rows, range(199, -1, -1)), b=rows), 200),
            (NumpyDataset(a=whole, b=whole, dtype={"b": torch.float64}), 200),
        ]
        if device is None:
            lengths, in_memory = np.ones(202, np.int64), np.ones(2, ">f2")  # which stays as it is
            spans = NumpyDataset(npdata.ragged(rows, lengths=lengths[2:]))
            spans += NumpyDataset(npdata.ragged(in_memory, lengths=lengths[:2]))
            of_both = NumpyDataset(a=spans, b=Subset(rows, np.arange(202) % 200))
            cases.append((of_both, 200))
        for ds, count in cases:
            found = candidates_of(ds, asked=True, device=device)
            numbers = found.fields[0].used
            assert decide_residence(found, free=None).nbytes == 2 * count + (
                0 if numbers is None else Places.nbytes(numbers, 200)
            )
            ours, other = both(ds, batch_size=3, shuffle=True, device=device)
            assert_same(list(ours), list(other))

    def test_of_decoded_values_are_the_same(self, tmp_path: Path) -> None:
        with h5py.File(tmp_path / "d.h5", "w") as file:
            made = file.create_dataset("t", data=np.arange(50, dtype="i2"), chunks=(8,))
            made.attrs["scale_factor"], made.attrs["add_offset"] = 0.5, 3.0
        ds = NumpyDataset(f"{tmp_path}/d.h5::t", decode="cf")
        expected = list(Loader(ds, 7, shuffle=True))
        assert_same(list(Loader(ds, 7, shuffle=True, resident=True)), expected)
        assert_same(list(on_device(ds, BlockBatchSampler(ds, 7, shuffle="full"))), expected)

    def test_take_up_changes_in_private_maps(self, tmp_path: Path) -> None:
        np.save(tmp_path / "x.npy", np.zeros((50, 3)))
        ds = NumpyDataset(tmp_path / "x.npy")
        ds[7][...] = 5
        assert torch.cat(list(Loader(ds, 8, resident=True)))[7].tolist() == [5, 5, 5]

    def test_lie_at_the_lines_of_the_cache(self, files: Path) -> None:
        loader = Loader(NumpyDataset(f"{files}::x"), 8, resident=True)
        next(iter(loader))
        (source,) = loader._now.dataset.sources
        assert address_of(source.table.array.view(np.uint8)) % 64 == 0

    def test_of_random_transforms_are_the_same(self, files: Path) -> None:
        def noisy(sample: torch.Tensor, rng: np.random.Generator) -> torch.Tensor:
            return sample + float(rng.random())

        for options in ({"transform": noisy}, {"batch_transform": noisy}):
            ds = NumpyDataset(f"{files}::x", **options)
            ours, other = both(ds, batch_size=8, shuffle=True)
            for _ in range(2):
                expected = list(other)
                assert_same(list(ours), expected)
        order = BlockBatchSampler(ds, 8, shuffle="full")
        order.set_epoch(1)
        assert_same(list(on_device(ds, order)), expected)

    def test_go_on_from_each_others_states(self, files: Path) -> None:
        ds = NumpyDataset(f"{files}::x", f"{files}::y")
        loaders = [*both(ds, batch_size=16, shuffle=True, seed=2), Loader(ds, 16, shuffle=True)]
        whole = list(Loader(ds, 16, shuffle=True, seed=2))
        for first, then in [(0, 1), (1, 0)]:
            one, other = loaders[first], loaders[then]
            one.set_epoch(0)
            batches = iter(one)
            taken = [next(batches) for _ in range(5)]
            other.load_state_dict(one.state_dict())
            assert len(other) == len(whole) - 5
            assert_same([*taken, *other], whole)


class TestWhatIsHeld:
    def test_the_file_is_read_once(self, files: Path) -> None:
        ds = NumpyDataset(f"{files}::x")
        loader = Loader(ds, 16, resident=True)
        source = ds.sources[0]
        before = source.decoded_chunks
        list(loader)
        read = source.decoded_chunks
        assert read - before == 13 == loader.stats().decoded_chunks
        list(loader)
        assert source.decoded_chunks == read
        assert loader.stats().decoded_chunks == 0
        assert loader.stats().resident_bytes == 200 * 16
        assert "3200 bytes resident" in str(loader.stats())

    def test_rows_in_memory_are_not_copied(self) -> None:
        x = np.random.default_rng(0).random((500, 3))
        loader = Loader(NumpyDataset(x, transform=torch.clone), 50, resident=True)
        assert torch.equal(torch.cat(list(loader)), torch.from_numpy(x))
        x[:] = 7
        assert (torch.cat(list(loader)) == 7).all()
        assert "all rows are in memory already" in str(loader.describe())
        assert loader.stats().resident_bytes == 0

    def test_only_rows_that_are_used_are_loaded(self, files: Path) -> None:
        ds = NumpyDataset(f"{files}::x")
        loader = Loader(ds, 4, indices=np.arange(32, 48), resident=True)
        assert len(torch.cat(list(loader))) == 16
        assert loader.stats().decoded_chunks == 1
        assert loader.stats().resident_bytes == 16 * 16 + 16 * 8  # and the row numbers

    def test_rows_that_are_all_used_need_no_row_numbers(self, files: Path) -> None:
        backwards = Subset(NumpyDataset(f"{files}::x"), range(199, -1, -1))
        loader = Loader(backwards, 4, resident=True)
        assert len(torch.cat(list(loader))) == 200
        assert loader.stats().resident_bytes == 200 * 16

    def test_runs_of_small_batches_are_made_of_them(self, files: Path) -> None:
        loader = Loader(NumpyDataset(f"{files}::x"), 2, shuffle=True, resident=True)
        list(loader)
        assert loader.describe().run > 1

    def test_rows_of_h5py_are_gathered_by_threads_then(self, files: Path) -> None:
        ds = NumpyDataset(f"{files}::scaled")
        ours, other = both(ds, batch_size=50_000)
        list(ours)
        assert "through h5py" in str(other.describe())
        assert "through h5py" not in str(ours.describe())

    def test_a_change_of_the_file_is_seen_while_loading_and_not_after(self, tmp_path) -> None:
        np.save(tmp_path / "x.npy", np.zeros((50, 3)))
        ds = NumpyDataset(tmp_path / "x.npy")
        loader = Loader(ds, 8, resident=True)
        list(loader)
        np.save(tmp_path / "x.npy", np.ones((50, 3)))
        assert (torch.cat(list(loader)) == 0).all()
        with pytest.raises(ChangedFileError):
            list(Loader(ds, 8, resident=True))

    def test_it_is_given_back_when_the_loader_is_closed(self, files: Path) -> None:
        loader = Loader(NumpyDataset(f"{files}::x"), 8, resident=True)
        list(loader)
        held = loader._held.pipeline.dataset.sources[0].table.array
        loader.close()
        gc.collect()
        assert [each for each in gc.get_referrers(held) if isinstance(each, NumpyDataset)] == []
        assert loader._held is None

    def test_a_row_that_was_not_loaded_is_refused(self) -> None:
        for numbers, count in [([5, 6], 9), ([5, 7], 9), ([5, 7], 900), ([], 9)]:
            places = Places(np.array(numbers, np.int64), count)
            for row in (0, 8):
                with pytest.raises(RowIndexError, match=f"row {row} is none of the"):
                    places.of(np.array([*numbers, row]))
            assert places.of(np.array(numbers, np.int64)).tolist() == list(range(len(numbers)))

    @pytest.mark.parametrize("threads", [0, 2])
    def test_rows_are_those_that_a_subset_chooses_by_now(self, files: Path, threads: int) -> None:
        ds = NumpyDataset(f"{files}::x")
        x, part = ds[:], Subset(ds, [1, 2, 3])
        stacked = StackDataset(part, Subset(ds, range(3)))
        alone, within = (
            Loader(each, 2, resident=True, num_threads=threads) for each in (part, stacked)
        )
        for rows in ([5, 7, 9], [9, 5, 5]):
            part.indices = rows
            assert torch.equal(torch.cat(list(alone)), x[rows])
            assert torch.equal(torch.cat([first for first, _ in within]), x[rows])
        part.indices = [5, 6, 7]
        for loader in (alone, within):
            with pytest.raises(
                RowIndexError, match=r"row 6 .* other indices since, make a new Loa"
            ):
                list(loader)

    def test_a_bar_shows_the_loading(self, files: Path, capsys: Any) -> None:
        ds = NumpyDataset(f"{files}::x")
        list(Loader(ds, 64, resident=True, progress=True))
        assert "loading" in capsys.readouterr().err


class TestAuto:
    def test_loads_what_is_slow_to_read(self, files: Path, tmp_path: Path) -> None:
        np.save(tmp_path / "y.npy", np.arange(200))
        ds = NumpyDataset(
            x=f"{files}::x", y=tmp_path / "y.npy", text=f"{files}::variable", dtype={"text": str}
        )
        loader = Loader(ds, 16, shuffle=True, resident="auto")
        assert "it is decided with" not in str(loader)
        assert "with the first batch it is decided" in str(loader.describe())
        assert_same(list(loader), list(Loader(ds, 16, shuffle=True)))
        assert "3200 bytes of 1 field are held in memory" in str(loader.describe())

    def test_loads_what_is_slow_to_read_beside_what_is_not(self, files: Path) -> None:
        columns, offsets = (NumpyDataset(f"{files}::{name}")[:] for name in ("columns", "offsets"))
        rows = npdata.csr(f"{files}::filled", columns, offsets, (200, 6))
        loader = Loader(NumpyDataset(rows), 16, resident="auto")
        list(loader)
        assert f"{len(columns) * 8} bytes of 1 field are held" in str(loader.describe())

    @pytest.mark.parametrize("resident", [False, "auto"])
    def test_leaves_mapped_files_where_they_are(self, tmp_path: Path, resident: Any) -> None:
        np.save(tmp_path / "y.npy", np.arange(200))
        loader = Loader(NumpyDataset(tmp_path / "y.npy"), 16, resident=resident)
        list(loader)
        assert loader.stats().resident_bytes == 0
        assert ("read where they lie" in str(loader.describe())) == (resident == "auto")

    @pytest.mark.parametrize("resident", [True, "auto"])
    def test_the_processes_of_a_machine_share_its_memory(
        self, files: Path, resident: Any, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("LOCAL_WORLD_SIZE", str(10**12))
        loader = Loader(NumpyDataset(f"{files}::x"), 16, resident=resident)
        if resident is True:
            with pytest.raises(DoesNotFitError, match=f"for each of {10**12} processes"):
                list(loader)
        else:
            assert len(list(loader)) == 13
            assert f"for each of {10**12} processes" in str(loader.describe())

    def test_streams_what_does_not_fit_or_is_not_known(self, files: Path) -> None:
        ds = NumpyDataset(f"{files}::x")
        found = candidates_of(ds, asked="auto")
        fits = decide_residence(found, free=6400)
        assert fits.chosen == {0}
        assert decide_residence(replace(found, asked=True), free=None).chosen == {0}
        rainy = replace(found, obstacle="it rains")
        for candidates, options, reason in [
            (found, {"free": 6398}, "not fit into 50% of the 6398 bytes that are free in memory"),
            (found, {"free": 9999, "shared_by": 2}, "for each of 2 processes"),
            (found, {"free": None}, "what is free in memory is not known"),
            (rainy, {"free": 9999}, "rows are streamed: it rains"),
        ]:
            decided = decide_residence(candidates, **options)
            assert not decided.chosen
            assert decided.reason.endswith(reason)
        budget = Loader(ds, 16, resident="auto", memory_budget=1 << 30)
        both_ways = ConcatDataset([ds, ds])
        stacked = StackDataset(Subset(ds, range(10)), TensorDataset(torch.arange(10)))
        both_ways.__getitems__ = lambda rows: [both_ways[row] for row in rows]
        for loader, reason in [
            (budget, "memory_budget= bounds"),
            (Loader(both_ways, 16, resident="auto"), "which rows a ConcatDataset reads"),
            (Loader(stacked, 16, resident="auto"), "which rows a StackDataset reads"),
        ]:
            list(loader)
            assert reason in str(loader.describe())
            assert loader.stats().resident_bytes == 0

    @pytest.mark.parametrize(
        "rows, error, named",
        [
            ([3, -11], IndexError, "row -11 at position 1"),
            ({1, 2}, TypeError, "{1, 2} .set."),
            ([True] * 10, TypeError, "a batch of 10 bools"),
        ],
    )
    def test_a_subset_of_rows_that_are_not_there_names_them(
        self, rows: object, error: type[Exception], named: str
    ) -> None:
        subset = Subset(NumpyDataset(np.arange(10)), rows)
        for dataset in (subset, Subset(subset, [0, 1])):
            with pytest.raises(error, match=named):
                Loader(dataset, 2, resident=True)
            streamed = Loader(dataset, 2, resident="auto")
            with pytest.raises(error):
                list(streamed)

    def test_holds_all_on_a_device_or_nothing(self, files: Path) -> None:
        x = NumpyDataset(np.zeros((3, 2)))
        decided = decide_residence(candidates_of(x, asked="auto", device=CPU), free=96)
        assert decided.reason == "48 bytes of 1 field are held on cpu"
        mixed = NumpyDataset(np.zeros((3, 2)), np.array(["a"] * 3), dtype=[None, str])
        decided = decide_residence(candidates_of(mixed, asked="auto", device=CPU), free=999)
        assert "field 1 (array in memory): only numbers" in decided.reason
        functions = NumpyDataset(np.zeros((3, 2)), batch_transform=torch.neg)
        found = candidates_of(functions, asked="auto", device=CPU)
        assert "batch_transform=" in str(found.obstacle)
        assert candidates_of(functions, asked=True, device=CPU).obstacle is None


class TestRefusals:
    def test_what_true_cannot_hold_is_named(self, files: Path) -> None:
        class Own(NumpyDataset):
            pass

        text = NumpyDataset(x=f"{files}::x", name=f"{files}::variable", dtype={"name": str})
        x, patched = NumpyDataset(f"{files}::x"), NumpyDataset(f"{files}::x")
        patched.__getitems__ = lambda rows: x.__getitems__(rows)
        stacked = StackDataset(Subset(x, range(10)), TensorDataset(torch.arange(10)))
        for ds, options, said in [
            (text, {}, r"resident=True, but field 'name' .*variable.*only when they are read"),
            (Own(f"{files}::x"), {}, "Own may read its fields in ways of its own"),
            (patched, {}, "NumpyDataset may read its fields in ways of its own"),
            (stacked, {}, "which rows a StackDataset reads is not known"),
            (x, {"memory_budget": 1 << 30}, "memory_budget="),
            (Subset(x, bytearray([0, 1])), {}, "a Subset of a bytearray reads .* np.asarray"),
        ]:
            with pytest.raises(LoaderError, match=said):
                Loader(ds, 8, resident=True, **options)
        with pytest.raises(LoaderError, match="'cuda': expected True, False or 'auto'; device="):
            Loader(x, 8, resident="cuda")

    def test_what_a_device_cannot_hold_is_named(self, files: Path) -> None:
        x, y = f"{files}::x", NumpyDataset(f"{files}::y")
        windows = NumpyDataset(x).windows(2)
        pieces = npdata.ragged(np.arange(6), lengths=[1, 2, 3])
        for ds, said in [
            (NumpyDataset(pieces), "only numbers in rows of one shape"),
            (NumpyDataset(f"{files}::text", dtype=str), "only numbers in rows of one shape"),
            (NumpyDataset(x, transform=torch.neg), "transform= gets samples in the memory"),
            (StackDataset(NumpyDataset(x), y), "StackDataset takes batches apart"),
            (NumpyDataset(windows.sources[0]).windows(2), "not read row by row"),
        ]:
            with pytest.raises(LoaderError, match=said):
                candidates_of(ds, asked=True, device=CPU)

    def test_metal_holds_no_float_of_64_bits(self) -> None:
        x, metal = NumpyDataset(np.zeros((3, 2))), torch.device("mps")
        with pytest.raises(
            LoaderError, match=r"mps has no torch\.float64; streamed rows may be cas"
        ):
            candidates_of(x, asked=True, device=metal)
        found = candidates_of(x, asked="auto", device=metal)
        assert "rows are streamed" in decide_residence(found, free=999).reason
        narrow = NumpyDataset(np.zeros((3, 2), np.float32))
        found = candidates_of(narrow, asked=True, device=metal)
        assert decide_residence(found, free=None).nbytes == 24

    def test_more_than_fits_is_refused_with_both_figures(self, tmp_path: Path) -> None:
        with h5py.File(tmp_path / "d.h5", "w") as file:
            file.create_dataset(
                "x", shape=(1 << 36, 64), chunks=(1 << 14, 64), dtype="f4", compression=1
            )
        ds = NumpyDataset(f"{tmp_path}/d.h5::x")
        loader = Loader(ds, 64, resident=True)
        with pytest.raises(MemoryError, match=f"needs {1 << 44} bytes in memory, and may take"):
            next(iter(loader))
        with pytest.raises(DoesNotFitError, match=r"90% of the 99 bytes.* for each of 3 processes"):
            decide_residence(candidates_of(ds, asked=True), free=99, shared_by=3)
        streamed = Loader(ds, 64, resident="auto")
        assert next(iter(streamed)).shape == (64, 64)
        assert "rows are streamed" in str(streamed.describe())
        few = Loader(ds, 64, indices=np.arange(100), resident=True)
        assert len(list(few)) == 2


class Interrupted(npdata.Source):
    """Rows of which the second read is cut short, once."""

    def __init__(self, rows: int) -> None:
        self.shape, self.dtype = (rows, 1 << 18), np.dtype(np.int64)
        self.where, self.access = "interrupted", npdata.Access(kind="library", reason="a test")
        self.reads = 0

    def read(self, indices: np.ndarray, out: np.ndarray) -> None:
        self.reads += 1
        if self.reads == 2:
            raise KeyboardInterrupt
        out[...] = indices[:, None]


def test_an_interrupt_while_loading_uses_up_no_epoch() -> None:
    def rows_of(loader: Loader) -> list[int]:
        return torch.cat([batch[:, 0] for batch in loader]).tolist()

    source = Interrupted(8)
    loader = Loader(NumpyDataset(source), 2, shuffle=True, resident=True)
    with pytest.raises(KeyboardInterrupt):
        next(iter(loader))
    assert loader.stats().resident_bytes == 0
    assert loader.state_dict() == loader.batch_sampler.state_dict()
    assert rows_of(loader) == next(iter(BlockBatchSampler(8, 8, shuffle="full"))).tolist()
    assert source.reads > 3


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_an_interrupt_at_any_moment_leaves_nothing_half_loaded(files: Path) -> None:
    ds = NumpyDataset(f"{files}::x", f"{files}::y")
    expected = list(Loader(ds, 16, shuffle=True, seed=4))

    def fresh() -> Loader:
        return Loader(ds, 16, shuffle=True, seed=4, resident=True)

    def first_batch(loader: Loader) -> None:
        next(iter(loader))

    total = run_interrupted(lambda: first_batch(fresh()), "/npdata/", -1)
    for boundary in boundaries(total):
        loader = fresh()
        run_interrupted(lambda: first_batch(loader), "/npdata/", boundary)  # noqa: B023
        loader.set_epoch(0)
        assert_same(list(loader), expected)
        assert loader.stats().resident_bytes == 200 * 24
    loader.close()
    assert_no_thread_is_left()


REFUSED = """
import resource, sys
import h5py, npdata
with h5py.File(sys.argv[1], "w") as file:
    file.create_dataset("x", shape=(1 << 22, 64), chunks=(64, 64), dtype="f4", compression=1)
ds = npdata.NumpyDataset(sys.argv[1] + "::x")
next(iter(npdata.Loader(ds, 8)))
size = next(int(line.split()[1]) for line in open("/proc/self/status") if "VmSize" in line) * 1024
resource.setrlimit(resource.RLIMIT_AS, (size + (512 << 20), -1))
try:
    next(iter(npdata.Loader(ds, 8, resident=True)))
except MemoryError as error:
    print(error)
auto = npdata.Loader(ds, 8, resident="auto")
next(iter(auto))
print(auto.describe())
"""


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="needs /proc")
@pytest.mark.skipif(free_of_machine() < 3 << 30, reason="needs 3 GiB of free memory")
def test_memory_that_the_system_refuses_is_an_error_or_read_from_the_file(tmp_path: Path) -> None:
    done = run(REFUSED, str(tmp_path / "d.h5"))
    assert done.returncode == 0, done.stderr
    error, described = done.stdout.splitlines()
    assert f"resident=True needs {1 << 30} bytes, which the system refused" in error
    assert "rows are streamed: Unable to allocate" in described
