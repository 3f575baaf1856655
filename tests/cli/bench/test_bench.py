"""`npdata bench`: what it measures, how it ends, and that it leaves nothing behind."""

import json
import os
import signal
import time
from dataclasses import replace
from pathlib import Path

import h5py
import numpy as np
import pytest
from processes import HANG, running

import npdata
from npdata.cli.bench.candidate import RowsDifferError, leaves
from npdata.cli.bench.measure import measure
from npdata.cli.bench.target import open_target
from npdata.cli.main import main

QUICK = ("--seconds", "0.1", "--workers", "0")
X = np.random.default_rng(0).integers(0, 256, (1000, 12)).astype(np.float32)


@pytest.fixture
def files(in_folder):
    """One array in every kind of file."""
    np.save("x.npy", X)
    np.save("y.npy", np.arange(1000))
    np.savez("d.npz", x=X, y=np.arange(1000))
    np.savez_compressed("c.npz", x=X)
    X.tofile("x.bin")
    records = np.zeros(1000, [("a", ">f4"), ("b", "i8", 2)])
    records["a"], records["b"][:, 1] = np.arange(1000), np.arange(1000)
    np.save("records.npy", records)
    np.save("swapped.npy", X.astype(">f4"))
    np.save("half.npy", X.astype(np.float16))
    np.save("words.npy", X.astype(np.uint16))
    with h5py.File("d.h5", "w") as file:
        file["plain"] = X
        file.create_dataset("chunked", data=X, chunks=(64, 12))
        file.create_dataset("tiled", data=X, chunks=(64, 5))
        file.create_dataset("gzip", data=X, chunks=(64, 5), compression=1, shuffle=True)
        file.create_dataset("scaled", data=X.astype(int), chunks=(64, 12), scaleoffset=0)
        file.create_dataset("unwritten", (1000, 12), "f4", chunks=(64, 12))


def bench(capsys, *arguments: str) -> dict:
    assert main(["bench", *QUICK, "--json", *arguments]) == 0
    return json.loads(capsys.readouterr().out)


SOURCES = {
    "x.npy": "mapped",
    "d.npz::x": "mapped",
    "c.npz::x": "decoded",
    "records.npy": "mapped",
    "swapped.npy": "mapped",
    "half.npy": "mapped",
    "words.npy": "mapped",
    "d.h5::plain": "mapped",
    "d.h5::chunked": "mapped",
    "d.h5::tiled": "mapped",
    "d.h5::unwritten": "mapped",
    "d.h5::gzip": "decoded",
    "d.h5::scaled": "library",
}


@pytest.mark.parametrize("path", SOURCES)
def test_every_kind_of_file_is_measured_in_every_order(files, capsys, path):
    found = bench(capsys, path)
    assert 256 <= found["rows_measured"] <= found["rows"] == 1000
    assert found["fields"][0]["access"] == SOURCES[path]
    methods = {(figure["order"], figure["method"]["name"]) for figure in found["figures"]}
    plain = "h5py" if path.startswith("d.h5") else "NumPy"
    for order in ("sequential", "block", "full"):
        for name in (f"{plain}, row by row", "DataLoader, 0 workers", "Loader, 0 threads"):
            assert (order, name) in methods
    assert all(figure["rows_per_second"] > 0 for figure in found["figures"])
    assert all(0 < figure["of_fastest"] <= 1 for figure in found["figures"])
    assert_runs_as_printed(found["advice"]["code"])


def assert_runs_as_printed(code: str, rows: int = 1000) -> None:
    with eval(code, {"npdata": npdata}) as loader:
        assert sum(len(next(leaves(batch))) for batch in loader) == rows


def test_several_paths_are_fields_of_one_dataset(files, capsys):
    found = bench(capsys, "x.npy", "y.npy", "d.h5::gzip")
    assert [field["dtype"] for field in found["fields"]] == ["float32", "int64", "float32"]
    assert found["row_bytes"] == 48 + 8 + 48
    assert_runs_as_printed(found["advice"]["code"])


