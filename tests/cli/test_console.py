"""What all commands share: sizes and counts as text, where output goes, pictures."""

import argparse
import io
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from npdata import errors
from npdata.cli.arguments import byte_size
from npdata.cli.console import UsageError, bytes_text, count_text, new_console
from npdata.cli.main import COMMANDS, main
from npdata.cli.plot import new_figure, require_drawing, save_figure
from npdata.cli.table import print_notes
from npdata.errors import require


@given(st.integers(0, 10**20))
def test_a_size_is_written_in_three_digits_and_read_again_within_half_a_percent(count: int) -> None:
    text = bytes_text(count)
    number, unit = text.split(" ")
    assert float(number) < 1000 or unit == "EB"
    if unit not in ("PB", "EB"):
        assert byte_size(text) == pytest.approx(count, rel=0.005)


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("0", 0),
        ("7 B", 7),
        ("1k", 1000),
        ("1Ki", 1024),
        ("2.5 GB", 2_500_000_000),
        ("1tib", 1 << 40),
        ("9007199254740993", (1 << 53) + 1),
    ],
)
def test_sizes_are_read_as_people_type_them(text: str, size: int) -> None:
    assert byte_size(text) == size


@pytest.mark.parametrize("text", ["", "-1", "GB", "1 XB", "1iB", "1e9", "nan"])
def test_what_is_no_size_is_refused(text: str) -> None:
    with pytest.raises(argparse.ArgumentTypeError, match="no size"):
        byte_size(text)


def test_one_thing_is_not_many() -> None:
    assert [count_text(n, "chunk") for n in (0, 1, 1000)] == ["0 chunks", "1 chunk", "1,000 chunks"]


@pytest.mark.parametrize("columns", ["", "0", "wide"])
def test_a_pipe_gets_no_colours_and_no_broken_lines(
    monkeypatch: pytest.MonkeyPatch, columns: str
) -> None:
    pipe = io.StringIO()
    monkeypatch.setattr(sys, "stdout", pipe)
    monkeypatch.setenv("COLUMNS", columns)
    new_console().print("[red]x[/red] " + "word " * 100, style="bold red")
    assert pipe.getvalue() == "[red]x[/red] " + "word " * 100 + "\n"


def test_a_reason_is_not_coloured_as_its_word(monkeypatch: pytest.MonkeyPatch) -> None:
    screen = io.StringIO()
    monkeypatch.setattr(sys, "stdout", screen)
    monkeypatch.setenv("FORCE_COLOR", "1")
    print_notes(new_console(), "Why", [("decoded", "so it is", "x")], named=False)
    assert screen.getvalue().endswith("\x1b[33mdecoded  \x1b[0mso it is\n")


HAS_FULL = pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is none")


@pytest.mark.parametrize(
    ("output", "code", "message"),
    [
        (">&-", 0, ""),
        pytest.param("> /dev/full", 1, "npdata inspect: No space left on device\n", marks=HAS_FULL),
    ],
)
def test_output_that_goes_nowhere_ends_without_a_traceback(
    tmp_path: Path, output: str, code: int, message: str
) -> None:
    for python in ("python", "python -u"):
        for option in ("--json", "--help"):
            done = shell(f"npdata inspect x.npy {option} {output}", tmp_path, python)
            assert (done.returncode, done.stderr) == (code, message)


@HAS_FULL
def test_output_on_a_full_disk_keeps_the_exit_code_of_wrong_usage(tmp_path: Path) -> None:
    np.save(tmp_path / "t.npy", np.array([b"text"]))
    done = shell("npdata inspect t.npy --json --plot t.png > /dev/full", tmp_path)
    assert done.returncode == 2
    assert re.fullmatch("npdata inspect: .* none to be read\n", done.stderr)


@pytest.mark.parametrize("error", ["2>&-", pytest.param("2> /dev/full", marks=HAS_FULL)])
def test_errors_that_nobody_can_read_keep_their_exit_code(tmp_path: Path, error: str) -> None:
    for words in ("inspect nothing", "inspect --nothing"):
        done = shell(f"npdata {words} {error}", tmp_path)
        assert (done.returncode, done.stdout) == (2, "")


def test_a_command_runs_with_closed_outputs(tmp_path: Path) -> None:
    assert shell("npdata convert x.npy y.npy >&- 2>&-", tmp_path).returncode == 0
    assert (np.load(tmp_path / "y.npy") == np.arange(3.0)).all()


