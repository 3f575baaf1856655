"""Files that are their rows: raw binary, `.npy` with a header before them, and a zip of those.

Idea: all three are a stream of bytes, which one thread appends to. Invariant: rows in C order and
the byte order of the source, aligned in the file where they are not compressed. Format: NumPy
Enhancement Proposal 1.
"""

import contextlib
import warnings
import zipfile
from pathlib import Path
from typing import IO, Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from npdata.arrays.dtypes import DType
from npdata.cli.convert.writer import ALIGNMENT, ZLIB_LEVEL, FieldPlan, Writer
from npdata.sources.npy import MAGIC

GROWTH_DIGITS = 21


def npy_refusal(dtype: DType) -> str | None:
    """Say why `.npy` cannot hold a dtype; None where it can.

    Examples:
        >>> npy_refusal(np.dtype("f4")) is None
        True
        >>> npy_refusal(np.dtype("O"))
        'its elements are Python objects, and they would be pickled'
    """
    if dtype.hasobject:
        return "its elements are Python objects, and they would be pickled"
    if dtype.itemsize == 0:
        return "its elements have no bytes"
    known = dtype.kind != "V" or dtype.names is not None or type(dtype) is np.dtypes.VoidDType
    if not known or not _described(dtype):
        return f"the header of a .npy has no way to say {dtype}"
    return None


def npy_header(dtype: DType, shape: tuple[int, ...], start: int = 0) -> bytes:
    r"""Give the header of a `.npy` that begins at byte `start` of its file.

    It is padded so that the rows begin at a multiple of 64 bytes of the file, and the same as
    NumPy's where it begins the file.

    Examples:
        >>> header = npy_header(np.dtype("<f4"), (5, 3))
        >>> len(header), header[:6]
        (128, b'\x93NUMPY')
    """
    text = f"{{'descr': {_descr(dtype)!r}, 'fortran_order': False, 'shape': {shape!r}, }}"
    # NumPy leaves room for more rows.
    text += " " * (GROWTH_DIGITS - len(repr(shape[0])))
    for version, width, encoding in ((1, 2, "latin1"), (2, 4, "latin1"), (3, 4, "utf8")):
        try:
            body = text.encode(encoding)
        except UnicodeEncodeError:
            continue
        before = len(MAGIC) + 2 + width
        length = len(body) + 1
        length += ALIGNMENT - (start + before + length) % ALIGNMENT
        if length < 1 << 8 * width:
            prefix = MAGIC + bytes((version, 0)) + length.to_bytes(width, "little")
            return prefix + body.ljust(length - 1) + b"\n"
    raise ValueError(f"a .npy header of {len(text)} characters is longer than any")


class RawWriter(Writer):
    """Writes the rows of one array, and nothing else."""

    format = "raw"
    suffixes: ClassVar[tuple[str, ...]] = (".bin", ".raw", ".dat")

    @staticmethod
    def refusal(dtype: DType) -> str | None:
        """Say why a raw file cannot hold a dtype."""
        if dtype.hasobject or dtype.itemsize == 0:
            return "its elements have no bytes of a fixed number"
        return None

    def __init__(self, path: Path) -> None:
        self._file = path.open("r+b")
        self._stream: IO[bytes] = self._file

    def begin(self, field: FieldPlan) -> None:
        """Write nothing: the rows begin the file."""

    def prepare(self, first: int, rows: NDArray[Any]) -> NDArray[Any]:
        """Give the bytes of the rows."""
        return rows.reshape(-1).view(np.uint8)

    def accept(self, first: int, prepared: NDArray[Any]) -> None:
        """Append the bytes."""
        self._stream.write(prepared.data)

    def finish(self) -> None:
        """Close the file; OSError where the disk reports only now that it did not take the rows."""
        self._file.close()

    def abandon(self) -> None:
        """Close the file."""
        with contextlib.suppress(OSError):
            self._file.close()


class NpyWriter(RawWriter):
    """Writes a `.npy`."""

    format = ".npy"
    suffixes = (".npy",)
    refusal = staticmethod(npy_refusal)

    def begin(self, field: FieldPlan) -> None:
        """Write the header."""
        self._stream.write(npy_header(field.dtype, field.shape, self._file.tell()))


class NpzWriter(NpyWriter):
    """Writes the arrays of a `.npz`, one member after the other."""

    format = ".npz"
    suffixes = (".npz",)
    holds_many = True
    compresses = True

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self._archive = zipfile.ZipFile(self._file, "w")

    def begin(self, field: FieldPlan) -> None:
        """Start a member; its rows are aligned in the file where they are not compressed."""
        if field.compression is not None:
            self._archive.compression = zipfile.ZIP_DEFLATED
            self._archive.compresslevel = field.compression or ZLIB_LEVEL
        self._stream = self._archive.open(f"{field.name}.npy", "w", force_zip64=True)
        super().begin(field)

    def end(self) -> None:
        """Complete the member, with its checksum."""
        self._stream.close()

    def finish(self) -> None:
        """Write the directory of the zip."""
        self._archive.close()
        super().finish()

    def abandon(self) -> None:
        """Close the file; the zip stays without its directory."""
        self._archive.fp = None
        super().abandon()


def _described(dtype: DType) -> bool:
    try:
        return np.lib.format.descr_to_dtype(_descr(dtype)) == dtype
    except (TypeError, ValueError):
        return False


def _descr(dtype: DType) -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the remarks that h5py makes on a dtype
        return np.lib.format.dtype_to_descr(dtype)
