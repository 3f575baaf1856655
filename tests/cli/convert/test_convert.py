"""`npdata convert` as a user meets it: exit codes, messages, what is replaced and what is left."""

import errno
import os
import re
import stat
from pathlib import Path

import h5py
import numpy as np
import pytest
from conversions import assert_same, convert, load, run

from npdata.cli.output_file import new_output


@pytest.fixture
def x(tmp_path: Path, rng: np.random.Generator) -> np.ndarray:
    """Rows, which are also in x.npy."""
    array = rng.standard_normal((100, 3)).astype(np.float32)
    np.save(tmp_path / "x.npy", array)
    return array


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_help_names_every_option(capsys: pytest.CaptureFixture[str]) -> None:
    assert convert("--help") == 0
    shown = capsys.readouterr().out
    options = ("--chunks", "--compression", "--memory", "--verify", "--force", "--dtype", "--shape")
    assert all(option in shown for option in options)


@pytest.mark.slow
def test_piped_output_is_plain_text_and_says_what_was_done(tmp_path: Path, x: np.ndarray) -> None:
    done = run(tmp_path / "x.npy", tmp_path / "x.h5", "--verify")
    assert (done.returncode, done.stderr) == (0, "")
    lines = done.stdout.splitlines()
    assert lines[0] == "x: 100×3 float32, chunks of 100×3"
    end = r"x\.h5: 1 array, 1\.2 kB in .+B, .+ s, .+/s, every row verified"
    assert re.search(end, lines[1])
    assert "\x1b" not in done.stdout


@pytest.mark.parametrize(
    "arguments, message",
    [
        (("x.npy",), "required"),
        (("none.npy", "y.h5"), "No such file"),
        (("none.h5::*", "y.h5"), "none.h5: No such file"),
        (("x.npy", "nowhere/y.h5"), "no folder"),
        (("x.npy", "y.parquet"), "has to end in one of .npy"),
        (("x.npy", "."), "has to end in"),
        (("x.npy", "d.h5"), "is a folder"),
        (("x.npy", "pipe.npy", "--force"), "is no regular file"),
        (("x.npy", "y.h5", "--chunks", "0"), "is no shape of chunks"),
        (("x.npy", "y.h5", "--compression", "zip"), "'zip'.*'gzip:9'"),
        (("x.npy", "y.npy", "--chunks", "5"), "--chunks is for HDF5"),
        (("x.npy", "y.h5", "--memory", "much"), "is no size"),
        (("x.npy", "y.h5", "--memory", "10MB"), "--memory 10 MB is too little"),
        (("x.npy", "y.h5", "--dtype", "f4"), "is for raw files"),
        (("x.npy", "y.h5", "--shape", "3"), "give --dtype"),
        (("t.bin", "y.h5"), "for raw binary say what it holds"),
        (("t.bin", "y.h5", "--dtype", "f3"), "'f3' is no dtype"),
        (("x.npy::a", "y.h5"), "is a .npy of one array"),
        (("two.npz", "y.npy"), "name one, as in SRC::NAME, of 'a', 'b'"),
    ],
)
def test_wrong_usage_is_code_2_and_writes_nothing(
    in_folder: Path,
    x: np.ndarray,
    capsys: pytest.CaptureFixture[str],
    arguments: tuple[str, ...],
    message: str,
) -> None:
    np.savez("two.npz", a=x, b=x)
    x.tofile("t.bin")
    Path("d.h5").mkdir()
    os.mkfifo("pipe.npy")
    before = names(in_folder)
    assert convert(*arguments) == 2
    assert re.search(message, capsys.readouterr().err)
    assert names(in_folder) == before


