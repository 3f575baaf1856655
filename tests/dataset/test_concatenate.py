"""`npdata.concatenate`: rows end to end, as by `np.concatenate`, from one gather."""

import gc
import os
import pickle
import shutil
import sys
from functools import partial
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch
from few import few
from hypothesis import given
from hypothesis import strategies as st
from processes import require_workers_read, run
from sockets import listens_at

import npdata
from npdata import errors, open_source
from npdata.arrays.blocks import BLOCK_BYTES
from npdata.sources.base import Access
from npdata.sources.concatenated.concat import ConcatSource
from npdata.sources.many_files import joint_map, shard_maps, shards, watch

LENGTHS = [3, 0, 10, 1, 700, 2, 60]
ROWS = sum(LENGTHS)


def rows() -> np.ndarray:
    return np.random.default_rng(2).standard_normal((ROWS, 5, 3)).astype(np.float32)


def pieces() -> list[np.ndarray]:
    return np.split(rows(), np.cumsum(LENGTHS)[:-1])


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same rows, in parts of unequal length, in files of every format."""
    folder = tmp_path_factory.mktemp("parts")
    for kind in ("npy", "npz", "packed", "raw", "h5", "packed_h5", "fortran"):
        (folder / kind).mkdir()
    for k, x in enumerate(pieces()):
        np.save(folder / f"npy/x{k}.npy", x)
        np.save(folder / f"fortran/x{k}.npy", np.asfortranarray(x))
        np.savez(folder / f"npz/x{k}.npz", x=x)
        np.savez_compressed(folder / f"packed/x{k}.npz", x=x)
        (folder / f"raw/x{k}.bin").write_bytes(b"odd" + x.tobytes())
        with h5py.File(folder / f"h5/x{k}.h5", "w") as file:
            file["x"] = x
        with h5py.File(folder / f"packed_h5/x{k}.h5", "w") as file:
            file.create_dataset("x", data=x, chunks=(7, 5, 3), maxshape=(None, 5, 3), compression=4)
    return folder


def mixed(folder: Path) -> npdata.NumpyDataset:
    """Parts of every kind beside each other: mapped, decoded, in memory, through h5py."""
    given = [
        f"{folder}/npy/x0.npy",
        pieces()[1],
        f"{folder}/packed_h5/x2.h5::x",
        np.asfortranarray(pieces()[3]),
        f"{folder}/h5/x4.h5::x",
        f"{folder}/packed/x5.npz::x",
        pieces()[6],
    ]
    return npdata.concatenate(given)


KINDS = {
    "npy": lambda d: npdata.concatenate(f"{d}/npy/*.npy"),
    "Fortran order": lambda d: npdata.concatenate(f"{d}/fortran"),
    "stored npz": lambda d: npdata.concatenate(f"{d}/npz/*.npz::x"),
    "compressed npz": lambda d: npdata.concatenate(f"{d}/packed/*.npz::x"),
    "raw": lambda d: npdata.concatenate(
        [f"{d}/raw/x{k}.bin" for k in (0, 2, 3, 4, 5, 6)], dtype="f4", shape=(-1, 5, 3), offset=3
    ),
    "HDF5": lambda d: npdata.concatenate(f"{d}/h5/*.h5::x"),
    "compressed HDF5": lambda d: npdata.concatenate(f"{d}/packed_h5::x"),
    "mixed": mixed,
    "arrays": lambda d: npdata.concatenate(pieces()),
    "sums": lambda d: (
        npdata.concatenate([f"{d}/npy/x{k}.npy" for k in range(3)])
        + npdata.NumpyDataset(f"{d}/npy/x3.npy")
        + npdata.concatenate([f"{d}/npy/x{k}.npy" for k in range(4, 7)])
    ),
}


@pytest.mark.parametrize("kind", KINDS)
class TestEqualsNumpy:
    def test_batches_samples_slices_and_runs(self, folder: Path, kind: str) -> None:
        ds, expected = KINDS[kind](folder), rows()
        assert len(ds) == ROWS

        @few(kind)
        @given(st.lists(st.integers(-ROWS, ROWS - 1), max_size=50))
        def check(indices: list[int]) -> None:
            got = npdata.collate(ds.__getitems__(indices))
            assert got.numpy().tobytes() == expected[np.array(indices, np.int64)].tobytes()

        check()
        assert all(torch.equal(ds[k], torch.from_numpy(expected[k])) for k in (0, 3, 13, -1))
        assert (ds[2:720:9].numpy() == expected[2:720:9]).all()
        run_of_rows = np.empty((700, 5, 3), np.float32)
        ds.sources[0].read_run(2, run_of_rows)
        assert (run_of_rows == expected[2:702]).all()

    def test_runs_of_rows(self, folder: Path, kind: str) -> None:
        source, expected = KINDS[kind](folder).sources[0], rows()
        edges = st.integers(0, ROWS) | st.sampled_from(np.cumsum([0, *LENGTHS]).tolist())

        @few(kind)
        @given(st.lists(st.tuples(edges, edges).map(sorted), max_size=8))
        def check(pairs: list[list[int]]) -> None:
            given_runs = np.array(pairs, np.int64).reshape(-1, 2)
            got = source.runs(given_runs[:, 0], given_runs[:, 1])
            assert len(got) == len(pairs)
            for run_of_rows, (start, stop) in zip(got, pairs, strict=True):
                assert run_of_rows.dtype == np.float32
                assert run_of_rows.tobytes() == expected[start:stop].tobytes()
                assert run_of_rows.shape == (stop - start, 5, 3)

        check()
        for run_of_rows in source.runs(np.array([0, 13, 714]), np.array([3, 14, 776])):
            run_of_rows[...] = 0  # memory of its own
        assert torch.equal(KINDS[kind](folder)[:], torch.from_numpy(expected))

    @pytest.mark.slow
    @pytest.mark.parametrize("method", ["fork", "forkserver"])
    def test_every_kind_of_worker(self, folder: Path, kind: str, method: str) -> None:
        if kind not in ("npy", "mixed") and method != "fork":
            pytest.skip("one kind of each will do")
        ds = KINDS[kind](folder)
        ds[[0, -1]]
        order = np.random.default_rng(0).permutation(ROWS)[:700].reshape(-1, 70)
        require_workers_read(ds, order, rows(), method)

    @pytest.mark.parametrize("shuffle", ["full", "block"])
    @pytest.mark.parametrize("budget", [None, 1 << 20])
    def test_loader(self, folder: Path, kind: str, shuffle, budget: int | None) -> None:
        ds = KINDS[kind](folder)
        sampler = npdata.BlockBatchSampler(ds, 32, shuffle=shuffle)
        loader = npdata.Loader(ds, sampler=sampler, num_threads=2, memory_budget=budget)
        expected = list(npdata.BlockBatchSampler(ds, 32, shuffle=shuffle))
        for numbers, batch in zip(expected, loader, strict=True):
            assert (batch.numpy() == rows()[numbers]).all()

    def test_pickles_without_content(self, folder: Path, kind: str) -> None:
        ds = KINDS[kind](folder)
        ds[[0, -1]]
        sent = pickle.dumps(ds)
        names_alone = sent.replace(os.fsencode(folder), b"")  # the folder's name may be long
        assert len(names_alone) < (6000 if kind not in ("arrays", "mixed") else 10**6)
        assert (pickle.loads(sent)[[7, -1]].numpy() == rows()[[7, -1]]).all()


@pytest.mark.parametrize("kind", ["npy", "raw", "stored npz", "HDF5", "sums"])
def test_files_that_are_mapped_apart(
    folder: Path, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(joint_map, "reserved", lambda nbytes, align: None)
    ds = KINDS[kind](folder)
    numbers = np.random.default_rng(0).integers(0, len(ds), (40, 30))
    assert all((ds[each].numpy() == rows()[each]).all() for each in numbers)
    assert ds.sources[0]._shards.maps.get().joint is None


class TestParts:
    def test_borders_split_and_blocks_know_the_files(self, folder: Path) -> None:
        ds = npdata.concatenate(f"{folder}/npy/*.npy")
        (source,) = ds.sources
        assert source.borders.tolist() == np.cumsum([0, *LENGTHS]).tolist()
        parts = ds.split(0.5, by="file")
        owner = np.searchsorted(np.cumsum(LENGTHS), np.arange(ROWS), side="right")
        assert not set(owner[parts[0]]) & set(owner[parts[1]])
        assert len(ds.windows(3)) == sum(max(0, n - 2) for n in LENGTHS)

    def test_small_files_are_blocks_together_and_large_ones_alone(self, tmp_path: Path) -> None:
        for k, length in enumerate([10, 20, 30, 5000, 10, 10]):
            np.save(tmp_path / f"{k}.npy", np.zeros((length, 100)))
        blocks = npdata.concatenate(tmp_path).blocks
        assert blocks.rows == (60, 5000, 20)
        assert blocks.block_rows == (1310, 1310, 1310)

    def test_small_files_are_no_blocks_with_what_lies_between_them(self, tmp_path: Path) -> None:
        for k in range(2):
            np.save(tmp_path / f"{k}.npy", np.zeros((5, 3)))
        ds = npdata.concatenate([tmp_path / "0.npy", np.zeros((4, 3)), tmp_path / "1.npy"])
        assert ds.blocks.edges().tolist() == [0, 5, 9, 14]

    @pytest.mark.parametrize(("width", "edges"), [(BLOCK_BYTES + 1, [0, 1, 2]), (0, [0, 2])])
    def test_a_row_of_any_size_is_a_block_at_most(
        self, tmp_path: Path, width: int, edges: list[int]
    ) -> None:
        np.save(tmp_path / "x.npy", np.zeros((2, width), np.uint8))
        assert npdata.concatenate(tmp_path).blocks.edges().tolist() == edges

    def test_labels_repeat_for_the_rows_of_a_file(self, folder: Path) -> None:
        ds = npdata.concatenate(f"{folder}/npy", label_from=r"x(\d+)\.npy$")
        labels = ds[:][1].tolist()
        assert labels == np.repeat(np.arange(len(LENGTHS)), LENGTHS).tolist()
        assert ds.fields[1].categories == tuple("0123456")

    def test_fields_pair_by_stem_and_need_equal_files(self, folder: Path, tmp_path: Path) -> None:
        for k, x in enumerate(pieces()):
            np.save(tmp_path / f"x{k}.npy", np.arange(len(x)))
        ds = npdata.concatenate(x=f"{folder}/npy", y=tmp_path)
        assert ds[15]["y"] == 1
        np.save(tmp_path / "x4.npy", np.arange(8))
        with pytest.raises(
            errors.FieldError, match=r"x4\.npy of field 'x' has 700 rows.*'y' has 8"
        ):
            npdata.concatenate(x=f"{folder}/npy", y=tmp_path)

    def test_the_slow_part_decides_for_itself_alone(self, folder: Path) -> None:
        (source,) = mixed(folder).sources
        assert source.access.kind == "mapped"
        assert "7 sources end to end (2 mapped, " in source.access.reason
        assert source.ahead_bytes > open_source(f"{folder}/packed_h5/x2.h5::x").ahead_bytes

    def test_files_of_hdf5_know_their_names(self, folder: Path) -> None:
        ds = npdata.NumpyDataset.from_hdf5(f"{folder}/h5/*.h5", "x")
        assert ds.fields[0].paths[3] == f"{folder}/h5/x3.h5::x"
        assert (ds[:].numpy() == rows()).all()


class TestBadInput:
    def test_rows_that_differ_are_named(self, folder: Path, tmp_path: Path) -> None:
        np.save(tmp_path / "a.npy", np.zeros((2, 3)))
        np.save(tmp_path / "b.npy", np.zeros((2, 4)))
        for other, what in (("b", r"rows of \(4,\)"), ("c", "float32"), ("d", "one value")):
            np.save(tmp_path / "c.npy", np.zeros((2, 3), np.float32))
            np.save(tmp_path / "d.npy", np.float64(3))
            with pytest.raises(errors.FieldError, match=rf"{other}\.npy holds .*{what}.*a\.npy"):
                npdata.concatenate([tmp_path / "a.npy", tmp_path / f"{other}.npy"])

    def test_what_the_error_says_to_write_for_rows_that_differ_does_it(
        self, tmp_path: Path
    ) -> None:
        for k, words in enumerate((["a", "bb"], ["ccccc"])):
            np.save(tmp_path / f"t{k}.npy", words)
            np.save(tmp_path / f"v{k}.npy", np.zeros((2, 3 + k)))
        with pytest.raises(errors.FieldError, match="text in the widest of them"):
            npdata.concatenate(f"{tmp_path}/t*.npy", dtype=str)
        np.save(tmp_path / "t0.npy", np.load(tmp_path / "t0.npy").astype("<U5"))
        assert npdata.concatenate(f"{tmp_path}/t*.npy", dtype=str)[:] == ["a", "bb", "ccccc"]
        with pytest.raises(
            errors.FieldError, match=r"npdata\.stack\(paths\) makes each file a sam"
        ):
            npdata.concatenate(f"{tmp_path}/v*.npy")
        assert [each.shape for each in npdata.stack(f"{tmp_path}/v*.npy")] == [(2, 3), (2, 4)]

    def test_a_truncated_file_is_named_at_opening(self, tmp_path: Path) -> None:
        for k in range(100):
            np.save(tmp_path / f"x{k}.npy", np.zeros((5, 3)))
        os.truncate(tmp_path / "x42.npy", 200)
        with pytest.raises(errors.TruncatedError, match=r"x42\.npy declares"):
            npdata.concatenate(tmp_path)

    def test_text_in_records_of_files_is_refused_as_that_of_one_file(self, tmp_path: Path) -> None:
        paths = [tmp_path / f"{k}.npy" for k in range(2)]
        for path in paths:
            np.save(path, np.array([(1, "a")], [("n", "<i4"), ("t", "<U1")]))
        for opened in (partial(npdata.NumpyDataset, paths[0]), partial(npdata.concatenate, paths)):
            with pytest.raises(errors.ConversionError, match="its column 't': a tensor holds no"):
                opened()

    def test_nothing_and_too_much(self, folder: Path) -> None:
        with pytest.raises(errors.FieldError, match="no file matches"):
            npdata.concatenate(f"{folder}/*.npy")
        with pytest.raises(errors.FieldError, match="comes twice"):
            npdata.concatenate([f"{folder}/npy/*.npy", f"{folder}/npy/x1.npy"])
        with pytest.raises(errors.FieldError, match="axis= is no option of concatenate: of sev"):
            npdata.concatenate([np.zeros(3)], axis=0)
        with pytest.raises(errors.FieldError, match="layout= is for sparse rows, and field 0 has"):
            npdata.concatenate([np.zeros(3)], layout="csr")
        with pytest.raises(errors.FieldError, match="has no names"):
            npdata.concatenate([np.zeros(3)], label_from=len)
        with pytest.raises(errors.FieldError, match="give dtype= as well"):
            npdata.concatenate(f"{folder}/raw", shape=(-1, 3))


CHANGES = {
    "cut": (lambda p: os.truncate(p, 150), "and now has 150"),
    "touched": (lambda p: os.utime(p, (1, 1)), "was written to"),
    "written": (lambda p: p.write_bytes(p.read_bytes()), "was written to"),
    "removed": (lambda p: p.unlink(), "is gone since it was opened"),
    "replaced": (lambda p: p.with_name("new").write_bytes(b"x" * 3128)
                 and p.with_name("new").replace(p), "another file has taken its place"),
    "a folder now": (lambda p: (p.unlink(), p.mkdir()), "changed since it was opened"),
    "a pipe now": (lambda p: (p.unlink(), os.mkfifo(p)), "changed since it was opened"),
    "a socket now": (lambda p: (p.unlink(), listens_at(p)), "changed since it was opened"),
}  # fmt: skip


@pytest.mark.parametrize("watched", [True, False])
@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("read_before", [True, False])
def test_changed_files_are_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, watched: bool, change: str, read_before: bool
) -> None:
    if not watched:
        monkeypatch.setattr(watch, "MOST_INSTANCES", 0)
    for k in range(3):
        np.save(tmp_path / f"x{k}.npy", np.full((5, 75), k, np.float64))
    ds = npdata.concatenate(f"{tmp_path}/x?.npy")
    if read_before:
        ds[:]
    alter, message = CHANGES[change]
    alter(tmp_path / "x1.npy")
    assert ds[[0, 11]][:, 0].tolist() == [0, 2]
    for _ in range(2):
        with pytest.raises(errors.ChangedFileError, match=rf"x1\.npy.*{message}"):
            ds[[11, 7]]


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("read_before", [True, False])
def test_runs_name_changed_files(tmp_path: Path, change: str, read_before: bool) -> None:
    for k in range(3):
        np.save(tmp_path / f"x{k}.npy", np.full((5, 75), k, np.float64))
    source = npdata.concatenate(f"{tmp_path}/x?.npy").sources[0]
    starts, stops = np.array([11, 5]), np.array([14, 7])
    if read_before:
        source.runs(starts, stops)
        source.check()
    alter, message = CHANGES[change]
    alter(tmp_path / "x1.npy")
    assert [run_of_rows[0, 0] for run_of_rows in source.runs(starts[:1], stops[:1])] == [2]
    for _ in range(2):
        read_run = partial(source.read_run, 0, np.empty((15, 75)))
        for read in (lambda: source.runs(starts, stops), source.check, read_run):
            with pytest.raises(errors.ChangedFileError, match=rf"x1\.npy.*{message}"):
                read()


def _fill_through_a_map(path: Path) -> None:
    rows = np.load(path, mmap_mode="r+")
    rows[...] = 9
    rows.flush()


def _take_its_place(path: Path) -> None:
    other = path.rename(path.with_name("old"))
    if other.is_symlink():
        path.symlink_to(other.resolve().with_name("other"))
    else:
        shutil.copytree(other, path)


REPORTED = {
    **{name: (change, "file/x1.npy") for name, (change, _) in CHANGES.items()},
    "through a map": (_fill_through_a_map, "file/x1.npy"),
    "folder replaced": (_take_its_place, "file"),
    "link to another file": (_take_its_place, "link/x1.npy"),
    "link to another folder": (_take_its_place, "to"),
    "folder behind a link": (_take_its_place, "file"),
}


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux reports changes")
@pytest.mark.parametrize("change", REPORTED)
def test_changes_are_reported_before_the_next_look(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, change: str
) -> None:
    monkeypatch.setattr(shard_maps, "LOOK_AGAIN", 1e9)
    for name in ("file", "link", "other"):
        (tmp_path / name).mkdir()
    for k in range(3):
        np.save(tmp_path / f"file/x{k}.npy", np.full((5, 75), k, np.float64))
        (tmp_path / f"link/x{k}.npy").symlink_to(tmp_path / f"file/x{k}.npy")
        np.save(tmp_path / f"other/x{k}.npy", np.full((5, 75), 7, np.float64))
    shutil.copy(tmp_path / "other/x1.npy", tmp_path / "file/other")
    (tmp_path / "to").symlink_to(tmp_path / "file")
    alter, changed = REPORTED[change]
    read = {"link to another folder": "to", "folder behind a link": "to"}
    ds = npdata.concatenate(f"{tmp_path}/{read.get(change, changed.split('/')[0])}/x?.npy")
    assert ds[[11, 7, 0]][:, 0].tolist() == [2, 1, 0]
    alter(tmp_path / changed)
    with pytest.raises(errors.ChangedFileError, match="x1"):
        ds[[7, 6]]


@pytest.mark.parametrize("together", [0, 256])
@pytest.mark.parametrize("change", CHANGES)
def test_changes_that_are_not_reported_are_seen_at_the_next_look(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, change: str, together: int
) -> None:
    monkeypatch.setattr(shard_maps, "LOOK_TOGETHER", together)
    monkeypatch.setattr(watch.Watch, "events", lambda self: 0)
    monkeypatch.setattr(shard_maps, "seconds_between_looks", lambda files: 1e-9)
    for k in range(3):
        np.save(tmp_path / f"x{k}.npy", np.full((5, 75), k, np.float64))
    ds = npdata.concatenate(f"{tmp_path}/x?.npy")
    ds[[0, 7]]
    alter, message = CHANGES[change]
    alter(tmp_path / "x1.npy")
    assert ds[[0, 11]][:, 0].tolist() == [0, 2]
    for _ in range(2):
        with pytest.raises(errors.ChangedFileError, match=rf"x1\.npy.*{message}"):
            ds[[0, 7]]


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux reports changes")
def test_many_datasets_leave_reports_to_other_programs(tmp_path: Path) -> None:
    for k in range(3):
        np.save(tmp_path / f"x{k}.npy", np.full((5, 75), k))
    datasets = [npdata.concatenate(tmp_path) for _ in range(20)]
    assert all(ds[[11, 7]][:, 0].tolist() == [2, 1] for ds in datasets)
    links = [os.path.realpath(link.path) for link in os.scandir("/proc/self/fd")]
    assert 1 <= sum("inotify" in link for link in links) <= watch.MOST_INSTANCES
    os.truncate(tmp_path / "x1.npy", 150)
    for ds in datasets:
        with pytest.raises(errors.ChangedFileError, match="x1"):
            ds[[11, 7]]


@pytest.mark.parametrize(("most", "joint"), [(12, False), (120, True)])
def test_maps_of_all_fields_are_dropped_when_there_are_too_many(
    tmp_path: Path, monkeypatch, most: int, joint: bool
) -> None:
    for module in (shards, shard_maps):
        monkeypatch.setattr(module, "most_maps", lambda: most)
    for k in range(20):
        np.save(tmp_path / f"{k}.npy", np.full((5, 3), k))
    ds = npdata.concatenate(dict.fromkeys("abcd", tmp_path))
    rng = np.random.default_rng(0)
    for _ in range(20):
        numbers = rng.integers(0, 100, 10)
        for values in ds[numbers].values():
            assert (values[:, 0].numpy() == numbers // 5).all()
        held = [source._shards.maps.made() for source in ds.sources]
        assert {maps.joint is not None for maps in held if maps} <= {joint}
        assert sum(maps.count for maps in held if maps) <= most


LIMITED = """
import os, resource, sys, threading
import numpy as np, npdata
resource.setrlimit(resource.RLIMIT_NOFILE, (128, 128))
from torch.utils.data import DataLoader
before = len(os.listdir("/proc/self/fd"))
ds = npdata.concatenate(sys.argv[1])
order = np.random.default_rng(0).permutation(len(ds)).reshape(-1, 250)
modules = set(sys.modules)
for _ in range(2):
    for rows, batch in zip(order, npdata.Loader(ds, sampler=order, num_threads=2)):
        assert (batch[:, 0].numpy() == rows).all()
    assert len(os.listdir("/proc/self/fd")) - before <= 64