def shell(command: str, folder: Path, python: str = "python") -> subprocess.CompletedProcess[str]:
    np.save(folder / "x.npy", np.arange(3.0))
    python = python.replace("python", shlex.quote(sys.executable))
    command = command.replace("npdata", f"{python} -m npdata", 1)
    env = {name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"}
    return subprocess.run(
        ["sh", "-c", command], cwd=folder, capture_output=True, text=True, env=env
    )


@pytest.mark.parametrize("name", ["-x.npy", "-hello.npy", "--json.npy"])
def test_a_file_that_looks_like_options_is_named(
    in_folder: Path, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    np.save(name, np.arange(3))
    for words in ([name], ["y.npy", name], [f"{name}::x"]):
        assert main(["inspect", *words]) == 2
        assert f"is a file: write ./{name}" in capsys.readouterr().err
    for words in (["--", name], [f"./{name}"]):
        assert main(["inspect", "--json", *words]) == 0


def test_the_command_alone_shows_what_there_is(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end:
        main([])
    assert end.value.code == 0
    shown = capsys.readouterr().out
    assert all(f"\n    {name} " in shown for name in COMMANDS)


@pytest.mark.parametrize(
    ("typed", "said"),
    [
        ("inspct x.npy", "'inspct' is no command; did you mean inspect?"),
        ("help", "'help' is no command; there are inspect, convert, bench, cache"),
        ("{file}", "is no command: write npdata inspect "),
        ("inspect {file} --jsn", "unrecognized arguments: --jsn; did you mean --json?"),
        ("bench {file} --batch_size=4", "--batch_size=4; did you mean --batch-size?"),
    ],
)
def test_a_word_that_is_no_command_or_option_is_named_with_what_was_meant(
    capsys: pytest.CaptureFixture[str], typed: str, said: str
) -> None:
    with pytest.raises(SystemExit) as end:
        main(typed.format(file=__file__).split())
    assert end.value.code == 2
    assert said in capsys.readouterr().err


def test_columns_decides_the_width_also_in_a_pipe(monkeypatch: pytest.MonkeyPatch) -> None:
    pipe = io.StringIO()
    monkeypatch.setattr(sys, "stdout", pipe)
    monkeypatch.setenv("COLUMNS", "40")
    new_console().print("word " * 20)
    assert max(map(len, pipe.getvalue().splitlines())) <= 40


def test_what_is_not_installed_is_named_with_its_extra() -> None:
    with pytest.raises(errors.MissingExtraError, match=r"--plot needs nowhere.*npdata\[plot\]"):
        require("nowhere.inside", extra="plot", purpose="--plot")


def test_a_picture_replaces_an_older_one_whole(tmp_path) -> None:
    path = tmp_path / "a.png"
    path.write_text("older")
    save_figure(new_figure(2, 1), str(path))
    assert path.read_bytes().startswith(b"\x89PNG")
    assert [p.name for p in tmp_path.iterdir()] == ["a.png"]


def test_a_picture_that_cannot_be_drawn_leaves_the_older_one(tmp_path) -> None:
    path = tmp_path / "a.png"
    path.write_text("older")
    figure = new_figure(2, 1)
    figure.text(0, 0, r"$\nothing$")
    with pytest.raises(ValueError, match="nothing"):
        save_figure(figure, str(path))
    assert path.read_text() == "older"
    assert [p.name for p in tmp_path.iterdir()] == ["a.png"]


def test_a_name_that_is_no_picture_is_wrong_usage(tmp_path) -> None:
    with pytest.raises(UsageError, match=r"\.png, \.svg or \.pdf"):
        require_drawing(str(tmp_path / "a.gif"))
    with pytest.raises(FileNotFoundError, match="no folder"):
        require_drawing(str(tmp_path / "missing" / "a.png"))
    (tmp_path / "a.png").mkdir()
    with pytest.raises(UsageError, match="is a folder"):
        require_drawing(str(tmp_path / "a.png"))


def test_a_picture_says_nothing_of_letters_that_its_font_lacks(tmp_path) -> None:
    figure = new_figure(2, 1)
    figure.suptitle("中文")
    save_figure(figure, str(tmp_path / "a.png"))