def test_a_raw_file_needs_a_dtype(files, capsys):
    found = bench(capsys, "x.bin", "--dtype", "float32", "--shape=-1,12", "--batch-size", "100")
    assert (found["rows"], found["batch_size"]) == (1000, 100)
    assert "npdata.open_source('x.bin', dtype='<f4', shape=(-1, 12))" in found["advice"]["code"]
    assert_runs_as_printed(found["advice"]["code"])
    assert main(["bench", "x.bin"]) == 1
    assert "--dtype float32" in capsys.readouterr().err


def test_code_for_raw_records_names_their_fields(files, capsys):
    found = bench(capsys, "x.bin", "--dtype", "f4,(2,)f4", "--offset", "12")
    assert_runs_as_printed(found["advice"]["code"], rows=(1000 * 12 - 3) // 3)


def test_a_file_of_one_array_needs_no_name(in_folder, capsys):
    np.savez("one.npz", only=X)
    with h5py.File("one.h5", "w") as file:
        file["deep/only"] = X
    assert bench(capsys, "one.npz")["paths"] == ["one.npz::only"]
    assert bench(capsys, "one.h5")["paths"] == ["one.h5::deep/only"]


def test_a_folder_is_refused_with_what_to_measure(files, capsys):
    assert main(["bench", "."]) == 2
    assert "bench: . is a folder: name one of its files" in capsys.readouterr().err


def test_a_file_of_several_arrays_names_the_largest(files, capsys):
    assert main(["bench", "d.h5"]) == 2
    message = capsys.readouterr().err
    assert "d.h5 has 6 arrays: name one, as in npdata bench d.h5::scaled, or several" in message


def test_one_row_is_one_batch(in_folder, capsys):
    np.save("one.npy", np.ones((1, 3)))
    found = bench(capsys, "one.npy")
    assert found["batch_size"] == 1
    assert "all rows are one batch" in found["advice"]["sentences"][0]
    assert_runs_as_printed(found["advice"]["code"], rows=1)


def test_workers_and_threads_are_tried_too(files, capsys):
    found = bench(capsys, "d.h5::gzip", "--workers", "1")
    measured = {figure["method"]["name"] for figure in found["figures"]}
    left_out = {each.split(": ")[-2] for each in found["not_measured"]}
    assert {"DataLoader, 1 worker", "Loader, 1 thread"} <= measured | left_out


def test_other_rows_than_numpy_gives_end_the_run(files):
    target = replace(open_target(["x.npy"]), openers=open_target(["half.npy"]).openers)
    with pytest.raises(RowsDifferError, match="0 workers gives other rows than NumPy, row by row"):
        measure(target, helpers=0, seconds=0.1, show=print)


def test_what_is_too_slow_to_time_is_judged_by_its_first_rows(in_folder, capsys):
    with h5py.File("d.h5", "w") as file:
        # One chunk, larger than h5py's cache of chunks: every row decodes it.
        file.create_dataset("x", data=np.ones((2000, 1000)), chunks=(2000, 1000), compression=1)
    found = bench(capsys, "d.h5")
    slow = {each["method"]["name"] for each in found["figures"] if each["estimate"]}
    assert {"h5py, row by row", "h5py, sorted batches"} <= slow
    assert main(["bench", *QUICK, "d.h5"]) == 0
    assert "guess: a batch takes too long" in capsys.readouterr().out


@pytest.mark.parametrize("columns", [80, 160])
def test_the_table_fits_the_screen(files, capsys, monkeypatch, columns):
    monkeypatch.setenv("COLUMNS", str(columns))
    assert main(["bench", *QUICK, "d.h5::gzip"]) == 0
    text = capsys.readouterr().out
    assert max(map(len, text.splitlines())) <= columns
    for part in ("full shuffle", "of fastest", "Advice", "npdata.Loader("):
        assert part in text


def test_a_pipe_gets_plain_text(files, capsys, monkeypatch):
    monkeypatch.delenv("COLUMNS", raising=False)
    assert main(["bench", *QUICK, "x.npy"]) == 0
    captured = capsys.readouterr()
    assert "\x1b" not in captured.out
    assert captured.err == ""
    assert max(map(len, captured.out.splitlines())) < 400


def test_the_picture_is_drawn(files, capsys):
    Path("x.npy").rename(r"$\x$.npy")
    assert main(["bench", *QUICK, r"$\x$.npy", "--plot", "x.png"]) == 0
    assert Path("x.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["nowhere.npy"], "npdata bench: nowhere.npy: No such file or directory"),
        ([""], "npdata bench: the path is empty"),
        (["x.npy/x"], "npdata bench: x.npy/x: no such file; an array of a file comes after '::'"),
        (["none.npz"], "none.npz holds no array"),
        (["d.npz"], "name one"),
        (["d.h5::nothing"], "no dataset 'nothing'"),
        (["x.npy", "short.npy"], "all fields need the same number"),
        (["x.npy", "--plot", "x.gif"], "a picture is written as"),
        (["x.npy", "--shape=1,2"], "give --dtype as well"),
        (["x.npy", "--dtype", "f4"], "--dtype is for raw files, and x.npy is npy"),
        (["d.h5::plain", "--dtype", "f4"], "--dtype is for raw files, and d.h5::plain is hdf5"),
        (["x.npy", "--batch-size", "9" * 15], "give at most"),
    ],
)
def test_wrong_usage_ends_with_2(files, capsys, arguments, message):
    np.save("short.npy", X[:3])
    np.savez("none.npz")
    assert main(["bench", *QUICK, *arguments]) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert message in error