# What a thread imports while another forks, the child would wait for, for ever.
assert not [name for name in sys.modules.keys() - modules if name.startswith("numpy")]
for workers in (0, 2):
    loader = DataLoader(ds, batch_sampler=order.tolist(), collate_fn=npdata.collate,
                        num_workers=workers)
    for rows, batch in zip(order, loader):
        assert (batch[:, 0].numpy() == rows).all()
assert len(os.listdir("/proc/self/fd")) - before <= 64
# Files of all fields count together, and those that h5py reads.
resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64))
fields = dict.fromkeys("abc", sys.argv[1])
several = [npdata.concatenate(fields)]
if sys.argv[1].endswith("::x"):
    fields = dict.fromkeys("abc", "x")
    folder = sys.argv[1].removesuffix("::x")
    several.append(npdata.NumpyDataset.from_hdf5(folder, **fields, access="library"))
for ds in several:
    for rows in order[:2]:
        assert all((values[:, 0] == rows).all() for values in ds[rows].values())
"""


@pytest.mark.parametrize("kind", ["npy", "h5"])
def test_a_limit_of_128_descriptors(tmp_path: Path, kind: str) -> None:
    for k in range(300):
        x = np.arange(10 * k, 10 * k + 10)[:, None].repeat(7, 1)
        if kind == "npy":
            np.save(tmp_path / f"{k}.npy", x)
        else:
            with h5py.File(tmp_path / f"{k}.h5", "w") as file:
                file.create_dataset("x", data=x, chunks=(4, 7), compression=1)
    done = run(LIMITED, str(tmp_path) + ("::x" if kind == "h5" else ""))
    assert (done.returncode, done.stderr) == (0, "")


@given(
    st.lists(st.integers(0, 6), min_size=1, max_size=8),
    st.sampled_from(["u1", "<f2", ">i4", "c16"]),
)
def test_any_lengths_and_dtypes(lengths: list[int], dtype: str) -> None:
    arrays = [np.arange(k * 3, dtype=dtype).reshape(k, 3) + j for j, k in enumerate(lengths)]
    source = ConcatSource([open_source(array) for array in arrays])
    expected = np.concatenate(arrays)
    out = np.empty_like(expected)
    source.read(np.arange(len(expected))[::-1].copy(), out)
    assert (out == expected[::-1]).all()


def test_parts_in_another_byte_order_keep_it_in_another_process(tmp_path: Path) -> None:
    rows = np.arange(12, dtype=">i4").reshape(6, 2)
    np.save(tmp_path / "x.npy", rows)
    ds = npdata.concatenate([tmp_path / "x.npy", rows, rows[::-1]])
    again = pickle.loads(pickle.dumps(ds))
    assert again.sources[0].dtype == rows.dtype
    assert (
        again[:].tolist()
        == ds[:].tolist()
        == [*rows.tolist(), *rows.tolist(), *rows[::-1].tolist()]
    )


class Counted(npdata.Source):
    """Rows of an array that are not in place, and how often they were read."""

    def __init__(self, array: np.ndarray) -> None:
        self.array, self.shape, self.dtype = array, array.shape, array.dtype
        self.where, self.reads = "counted", 0
        self.access = Access(kind="library", reason="to be counted")

    def read(self, indices: np.ndarray, out: np.ndarray) -> None:
        self.reads += 1
        out[...] = self.array[indices]


def test_each_part_is_read_once_for_a_batch_and_only_for_its_rows() -> None:
    parts = [Counted(np.arange(5)), Counted(np.arange(5, 9)), Counted(np.arange(9, 20))]
    joined = ConcatSource(parts)
    for rows, reads in (([6, 5, 8, 6], [0, 1, 0]), ([19, 0, 9, 1], [1, 1, 1])):
        out = np.empty(4, np.int64)
        joined.read(np.array(rows), out)
        assert out.tolist() == rows
        assert [part.reads for part in parts] == reads


class Open(Counted):
    """Rows that are read through an open file, and whether it was closed."""

    def __init__(self, array: np.ndarray, kind: str) -> None:
        super().__init__(array)
        self.closed, self.access = False, Access(kind=kind, reason="to be closed")

    def close_idle(self) -> None:
        self.closed = True


@pytest.mark.parametrize(("kind", "closed"), [("library", [1, 2]), ("decoded", [])])
def test_of_33_parts_that_h5py_reads_the_least_recently_read_is_closed(
    kind: str, closed: list[int]
) -> None:
    parts = [Open(np.arange(k, k + 1), kind) for k in range(34)]
    joined, out = ConcatSource(parts), np.empty(1, np.int64)
    for row in (*range(32), 0, 32, 33):
        joined.read(np.array([row]), out)
        assert out == row
    assert [k for k, part in enumerate(parts) if part.closed] == closed


class Limited(Counted):
    """Rows of which so many fit into the memory for chunks, and of which so much is read ahead."""

    def __init__(self, array: np.ndarray, rows_in_memory: int, ahead_bytes: int) -> None:
        super().__init__(array)
        self.limits = rows_in_memory, ahead_bytes

    @property
    def rows_in_memory(self) -> int:
        return self.limits[0]

    @property
    def ahead_bytes(self) -> int:
        return self.limits[1]


def test_the_part_with_the_least_memory_decides_and_reads_ahead_for_its_share_of_all_rows() -> None:
    free, none = Counted(np.arange(10)), np.arange(0)
    joined = ConcatSource([Limited(np.arange(5), 100, 40), free, Limited(np.arange(5), 50, 60)])
    assert (joined.rows_in_memory, joined.ahead_bytes) == (50, 80)
    assert ConcatSource([free, free]).rows_in_memory is ConcatSource([free]).ahead_bytes is None
    assert ConcatSource([Limited(none, 100, 40), Counted(none)]).ahead_bytes >= 40


def test_sum_begins_with_nothing_and_lays_datasets_end_to_end() -> None:
    parts = [npdata.NumpyDataset(x) for x in pieces()]
    assert (sum(parts)[:].numpy() == rows()).all()
    assert sum(parts[:1]) is parts[0]
    with pytest.raises(TypeError):
        1 + parts[0]


def test_a_sum_takes_time_in_proportion_to_its_terms() -> None:
    def steps(count: int) -> int:
        parts = [npdata.NumpyDataset(np.full((2, 3), k)) for k in range(count)]
        calls = 0

        def count_call(*_: object) -> None:
            nonlocal calls
            calls += 1

        before = sys.getprofile()
        gc.disable()  # whose finalizers would be counted
        sys.setprofile(count_call)
        try:
            joined = sum(parts)
            last = joined[[-1]]
        finally:
            sys.setprofile(before)
            gc.enable()
        assert last.tolist() == [[count - 1] * 3]
        assert joined[:].shape == (2 * count, 3)
        return calls

    steps(5)
    assert steps(200) < 2.5 * steps(100)


def test_files_of_several_arrays_say_how_to_name_one(in_folder: Path) -> None:
    np.savez("a.npz", x=np.zeros(3))
    with h5py.File("a.h5", "w") as file:
        file["x"] = np.zeros(3)
    with pytest.raises(
        errors.MemberNotFoundError, match=r"behind the files, as '\*\.npz::x', of 'x'"
    ):
        npdata.concatenate("*.npz")
    with pytest.raises(
        errors.MemberNotFoundError,
        match=r"as '\*\.h5::NAME', or take all of one file, as 'a\.h5::\*'; `npdata inspect` lists",
    ):
        npdata.concatenate("*.h5")
