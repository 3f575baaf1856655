"""Files of other formats, known by their first bytes: what they are, and what to do with them.

Idea: whoever hands over a netCDF, a checkpoint or an archive gets its name and the call that turns
it into arrays, not "it is damaged". Invariant: no array is decoded; a few hundred bytes, the names
in a zip's directory and the description in a folder are looked at. The rest may be raw binary.
"""

import json
import re
import zipfile
from pathlib import Path

from npdata.errors import FormatError
from npdata.sources.names import some_of

_BEGINNINGS = (
    (
        (b"CDF\x01", b"CDF\x02", b"CDF\x05"),
        "netCDF-3: `nccopy -k nc4 IN OUT` makes it netCDF-4, which is HDF5, or open it with "
        "scipy.io.netcdf_file",
    ),
    (
        (b"MATLAB 5.0 MAT-file",),
        "a MATLAB file of version 5: save it with -v7.3, which is HDF5, or load it with "
        "scipy.io.loadmat",
    ),
    ((b"\x1f\x8b",), "compressed by gzip: unpack it first (gunzip), npdata maps what is inside"),
    ((b"BZh",), "compressed by bzip2: unpack it first (bunzip2)"),
    ((b"\xfd7zXZ\x00",), "compressed by xz: unpack it first (unxz)"),
    ((b"\x28\xb5\x2f\xfd",), "compressed by zstd: unpack it first (unzstd)"),
    ((b"PAR1",), "Parquet: read it with pyarrow.parquet.read_table, whose columns have to_numpy()"),
    (
        (b"\x89PNG\r\n", b"\xff\xd8\xff", b"GIF8"),
        "an image: decode each once, np.save(name, np.asarray(PIL.Image.open(path)))",
    ),
    (
        (b"RIFF", b"fLaC", b"OggS"),
        "sound or video: decode each once, np.save(name, soundfile.read(path)[0])",
    ),
    ((b"ARROW1",), "Arrow IPC: read it with pyarrow.feather.read_table"),
    (
        (b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19",),
        "a torch file of the old form: torch.load it, and give its tensors as .numpy()",
    ),
    (
        (b"\x80\x03", b"\x80\x04\x95", b"\x80\x05\x95"),
        "a pickle, which could run any code: where you trust it, load it with pandas.read_pickle, "
        "and give its columns or arrays",
    ),
)
_ZARR = (
    "Zarr, which npdata does not read: open it with zarr.open and give array[:], or write it to "
    "HDF5 or .npy once"
)
_ZARR_FILES = ("zarr.json", ".zarray", ".zgroup")
_TABLE = (
    "a table of text: pandas.read_csv(path)[names].to_numpy() gives the rows of its columns, and "
    "np.loadtxt(path) those of a file of numbers alone, with delimiter=',' where commas part them"
)
_LINES = re.compile(rb"[ \t]*[-+.0-9][-+.,;0-9eENna \t]*\r?\n[-+.,;0-9eENna\s]*")
"""How a table of numbers without a header begins: a whole line of them."""
_INSIDE = (
    (344, (b"n+1\0", b"ni1\0"), "NIfTI: np.save(name, nibabel.load(path).get_fdata()) once"),
    (128, (b"DICM",), "DICOM: np.save(name, pydicom.dcmread(path).pixel_array) once"),
)
"""What is known by bytes further inside: their place, what they are, and what to do."""
_TAR = "a tar archive: unpack it first, or read it with webdataset"
_TORCH = "a file of torch.save: torch.load it, and give its tensors as .numpy()"


def foreign_file(path: str) -> str | None:
    """Say what the file or folder at `path` is and what to do, None where it is not known."""
    place = Path(path)
    if place.is_dir():
        zarr = any((place / name).is_file() for name in _ZARR_FILES)
        return _ZARR if zarr else _lerobot(place)
    with place.open("rb") as stream:
        head = stream.read(512)
    for beginnings, what in _BEGINNINGS:
        if head.startswith(beginnings):
            return what
    if place.suffix in (".csv", ".tsv") or _LINES.fullmatch(head):
        return _TABLE
    for at, marks, what in _INSIDE:
        if head.startswith(marks, at):
            return what
    if head[257:262] == b"ustar":
        return _TAR
    if place.name in _ZARR_FILES and b'"zarr_format"' in head:
        return _ZARR
    return foreign_zip(path) if head.startswith(b"PK") else None


def refuse_foreign(path: str) -> None:
    """Raise `FormatError` for a file or folder of a format that is known and not read."""
    what = foreign_file(path)
    if what is not None:
        raise FormatError(f"{path} is {what}")


def _lerobot(folder: Path) -> str | None:
    """Say how to read a folder as LeRobot writes it: Parquet of numbers, and videos beside it."""
    try:
        info = json.loads((folder / "meta" / "info.json").read_text())
        features = {name: feature["dtype"] for name, feature in info["features"].items()}
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None
    names = [name for name, kind in features.items() if kind not in ("video", "image", "string")]
    here = folder / "data"
    videos = "video" in features.values() or "image" in features.values()
    return (
        f"a LeRobot dataset, whose numbers are Parquet: table = pyarrow.parquet.read_table("
        f"{str(here)!r}), then npdata.NumpyDataset({{name: table[name] for name in {names}}}), and "
        "borders='episode_index' for windows"
        + ("; its images are videos, which lerobot decodes" if videos else "")
    )


def foreign_zip(path: str) -> str | None:
    """Say what a zip without arrays is; None for one that has some, is empty, or is broken."""
    try:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
    except (zipfile.BadZipFile, OSError):
        return None
    if not names or any(name.endswith(".npy") for name in names):
        return None
    last = {name.rpartition("/")[2] for name in names}
    if "data.pkl" in last:
        return _TORCH
    if not last.isdisjoint(_ZARR_FILES):
        return _ZARR
    shown = some_of(names, 3)
    return f"a zip and no .npz, since nothing in it is a .npy (it has {shown}): unpack it first"