@pytest.mark.parametrize(
    "option",
    [
        "--seconds=0",
        "--seconds=nan",
        "--batch-size=0",
        "--workers=-1",
        "--workers=1025",
        "--dtype=nothing",
    ],
)
def test_options_that_make_no_sense_end_with_2(files, capsys, option):
    with pytest.raises(SystemExit, match="2"):
        main(["bench", "x.npy", option])
    assert "give" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (np.zeros((0, 3)), "0 rows, so there is nothing to measure"),
        (np.zeros((3, 0)), "rows of 0 bytes, so there is nothing to measure"),
        (np.array(["a", "b"]), "a tensor holds no text"),
    ],
)
def test_what_cannot_be_measured_ends_with_1(in_folder, capsys, array, message):
    np.save("x.npy", array)
    assert main(["bench", *QUICK, "x.npy"]) == 1
    assert message in capsys.readouterr().err


def test_an_empty_raw_file_ends_with_1(in_folder, capsys):
    Path("x.bin").touch()
    assert main(["bench", *QUICK, "x.bin", "--dtype", "f4"]) == 1
    assert "x.bin is empty" in capsys.readouterr().err


def test_rows_of_different_lengths_end_with_1(in_folder, capsys):
    with h5py.File("v.h5", "w") as file:
        file.create_dataset("x", (3,), h5py.vlen_dtype("i4"))
    assert main(["bench", *QUICK, "v.h5"]) == 1
    assert "its rows differ in length, and bench measures rows of one" in capsys.readouterr().err


def test_a_damaged_chunk_ends_with_1(files, capsys):
    with h5py.File("d.h5") as file:
        offset = file["gzip"].id.get_chunk_info(0).byte_offset
    with Path("d.h5").open("r+b") as stream:
        stream.seek(offset + 10)
        stream.write(bytes(20))
    assert main(["bench", *QUICK, "d.h5::gzip"]) == 1


def test_ctrl_c_ends_with_130_and_leaves_no_process(files):
    with running(INTERRUPTED, "x.npy", "--workers", "2") as (process, out):
        assert out.readline() == "a worker runs\n"
        process.send(signal.SIGINT)
        assert process.wait() == 130
        assert out.read() == "npdata bench: interrupted\n"
    end = time.monotonic() + HANG
    with pytest.raises(ProcessLookupError):
        while time.monotonic() < end:  # what only started the workers ends by itself, a bit later
            os.killpg(process.number, 0)


INTERRUPTED = """
import multiprocessing, os, sys, threading, time
import npdata
os.setsid()
from npdata.cli.bench.candidate import leaves
from npdata.cli.main import main

def watch():
    while not multiprocessing.active_children():
        time.sleep(0.001)
    print("a worker runs", flush=True)

threading.Thread(target=watch, daemon=True).start()
sys.exit(main(["bench", *sys.argv[1:]]))
"""
