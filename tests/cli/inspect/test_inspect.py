"""`npdata inspect`: what it shows is what the library does, for any file, and never a traceback."""

import io
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import h5py
import numpy as np
import pytest
from inspected import stored
from processes import environment, run

from npdata import NumpyDataset
from npdata.cli.inspect.picture import (
    MOST_BYTES,
    as_image,
    bins_of,
    choose_rows,
)
from npdata.cli.inspect.report import Chunks
from npdata.cli.main import main
from npdata.sources.hdf5.examine.creation_properties import Filter

CORPUS = Path(__file__).parents[3] / ".corpus" / "files"
FILES = sorted(p for p in CORPUS.rglob("*") if p.is_file())

Inspect = Callable[..., dict[str, Any]]


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One file of each kind."""
    folder = tmp_path_factory.mktemp("files")
    rng = np.random.default_rng(0)
    x = rng.random((500, 28, 28), np.float32)
    np.save(folder / "x.npy", x)
    np.save(folder / "fortran.npy", np.asfortranarray(x))
    np.savez(folder / "stored.npz", x=x, y=np.arange(500))
    np.savez_compressed(folder / "packed.npz", x=x, y=np.arange(500))
    x.tofile(folder / "x.bin")
    with h5py.File(folder / "d.h5", "w") as file:
        file.create_dataset("a/images", data=x, chunks=(50, 28, 28), compression=4, shuffle=True)
        file["a/b/labels"] = np.arange(500)
        file["names"] = ["one", "two"]
        file["scalar"] = 3
        file["out"] = h5py.ExternalLink("elsewhere.h5", "/x")
    return folder


@pytest.fixture
def folder(files: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the files, in the working directory."""
    shutil.copytree(files, tmp_path, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("COLUMNS", raising=False)
    return tmp_path


@pytest.fixture
def inspect(folder: Path, capsys: pytest.CaptureFixture[str]) -> Inspect:
    """Run the command for JSON: gives the arrays by `where`, after a check of the exit code."""

    def told(*arguments: str, code: int = 0) -> dict[str, Any]:
        capsys.readouterr()
        assert main(["inspect", "--json", *arguments]) == code
        files = json.loads(capsys.readouterr().out)["files"]
        return {dataset["where"]: dataset for file in files for dataset in file["datasets"]}

    return told


def shown(capsys: pytest.CaptureFixture[str], *arguments: str, code: int = 0) -> str:
    capsys.readouterr()
    assert main(["inspect", *arguments]) == code
    return capsys.readouterr().out


@pytest.mark.parametrize(
    "where", ["x.npy", "fortran.npy", "stored.npz::x", "packed.npz::y", "d.h5::a/images"]
)
def test_it_shows_what_describe_shows(inspect: Inspect, where: str) -> None:
    told = inspect(where)[where]
    with NumpyDataset(where) as ds:
        (field,) = ds.describe().fields
    assert tuple(told["shape"]) == field.shape
    assert np.dtype(told["dtype"]) == field.dtype
    assert told["row_bytes"] == field.row_bytes
    assert told["access"] == {"kind": field.access, "reason": field.access_reason}
    assert told["sample"]["kind"] == field.conversion
    assert told["sample"]["reason"] == field.conversion_reason
    assert told["sample"]["dtype"] == str(field.tensor_dtype)


def test_every_array_has_the_same_keys_also_one_that_is_refused(inspect: Inspect) -> None:
    told = inspect("x.npy", "packed.npz", "d.h5")
    assert len({tuple(dataset) for dataset in told.values()}) == 1
    assert told["d.h5::a/b/labels"]["refusal"] is None
    assert told["d.h5::scalar"]["shape"] is None
    assert "no rows" in told["d.h5::scalar"]["refusal"]
    assert "another file" in told["d.h5::out"]["refusal"]


def test_hdf5_is_shown_with_chunks_filters_and_cost_as_numbers(inspect: Inspect) -> None:
    images = inspect("d.h5::a/images")["d.h5::a/images"]
    assert images["layout"] == "chunked"
    assert images["chunks"] == {
        "shape": [50, 28, 28],
        "bytes": 50 * 784 * 4,
        "grid": [10, 1, 1],
        "stored": 10,
    }
    assert [step["name"] for step in images["filters"]] == ["shuffle", "deflate"]
    assert images["filters"][1]["values"] == [4]
    assert images["decoded_per_used"] == {"full": 1.0, "block": 1.0}
    with h5py.File("d.h5") as file:
        assert images["stored_bytes"] == file["a/images"].id.get_storage_size()


def test_datasets_beside_others_are_described_as_alone(inspect: Inspect) -> None:
    with h5py.File("many.h5", "w") as file:
        for k, size in enumerate((3, 4, 5, 0, 4)):
            file[f"floats{k}"] = np.zeros((size, 3))
            file[f"odd{k}"] = np.zeros(size, np.uint8)
            file[f"words{k}"] = np.array([b"ab"] * size, "S2")
            file[f"text{k}"] = ["a"] * size or h5py.Empty("S1")
            for more in ({}, {"compression": 1}, {"scaleoffset": 0}):
                name = f"chunks{k}{'-'.join(more)}"
                file.create_dataset(
                    name, (size, 3), "i8", maxshape=(None, 3), chunks=(2, 3), **more
                )[:] = 1
    for where, described in inspect("many.h5").items():
        assert inspect(where)[where] == described


def test_random_rows_cost_more_when_the_chunk_cache_is_small(
    inspect: Inspect, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NPDATA_CACHE_BYTES", str(50 * 784 * 4))
    images = inspect("d.h5::a/images")["d.h5::a/images"]
    assert images["decoded_per_used"] == {"full": pytest.approx(45.0), "block": pytest.approx(45.0)}
    assert "random rows decodes" in images["advice"][0]


def test_a_compressed_member_is_not_decoded_to_be_shown(inspect: Inspect) -> None:
    raw = bytearray(Path("packed.npz").read_bytes())
    middle = len(raw) // 2
    raw[middle : middle + 99] = bytes(99)
    Path("packed.npz").write_bytes(raw)
    told = inspect("packed.npz")["packed.npz::x"]
    assert told["shape"] == [500, 28, 28]
    assert told["filters"][0]["name"] == "deflate"
    assert told["stored_bytes"] < told["bytes"]


def test_files_may_have_colons_in_their_names(inspect: Inspect) -> None:
    np.savez("c::d.npz", **{"x::y": np.arange(3)})
    assert inspect("c::d.npz::x::y").keys() == inspect("c::d.npz").keys() == {"c::d.npz::x::y"}


def test_a_group_stands_for_what_lies_below_it(inspect: Inspect) -> None:
    assert inspect("d.h5::a/b").keys() == {"d.h5::a/b/labels"}


def test_raw_binary_is_shown_once_it_is_described(
    inspect: Inspect, capsys: pytest.CaptureFixture[str]
) -> None:
    told = inspect("x.bin", "x.npy", "--dtype", "float32", "--shape=-1,28,28")
    assert told["x.bin"]["shape"] == [500, 28, 28]
    assert told["x.bin"]["access"]["kind"] == "mapped"
    assert inspect("x.bin", "--dtype", "<u2", "--offset", "2")["x.bin"]["rows"] == 783_999
    assert inspect("x.bin", code=1) == {}
    text = shown(capsys, "x.bin", code=1)
    assert "--dtype float32 --shape=-1,28,28" in text
    assert inspect("x.bin", "--dtype", "float32", "--shape=-1,13", code=1) == {}


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"", "is empty"),
        (b"\x93NUMPY\x01\x00", "cut short"),
        (b"hello, world", "damaged"),
        (b"PK\x03\x04 no zip", "damaged|cut short"),
        (b"\x89HDF\r\n\x1a\nno more", "cannot be opened as HDF5"),
    ],
)
def test_a_damaged_file_is_a_line_with_the_reason_beside_the_others(
    folder: Path, capsys: pytest.CaptureFixture[str], content: bytes, why: str
) -> None:
    Path("bad.npy").write_bytes(content)
    assert main(["inspect", "--json", "x.npy", "bad.npy"]) == 1
    good, bad = json.loads(capsys.readouterr().out)["files"]
    assert good["failure"] is None
    assert bad["datasets"] == []
    assert any(word in bad["failure"] for word in why.split("|"))
    text = shown(capsys, "x.npy", "bad.npy", code=1)
    assert "500×28×28" in text
    assert bad["failure"] in text


