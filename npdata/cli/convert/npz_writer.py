"""A `.npz`: a zip with a `.npy` for each array.

Idea: Python's zipfile writes the zip, piece by piece. Invariant: names, zip64 and checksums are as
`numpy.load` expects; without compression the rows of every member begin at a multiple of 64 bytes
of the file, so that they can be used in place. Members are compressed by one thread: a deflate
stream of a zip is one piece.
"""

import contextlib
import zipfile
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from npdata.cli.convert.encode import ZLIB_LEVEL
from npdata.cli.convert.flat_writer import npy_header, npy_refusal
from npdata.cli.convert.writer import FieldPlan, Writer


class NpzWriter(Writer):
    """Writes the arrays of a `.npz`, one member after the other."""

    format = ".npz"
    suffixes = (".npz",)
    holds_many = True
    has_chunks = False
    compresses = True
    refusal = staticmethod(npy_refusal)

    def __init__(self, path: Path) -> None:
        self._file = path.open("r+b")
        self._archive = zipfile.ZipFile(self._file, "w")
        self._member: IO[bytes] | None = None

    def begin(self, field: FieldPlan) -> None:
        """Start a member; its rows are aligned in the file where they are not compressed."""
        if field.compression is not None:
            self._archive.compression = zipfile.ZIP_DEFLATED
            self._archive.compresslevel = field.compression or ZLIB_LEVEL
        self._member = self._archive.open(f"{field.name}.npy", "w", force_zip64=True)
        self._member.write(npy_header(field.dtype, field.shape, self._file.tell()))

    def prepare(self, first: int, rows: NDArray[Any]) -> NDArray[Any]:
        """Give the bytes of the rows."""
        return rows.reshape(-1).view(np.uint8)

    def accept(self, first: int, prepared: NDArray[Any]) -> None:
        """Append the bytes to the member."""
        if self._member is not None:
            self._member.write(prepared.data)

    def end(self) -> None:
        """Complete the member, with its checksum."""
        if self._member is not None:
            self._member.close()
            self._member = None

    def finish(self) -> None:
        """Write the directory of the zip."""
        self._archive.close()
        self._file.close()

    def abandon(self) -> None:
        """Close the file; the zip stays without its directory."""
        self._archive.fp = None
        with contextlib.suppress(OSError):
            self._file.close()