def test_what_cannot_be_done_is_code_1_and_writes_nothing(
    in_folder: Path, x: np.ndarray, capsys: pytest.CaptureFixture[str]
) -> None:
    np.save("text.npy", np.array(["a", "b"]))
    Path("cut.npy").write_bytes(Path("x.npy").read_bytes()[:-1])
    Path("t.bin").write_bytes(b"12345")
    Path("loop.npy").symlink_to("loop.npy")
    np.save("scalar.npy", np.float64(3))
    before = names(in_folder)
    for arguments, message in (
        (("text.npy", "y.h5"), "text.npy (<U1) does not fit HDF5"),
        (("cut.npy", "y.h5"), "was cut short"),
        (("t.bin", "y.npy", "--dtype", "f4"), "no whole number of 4-byte rows"),
        (("x.npy", "loop.npy"), "loop.npy: Too many levels of symbolic links"),
        (("scalar.npy", "y.h5"), "no rows"),
    ):
        assert convert(*arguments) == 1
        errors = capsys.readouterr().err
        assert message in errors
        assert len(errors.splitlines()) == 1
        assert names(in_folder) == before


def test_nothing_is_replaced_without_force(
    in_folder: Path, x: np.ndarray, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("y.npy").write_text("precious")
    assert convert("x.npy", "y.npy") == 2
    assert "y.npy is there already; --force replaces it" in capsys.readouterr().err
    assert Path("y.npy").read_text() == "precious"
    assert convert("x.npy", "y.npy", "--force") == 0
    assert_same(np.load("y.npy"), x)


def test_a_source_is_never_the_target(in_folder: Path, x: np.ndarray) -> None:
    Path("link.npy").symlink_to("x.npy")
    Path("hard.npy").hardlink_to("x.npy")
    for name in ("x.npy", "./x.npy", "link.npy", "hard.npy"):
        assert convert("x.npy", name, "--force") == 2
    assert convert("x.npy", "x.npy") == 2
    assert_same(np.load("x.npy"), x)


def test_a_link_is_written_through_and_stays(in_folder: Path, x: np.ndarray) -> None:
    Path("disk").mkdir()
    Path("disk/y.npy").write_text("old")
    Path("y.npy").symlink_to("disk/y.npy")
    assert convert("x.npy", "y.npy", "--force") == 0
    assert Path("y.npy").is_symlink()
    assert_same(np.load("disk/y.npy"), x)


def test_the_name_that_was_given_decides_the_format_not_what_it_links_to(
    in_folder: Path, x: np.ndarray
) -> None:
    Path("y.npy").symlink_to("blob.bin")
    Path("z.h5").symlink_to("blob")
    assert convert("x.npy", "y.npy") == 0
    assert_same(np.load("blob.bin"), x)
    assert convert("x.npy", "z.h5", "--verify") == 0
    assert_same(load(Path("z.h5"), "x", x), x)


@pytest.mark.parametrize(
    "magic", [b"\x93NUMPY\1\0", b"PK\3\4", b"\x89HDF\r\n\x1a\n"], ids=["npy", "npz", "hdf5"]
)
def test_raw_rows_that_look_like_a_file_are_verified_as_rows(in_folder: Path, magic: bytes) -> None:
    rows = np.frombuffer(magic + bytes(1000), np.uint8)
    np.save("x.npy", rows)
    assert convert("x.npy", "y.bin", "--verify") == 0
    assert Path("y.bin").read_bytes() == rows.tobytes()


def test_what_is_replaced_hands_on_its_permissions(in_folder: Path, x: np.ndarray) -> None:
    Path("y.npy").touch(mode=0o600)
    assert convert("x.npy", "y.npy", "--force") == 0
    assert stat.S_IMODE(Path("y.npy").stat().st_mode) == 0o600


def test_without_hard_links_a_name_is_taken_only_by_a_whole_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise PermissionError(errno.EPERM, "no hard links here")

    target = tmp_path / "y.npy"
    monkeypatch.setattr(os, "link", refuse)
    with new_output(target) as output:
        output.path.write_text("new")
        output.publish(force=False)
    assert target.read_text() == "new"
    with pytest.raises(FileExistsError), new_output(target) as output:
        output.publish(force=False)
    assert target.read_text() == "new"
    target.unlink()
    monkeypatch.setattr(os, "replace", refuse)
    with pytest.raises(PermissionError), new_output(target) as output:
        output.publish(force=False)
    assert names(tmp_path) == []


def test_a_file_that_appears_in_the_meantime_is_kept(tmp_path: Path) -> None:
    target = tmp_path / "y.npy"
    with (
        pytest.raises(FileExistsError, match="appeared in the meantime"),
        new_output(target) as output,
    ):
        output.path.write_text("new")
        target.write_text("precious")
        output.publish(force=False)
    assert target.read_text() == "precious"
    assert names(tmp_path) == ["y.npy"]


def test_the_file_has_the_usual_permissions(in_folder: Path, x: np.ndarray) -> None:
    Path("plain").touch()
    assert convert("x.npy", "y.npy") == 0
    assert stat.S_IMODE(Path("y.npy").stat().st_mode) == stat.S_IMODE(Path("plain").stat().st_mode)


def test_what_is_left_out_is_named(
    in_folder: Path, x: np.ndarray, capsys: pytest.CaptureFixture[str]
) -> None:
    with h5py.File("d.h5", "w") as file:
        file["a/x"] = x
        file["a/x"].attrs["unit"] = "m"
        file["text"] = ["one", "two"]
        file["scalar"] = 3
        file["elsewhere"] = h5py.ExternalLink("other.h5", "/x")
        file["same"] = h5py.SoftLink("/a/x")
    assert convert("d.h5", "d.npz") == 0
    out, errors = capsys.readouterr()
    assert "a/x: 100×3 float32" in out
    assert_same(load(Path("d.npz"), "a/x", x), x)
    for line in (
        r"left out .*d.h5::/?text: it holds text of variable length",
        r"left out .*d.h5::/?scalar: .*no rows",
        r"left out .*d.h5::/?elsewhere: .*another file",
        r"1 attribute not copied",
    ):
        assert re.search(line, errors), errors
    assert convert("d.h5::text", "t.npz") == 1
    assert "there is no array to convert\n  " in capsys.readouterr().err


def test_attributes_of_all_that_a_pattern_or_a_glob_matches_are_counted(
    in_folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for number in range(2):
        with h5py.File(f"run-{number}.h5", "w") as file:
            for name in ("a/x", "b/x", "a/y"):
                file[name] = np.full(3, number)
                file[name].attrs["unit"] = "m"
    for source, target, attributes in (
        ("run-0.h5::*/x", "x.npz", 2),
        ("run-0.h5::*", "all.npz", 3),
        ("run-*.h5::a/x", "stack.npy", 2),
        ("run-*.h5::*/x", "stacks.npy", 4),
    ):
        many = ("--files", "stack") if target.startswith("stack") else ()
        assert convert(source, target, *many) == 0
        assert f"{attributes} attributes not copied" in capsys.readouterr().err


def test_other_names_of_arrays_and_names_of_numbers_are_said_to_be_lost(
    in_folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    colors = h5py.enum_dtype({"red": 0, "blue": 1}, basetype="i1")
    with h5py.File("d.h5", "w") as file:
        file.create_dataset("group/color", data=np.array([0, 1, 1], "i1"), dtype=colors)
        file["flag"] = np.array([True, False])  # an enumeration that NumPy has
        file["again"] = file["group/color"]
        file["other"] = file["group"]
        file["group/away"] = h5py.SoftLink("/flag")
        file["group/lost"] = h5py.SoftLink("/nothing")
    lost = {
        "d.h5": ["'again'", "'group/away'", "'group/color'", "'other'"],
        "d.h5::group": ["'group/away'", "'group/color'"],
        "d.h5::g*": ["'group/color'"],
        "d.h5::flag": [],
    }
    for source, names_lost in lost.items():
        assert convert(source, "c.npz", "--force") == 0
        said = [
            name
            for line in capsys.readouterr().err.splitlines()
            if "not copied" in line or "without the names" in line
            for name in line.partition(": ")[2].partition(": ")[2].split(", ")
        ]
        assert sorted(said) == names_lost, source


def test_what_numbers_stand_for_is_named_where_the_copy_loses_it(
    in_folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with h5py.File("a.nc", "w") as file:
        file["t2m"] = np.arange(4, dtype=np.int16)
        file["t2m"].attrs["scale_factor"] = 0.01
        file["plain"] = np.arange(4)
    assert convert("a.nc", "b.h5") == 0
    errors = capsys.readouterr().err
    assert "t2m is packed (scale_factor 0.01), which the copy does not say" in errors
    assert "plain" not in errors


def test_pickled_members_are_left_out(
    in_folder: Path, x: np.ndarray, capsys: pytest.CaptureFixture[str]
) -> None:
    np.savez("d.npz", x=x, o=np.array([{}, 3], object))
    assert convert("d.npz", "d.h5") == 0
    assert "left out d.npz::o: " in capsys.readouterr().err
    with h5py.File("d.h5") as file:
        assert list(file) == ["x"]


def test_an_encoding_without_the_signs_of_the_report_is_no_failure(
    tmp_path: Path, x: np.ndarray
) -> None:
    done = run(tmp_path / "x.npy", tmp_path / "y.npy", encoding="ascii")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith(r"x: 100\xd73 float32")


class TestManyFiles:
    @pytest.fixture
    def folder(self, tmp_path: Path, rng: np.random.Generator) -> Path:
        (tmp_path / "scans").mkdir()
        for k in range(12):
            np.save(tmp_path / f"scans/{k}.npy", rng.standard_normal((4, 3)))
        return tmp_path / "scans"

    @pytest.mark.parametrize("how", ["stack", "concatenate"])
    @pytest.mark.parametrize("target", ["all.npy", "all.h5"])
    def test_of_a_folder_or_a_glob_become_one_array(
        self, tmp_path: Path, folder: Path, how: str, target: str
    ) -> None:
        arrays = [np.load(folder / f"{k}.npy") for k in range(12)]
        expected = np.stack(arrays) if how == "stack" else np.concatenate(arrays)
        for source in (folder, f"{folder}/*.npy"):
            done = convert(source, tmp_path / target, "--files", how, "--verify", "--force")
            assert done == 0
            assert (load(tmp_path / target, "scans", expected) == expected).all()

    @pytest.mark.parametrize("how", ["stack", "concatenate"])
    @pytest.mark.parametrize("dtype", ["S3", "U3", "M8[s]", "V3", "g", [("a", "S2"), ("b", "f4")]])
    def test_keep_dtypes_that_no_tensor_has(self, tmp_path: Path, how: str, dtype: object) -> None:
        (tmp_path / "texts").mkdir()
        size = np.dtype(dtype).itemsize
        arrays = [np.frombuffer(bytes([k, 0, 0, 0]) * size, dtype) for k in (65, 66)]
        for k, array in enumerate(arrays):
            np.save(tmp_path / f"texts/{k}.npy", array)
        target = tmp_path / "all.npy"
        assert convert(tmp_path / "texts", target, "--files", how, "--verify") == 0
        expected = np.stack(arrays) if how == "stack" else np.concatenate(arrays)
        found = np.load(target)
        assert (found.dtype, found.tobytes()) == (expected.dtype, expected.tobytes())

    @pytest.mark.parametrize("how", ["stack", "concatenate"])
    def test_of_a_folder_may_be_raw(self, tmp_path: Path, how: str, capsys) -> None:
        (tmp_path / "frames").mkdir()
        arrays = [np.arange(k, k + 6, dtype=">u2").reshape(3, 2) for k in range(12)]
        for k, array in enumerate(arrays):
            array.tofile(tmp_path / f"frames/{k}.bin")
        raw, target = ("--dtype", ">u2", "--shape=-1,2"), tmp_path / "all.npy"
        assert convert(tmp_path / "frames", target, "--files", how, *raw) == 0
        expected = np.stack(arrays) if how == "stack" else np.concatenate(arrays)
        assert (np.load(target) == expected).all()
        np.save(tmp_path / "frames/0.npy", arrays[0])
        assert convert(f"{tmp_path}/frames/*", target, "--files", how, "--force", *raw) == 2
        assert "--dtype is for raw files, and" in capsys.readouterr().err

    def test_are_named_after_their_folder_where_a_dataset_lies_in_a_group(
        self, tmp_path: Path
    ) -> None:
        (tmp_path / "runs").mkdir()
        for k in range(2):
            with h5py.File(tmp_path / f"runs/{k}.h5", "w") as file:
                file["group/x"] = np.full(3, k)
        target = tmp_path / "all.h5"
        assert convert(f"{tmp_path}/runs/*.h5::group/x", target, "--files", "stack") == 0
        with h5py.File(target) as file:
            assert file["runs"][:].tolist() == [[0, 0, 0], [1, 1, 1]]

    def test_need_a_description(self, tmp_path: Path, folder: Path, capsys) -> None:
        assert convert(folder, tmp_path / "all.npy") == 2
        assert "--files stack makes a row of each" in capsys.readouterr().err
        assert convert("", tmp_path / "all.npy") == 2
        assert "the path is empty" in capsys.readouterr().err

    def test_of_different_shapes_are_refused(self, tmp_path: Path, folder: Path, capsys) -> None:
        np.save(folder / "3.npy", np.zeros((5, 3)))
        assert convert(folder, tmp_path / "all.npy", "--files", "stack") != 0
        assert "--files concatenate" in capsys.readouterr().err

    def test_rows_of_different_shapes_make_no_array(self, tmp_path: Path, capsys) -> None:
        for width in (5, 7):
            np.save(tmp_path / f"{width}.npy", np.zeros((2, width)))
        given = f"{tmp_path}/?.npy", tmp_path / "all.h5"
        assert convert(*given, "--files", "concatenate") == 1
        said = capsys.readouterr().err
        assert "7.npy holds rows of (7,), and " in said
        assert "rows of (5,): one array has rows of one shape; convert each" in said
        assert not (tmp_path / "all.npy").exists()

    def test_of_a_glob_that_the_shell_expanded_are_refused(self, folder: Path, capsys) -> None:
        target = folder / "all.h5"
        assert convert(folder / "0.npy", folder / "1.npy", target, "--files", "stack") == 2
        assert "a glob in quotes" in capsys.readouterr().err
        assert not target.exists()

    def test_are_not_replaced_by_their_own_array(self, folder: Path) -> None:
        before = (folder / "7.npy").read_bytes()
        assert convert(folder, folder / "7.npy", "--files", "stack", "--force") != 0
        assert (folder / "7.npy").read_bytes() == before


@pytest.mark.parametrize(
    ("names", "target", "why"),
    [
        (["a", "a/b"], "y.h5", "already exists"),
        (["a//b"], "y.h5", "HDF5 would name it /a/b"),
        (["./a"], "y.h5", "HDF5 would name it /a"),
    ],
)
def test_names_that_hdf5_cannot_have_end_with_2_and_leave_nothing(
    in_folder: Path, capsys: pytest.CaptureFixture[str], names: list[str], target: str, why: str
) -> None:
    np.savez("x.npz", **{name: np.arange(3) for name in names})
    assert convert("x.npz", target) == 2
    error = capsys.readouterr().err
    assert f"{names[-1]!r} cannot name an array of HDF5" in error
    assert why in error
    assert [path.name for path in in_folder.iterdir()] == ["x.npz"]
    assert "by itself into a .npy" in error
    assert convert(f"x.npz::{names[-1]}", "y.npy") == 0


def test_a_name_that_is_no_text_ends_with_2(tmp_path: Path) -> None:
    path = tmp_path / os.fsdecode(b"\xff.npy")
    np.save(path, np.arange(3))
    assert convert(path, tmp_path / "y.h5") == 2
    assert convert(path, tmp_path / "y.npz") == 2
    assert list(tmp_path.iterdir()) == [path]


def test_an_array_without_a_name_is_verified_as_any(in_folder: Path, x: np.ndarray) -> None:
    np.savez("a.npz", **{"": x, "y": x + 1})
    assert convert("a.npz", "b.npz", "--verify") == 0
    with np.load("b.npz") as archive:
        assert_same(archive[""], x)


def test_an_array_is_named_by_its_path_however_that_is_written(
    in_folder: Path, x: np.ndarray
) -> None:
    with h5py.File("d.h5", "w") as file:
        file["a/b"] = x
    for target, name in [("c.h5", "/a//b"), ("d.npz", "./a/b")]:
        assert convert(f"d.h5::{name}", target) == 0
        assert_same(load(Path(target), "a/b", x), x)