def test_a_link_that_leads_nowhere_hides_no_file_beside_it(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("dead.npy").symlink_to("missing.npy")
    Path("round.npy").symlink_to("round.npy")
    text = shown(capsys, "*.npy", code=1)
    assert "x.npy" in text
    assert "is a link: No such file or directory" in text
    assert "is a link: Too many levels of symbolic links" in text


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        (["missing.npy"], "npdata inspect: missing.npy: No such file or directory\n"),
        (["s3://a/x.npy"], "npdata inspect: s3://a/x.npy: only local files are read; mount"),
        (
            ["x.npy/x"],
            "npdata inspect: x.npy/x: no such file; an array of a file comes after '::', as "
            "'x.npy::x'\n",
        ),
        (["a\x1b[31m\n"], r"npdata inspect: a\x1b[31m\n: No such file or directory"),
        (["x.npy", "missing.h5::x"], "missing.h5"),
        (["empty"], "empty holds no file that ends in .npy, .npz, .h5, .hdf5, .h5ad; a glob"),
        (["d.zarr"], "d.zarr: it is Zarr, which npdata does not read"),
        (["empty/*.npy"], "empty/*.npy names no file"),
        (["em*"], "em* names no file, only folders: their files are 'em*/*'"),
        ([""], "the path is empty; '.' is this folder"),
        (["d.h5::nothing"], "no dataset 'nothing'"),
        (["packed.npz::nothing"], "no array 'nothing'"),
        (["x.npy::x"], "one array"),
        (["x.bin", "--shape=3"], "give --dtype as well"),
        (["x.npy", "--dtype", "f4"], "none is among the paths"),
        (["x.npy", "--plot", "x.gif"], ".png"),
        (["d.h5::names", "--plot", "x.png"], "none to be read"),
    ],
)
def test_wrong_usage_ends_with_2_and_says_what_is_wrong(
    folder: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], why: str
) -> None:
    Path("empty").mkdir()
    Path("d.zarr").mkdir()
    Path("d.zarr/zarr.json").write_text("{}")
    assert main(["inspect", *arguments]) == 2
    assert why in capsys.readouterr().err


