"""Many files mapped as one array: where each lies, and that rows are those of the files."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from processes import run

import npdata
from npdata.sources.many_files import joint_map
from npdata.sources.many_files.joint_map import JointLayout, JointMap

FILES = st.lists(st.tuples(st.integers(0, 5), st.integers(0, 40)), min_size=1, max_size=8)


@given(FILES, st.integers(1, 9000), st.sampled_from([4096, 1 << 21]), st.integers(0, 9000))
def test_every_file_has_a_place_of_its_own_in_which_its_rows_are_rows_of_all(
    files: list[tuple[int, int]], row_bytes: int, page: int, first: int
) -> None:
    offsets = np.array([first + page * pages for pages, _ in files])
    lengths = np.array([length for _, length in files])
    layout = JointLayout._aligned(offsets, lengths, row_bytes, page)
    assert layout is not None
    assert not (layout.begins % page).any()
    assert not (layout.places % page).any()
    assert (layout.begins + layout.sizes == offsets + lengths * row_bytes).all()
    stops = layout.places + layout.sizes
    assert (-(-stops[:-1] // page) * page <= layout.places[1:]).all()
    assert stops[-1] <= layout.nbytes
    rows = layout.places + offsets - layout.begins - layout.lead
    assert (rows == layout.firsts * row_bytes).all()
    assert layout.firsts[0] >= 0
    assert (layout.firsts + lengths <= layout.rows).all()


@given(st.integers(1, 20_000), st.lists(st.integers(0, 20_000), min_size=2, max_size=5))
def test_offsets_that_no_distance_brings_into_line_have_no_layout(
    row_bytes: int, offsets: list[int]
) -> None:
    layout = JointLayout.of(np.array(offsets), np.ones(len(offsets), np.int64), row_bytes)
    shared = np.gcd(4096, row_bytes)
    assert (layout is not None) == (len({offset % shared for offset in offsets}) == 1)


def test_too_many_addresses_and_rows_without_bytes_have_no_layout() -> None:
    two = np.array([0, 0])
    assert JointLayout.of(two, two + 1, 0) is None
    assert JointLayout.of(two, two + 1, (1 << 40) + 1) is None
    assert JointLayout.of(two[:0], two[:0], 8) is None


@pytest.mark.parametrize("large", [1 << 21, 8192])
@pytest.mark.parametrize(
    ("dtype", "row", "skipped"),
    [("f4", (3, 5), 0), ("<u2", (), 2), (">i8", (3,), 5), ("i1", (4099,), 3), ("f8", (512,), 8)],
)
def test_rows_are_those_of_the_files(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    dtype: str,
    row: tuple[int, ...],
    skipped: int,
    large: int,
) -> None:
    monkeypatch.setattr(joint_map, "LARGE_PAGE", large)
    parts = [
        np.random.default_rng(n).integers(0, 99, (n, *row)).astype(dtype)
        for n in (5, 1, 700, 33, 4)
    ]
    for k, part in enumerate(parts):
        (tmp_path / f"{k}.bin").write_bytes(bytes(skipped) + part.tobytes())
    given_shape = {"dtype": dtype, "shape": (-1, *row), "offset": skipped}
    ds = npdata.concatenate([tmp_path / f"{k}.bin" for k in range(len(parts))], **given_shape)
    expected = np.concatenate(parts).astype(np.dtype(dtype).newbyteorder("="))
    rng = np.random.default_rng(0)
    for count in (1, 7, 300, 2000):
        rows = rng.integers(-len(ds), len(ds), count)
        assert (ds[rows].numpy() == expected[rows]).all()
    joint = ds.sources[0]._shards.maps.get().joint
    assert joint is not None
    assert len(joint.table.array) > len(ds)


NO_ADDRESSES = """
import pathlib, resource, sys
import numpy as np, torch, npdata
held = 4096 * int(pathlib.Path("/proc/self/statm").read_text().split()[0])
resource.setrlimit(resource.RLIMIT_AS, (held + (1 << 30), held + (1 << 30)))
ds = npdata.concatenate(sys.argv[1])
assert ds.sources[0]._shards.maps.get().joint is None
assert ds[[5, 0, 3]][:, 0].tolist() == [2, 0, 1]
"""


def test_a_limit_of_addresses(tmp_path: Path) -> None:
    for k in range(3):
        np.save(tmp_path / f"{k}.npy", np.full((2, 1_000_003), k, np.uint8))
    assert JointLayout.of(np.full(3, 128), np.full(3, 2), 1_000_003) is not None
    done = run(NO_ADDRESSES, str(tmp_path))
    assert (done.returncode, done.stderr) == (0, "")


def test_addresses_are_free_again_when_nobody_holds_the_maps(tmp_path: Path) -> None:
    def mapped() -> int:
        return Path("/proc/self/maps").read_text().count(str(tmp_path))

    for k in range(3):
        np.save(tmp_path / f"{k}.npy", np.full((5, 3), k))
    ds = npdata.concatenate(tmp_path)
    rows = [14, 0, 7]
    assert ds[rows][:, 0].tolist() == [2, 0, 1]
    assert mapped() == 3
    ds.sources[0].close_idle()
    assert mapped() == 0
    assert ds[rows][:, 0].tolist() == [2, 0, 1]


def test_no_row_is_read_of_a_file_that_is_not_mapped(tmp_path: Path) -> None:
    layout = JointLayout.of(np.array([0, 0]), np.array([4, 4]), 8)
    joint = JointMap.reserved(layout, np.dtype("i8"), ())
    assert layout is not None
    assert joint is not None
    np.arange(8).tofile(tmp_path / "x")
    with (tmp_path / "x").open("rb") as file:
        mapped, begin = joint.add(1, file.fileno())
    assert (len(mapped), begin) == (32, 0)
    first = int(layout.firsts[1])
    assert joint.table.array[first : first + 4].tolist() == [0, 1, 2, 3]