def test_a_glob_passes_over_the_folders_that_it_matches(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("parts/deep").mkdir(parents=True)
    for name in ("parts/a.npy", "parts/deep/b.npy"):
        np.save(name, np.arange(3))
    assert main(["inspect", "parts/**", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)["files"]
    assert [each["path"] for each in found] == ["parts/a.npy", "parts/deep/b.npy"]


def test_a_picture_of_a_file_that_cannot_be_read_is_a_failure_and_no_wrong_usage(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("bad.npy").write_bytes(b"\x93NUMPY")
    assert main(["inspect", "bad.npy", "--plot", "x.png"]) == 1
    assert "none to be read" in capsys.readouterr().err
    assert not Path("x.png").exists()


@pytest.mark.parametrize("arguments", [[], ["x.npy", "--dtype", "float33"], ["x", "--shape=a,b"]])
def test_arguments_that_cannot_be_read_end_with_2(folder: Path, arguments: list[str]) -> None:
    with pytest.raises(SystemExit) as raised:
        main(["inspect", *arguments])
    assert raised.value.code == 2


@pytest.mark.parametrize("columns", ["80", "160", ""])
def test_the_table_fits_the_screen_and_loses_nothing(
    folder: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    columns: str,
) -> None:
    monkeypatch.setenv("COLUMNS", columns)
    text = shown(capsys, "d.h5", "x.npy")
    assert "\x1b" not in text
    if columns:
        assert max(map(len, text.splitlines())) <= int(columns)
    words = " ".join(text.split())
    for part in ("500×28×28", "shuffle", "deflate", "refused", "chunks", "50×28×28"):
        assert part in words
    for reason in ("is a scalar dataset and has no rows", "elsewhere.h5", "holds no text"):
        assert reason in words


@pytest.mark.skipif(not FILES, reason="`make corpus` brings the files")
@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_files_that_others_wrote_are_shown(path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["inspect", "--json", str(path)]) == 0
    (file,) = json.loads(capsys.readouterr().out)["files"]
    assert shown(capsys, str(path))
    names = []
    with h5py.File(path) as opened:
        opened.visititems(lambda name, item: names.append(name) if _is_dataset(item) else None)
        assert {d["name"] for d in file["datasets"]} >= set(names)
        for dataset in file["datasets"]:
            if dataset["shape"] is not None:
                stored = opened[dataset["name"]]
                assert tuple(dataset["shape"][: stored.ndim]) == stored.shape
            else:
                assert dataset["refusal"]


def _is_dataset(item: object) -> bool:
    return isinstance(item, h5py.Dataset)


@pytest.mark.slow
def test_a_picture_is_drawn_of_all_kinds_of_arrays(folder: Path) -> None:
    np.save("colour.npy", np.random.default_rng(0).integers(0, 255, (50, 32, 32, 3), np.uint8))
    np.save("complex.npy", np.ones((50, 9), np.complex64))
    np.save("nan.npy", np.full((50, 4), np.nan))
    np.save("empty.npy", np.zeros((0, 4)))
    np.save("big.npy", np.arange(100).astype(">i8"))
    names = ("colour", "complex", "nan", "empty", "big")
    paths = [f"{name}.npy" for name in names]
    Path("big.npy").rename(r"$\big$.npy")
    assert main(["inspect", *paths[:-1], r"$\big$.npy", "--plot", "a.png"]) == 0
    assert main(["inspect", "x.bin", "--dtype=f4", "--shape=-1,28,28", "--plot", "b.svg"]) == 0
    with h5py.File("d.h5", "a") as file:
        file.create_dataset("partly", (100, 8), "f4", chunks=(10, 8))[:10] = 1
    assert main(["inspect", "d.h5", "packed.npz", "--plot", "c.pdf"]) == 0
    assert Path("a.png").read_bytes().startswith(b"\x89PNG")
    assert Path("b.svg").read_text().startswith("<?xml")
    assert Path("c.pdf").read_bytes().startswith(b"%PDF")


@pytest.mark.skipif(sys.platform == "darwin", reason="it takes no name that is no UTF-8")
def test_a_picture_shows_a_name_that_is_no_text(in_folder: Path) -> None:
    name, damaged = (os.fsdecode(b"a\xff\x1b." + suffix) for suffix in (b"npy", b"h5"))
    np.save(name, np.zeros((9, 5)))
    with h5py.File(damaged, "w") as file:
        rows = file.create_dataset("x", (9, 5), "f8", chunks=(9, 5), compression="gzip")
        rows.id.write_direct_chunk((0, 0), b"no stream of zlib")
    assert main(["inspect", name, damaged, "--plot", "a.svg"]) == 0
    ElementTree.parse("a.svg")


def test_a_picture_is_drawn_of_floats_that_are_large_or_close(folder: Path) -> None:
    arrays = {
        "times": np.full(9, 1.7e18),  # of nanoseconds, where no float is near
        "close": np.nextafter([1.0, 1.0], [2.0, 0.0]),
        "wide": np.array([-1.7e308, 0, 1.7e308]),
        "fill": np.full((3, 8, 8), np.finfo(float).max),
        "lines": np.full((3, 5), np.finfo(float).max),
        "waves": np.ones((3, 8, 8), np.complex64),
    }
    for name, array in arrays.items():
        np.save(f"{name}.npy", array)
    assert main(["inspect", *(f"{name}.npy" for name in arrays), "--plot", "a.svg"]) == 0
    assert "2 not finite or above 1e300" in Path("a.svg").read_text()


@pytest.mark.parametrize("shape", [(10**12,), (10**9, 300, 300), (3, 2000, 3000), (1, 1), (17, 5)])
def test_samples_are_few_and_from_all_over_the_array(shape: tuple[int, ...]) -> None:
    numbers, reason = choose_rows(stored(shape=shape))
    assert not reason
    assert len(numbers) * stored(shape=shape).row_bytes <= MOST_BYTES
    assert (np.diff(numbers) > 0).all()
    assert numbers[0] == 0
    if len(numbers) > 1:
        assert numbers[-1] == shape[0] - 1


def test_what_is_dear_to_look_at_is_not_looked_at() -> None:
    chunks = Chunks(shape=(10**9, 2), bytes=8 * 10**9, grid=(10, 1), stored=10)
    gzip = (Filter(id=1, values=(), name="deflate"),)
    for known in (
        stored(shape=(10**10, 2), chunks=chunks, filters=gzip),
        stored(shape=(10**10, 2), filters=gzip),
        stored(shape=(10, 10**9)),
    ):
        numbers, reason = choose_rows(known)
        assert len(numbers) == 0
        assert "GB" in reason


@pytest.mark.parametrize("low, high", [(0, 255), (-3, 3), (5, 5), (0, 63), (0, 64), (-1000, 1000)])
def test_bins_of_whole_numbers_hold_equally_many_and_all(low: int, high: int) -> None:
    edges = bins_of(np.array([low, high], np.float64), whole=True)
    assert len(edges) <= 65
    assert len(set(np.diff(edges))) == 1
    counts, _ = np.histogram(np.arange(low, high + 1), edges)
    assert counts.sum() == high - low + 1
    assert len(set(counts[:-1])) <= 1


@pytest.mark.parametrize(
    ("row", "image"),
    [
        ((28, 28), (28, 28)),
        ((3, 32, 40), (32, 40, 3)),
        ((32, 40, 4), (32, 40, 3)),
        ((32, 40, 1), (32, 40)),
        ((1, 32, 40), (32, 40)),
        ((16, 32, 40), (32, 40)),
        ((2048, 1024), (2048, 1024)),
        ((10,), None),
        ((3, 3), None),
        ((2, 3, 4, 5), None),
    ],
)
def test_rows_that_are_images_are_shown_as_such(
    row: tuple[int, ...], image: tuple[int, ...] | None
) -> None:
    for dtype in (np.uint8, np.float32):
        shown_as = as_image(np.ones(row, dtype))
        assert (None if shown_as is None else shown_as.shape) == image


def test_the_command_prints_plain_text_into_a_pipe(folder: Path) -> None:
    done = run(
        "import runpy; runpy.run_module('npdata', run_name='__main__')", "inspect", "d.h5", "x.npy"
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert "\x1b" not in done.stdout
    images = next(line for line in done.stdout.splitlines() if "a/images" in line)
    assert images.split()[-5:] == ["decoded,", "copy", "1", "/", "1"]


def test_json_needs_no_rich_and_the_table_says_what_to_install(
    inspect: Inspect, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in [each for each in sys.modules if each.partition(".")[0] in ("rich", "matplotlib")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "rich", None)
    assert inspect("x.npy")["x.npy"]["rows"] == 500
    assert main(["inspect", "x.npy"]) == 1
    assert capsys.readouterr().err.endswith("pip install 'npdata[cli]'\n")
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    assert main(["inspect", "x.npy", "--plot", "x.png"]) == 1
    assert capsys.readouterr().err.endswith("pip install 'npdata[plot]'\n")  # which has both


def test_a_reader_of_the_pipe_that_leaves_is_no_traceback(folder: Path) -> None:
    code = "import os, sys; os.close(0); sys.exit(0)"
    with subprocess.Popen(
        [sys.executable, "-m", "npdata", "inspect", "d.h5"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment(),
    ) as command:
        assert command.stdout is not None
        subprocess.run([sys.executable, "-c", code], stdin=command.stdout, check=True)
        command.stdout.close()
        assert command.stderr is not None
        assert command.stderr.read() == ""


@pytest.mark.parametrize("encoding", ["utf-8", "ascii"])
def test_names_that_no_text_can_hold_are_printed_anyhow(
    folder: Path, monkeypatch: pytest.MonkeyPatch, encoding: str
) -> None:
    odd = os.fsdecode(b"\xff.npy")
    np.save(odd, np.zeros(3))
    pipe = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(pipe, encoding, "strict"))
    assert main(["inspect", odd]) == 0
    assert b"dcff.npy" in pipe.getvalue()


def test_names_cannot_command_the_terminal_or_break_the_table(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with h5py.File("odd.h5", "w") as file:
        file["a\x1b[31m\nb"] = np.arange(3)
        file["plain"] = np.arange(3)
    text = shown(capsys, "odd.h5")
    assert "\x1b" not in text
    assert text.count(r"a\x1b[31m\nb") == 2


def test_a_whole_npy_without_rows_is_refused_and_did_not_fail(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name, array in (("e/2", np.float32(3)), ("e/10", np.array([{}], object))):
        Path("e").mkdir(exist_ok=True)
        np.save(f"{name}.npy", array)
    text = shown(capsys, "e")
    assert "failed" not in text
    assert text.index("e/2.npy") < text.index("e/10.npy")
    assert main(["inspect", "--json", "e"]) == 0
    one, objects = (file["datasets"][0] for file in json.loads(capsys.readouterr().out)["files"])
    assert one["refusal"].startswith("holds one value and no rows")
    assert objects["refusal"].startswith("holds pickled Python objects")


def test_a_file_without_arrays_did_not_fail(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    np.savez("none.npz")
    h5py.File("none.h5", "w").close()
    text = shown(capsys, "none.npz", "none.h5")
    assert "2 files" in text
    assert "0 arrays" in text
    assert "failed" not in text


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="there are no pipes")
def test_a_pipe_is_not_waited_for(inspect: Inspect, capsys: pytest.CaptureFixture[str]) -> None:
    os.mkfifo("pipe.npy")
    assert inspect("pipe.npy", code=1) == {}
    assert "is a pipe or a device" in shown(capsys, "pipe.npy", code=1)


INTERRUPTED_AT_THE_THIRD_FILE = """
import os, signal, sys
from npdata.cli.main import main
opened = []
def audit(event, arguments):
    if event == "open" and str(arguments[0]).endswith("d.h5"):
        opened.append(event)
        if len(opened) == 3:
            os.kill(os.getpid(), signal.SIGINT)
sys.addaudithook(audit)
sys.exit(main(["inspect", *["d.h5"] * 3000]))
"""


@pytest.mark.slow
def test_ctrl_c_ends_it_with_130_and_one_line(folder: Path) -> None:
    done = run(INTERRUPTED_AT_THE_THIRD_FILE)
    assert (done.returncode, done.stdout) == (130, "")
    assert done.stderr == "npdata inspect: interrupted\n"
