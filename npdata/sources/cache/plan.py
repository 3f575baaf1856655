"""What is kept of one dataset, and the form of its file: a header, a record a chunk, the chunks.

Idea: everything has its place from the beginning, in a sparse file. Invariant: a record belongs to
one chunk of one plan, as its second checksum shows. It opens nothing, and writes no chunk.
"""

import hashlib
import json
import os
import struct
import time
import zlib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from npdata.runtime.made_once import made_once
from npdata.sources.file import SETTLED_NS, FileIdentity

HEADER = 1 << 14
"""So many bytes at the beginning say what is kept."""
MOST = struct.Struct("<Q")
"""The last of them: how many bytes the file may come to hold (`use`)."""
_FORMAT = 1
"""Other versions of npdata that lay files out in another way have another number."""
_PAGE = 1 << 12
_RECORD = struct.Struct("<II")


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What is kept: `count` chunks of `chunk_bytes` bytes each, of what `about` (JSON) names."""

    about: str
    chunk_bytes: int
    count: int

    @classmethod
    def of(
        cls,
        files: Iterable[tuple[str, FileIdentity]],
        what: dict[str, Any],
        chunk_bytes: int,
        count: int,
    ) -> Self:
        """Plan what to keep of `what`, a dataset of the first of some files.

        Each is known by its path and its state, the time of its last change of any kind included.
        Raises `ChangedFileError` where one is no longer as its identity says.
        """
        known = []
        for path, identity in files:
            status = Path(path).stat()
            # What is written right after this must get another time than what is here now.
            while 0 <= time.time_ns() - status.st_ctime_ns < SETTLED_NS:
                time.sleep(SETTLED_NS / 1e9)
                status = Path(path).stat()
            identity.require(FileIdentity.of_status(status), path)
            state = (status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns)
            known.append([str(Path(path).resolve()), *state])
        about = {"format": _FORMAT, "files": known, **what, "bytes": chunk_bytes * count}
        return cls(about=json.dumps(about), chunk_bytes=chunk_bytes, count=count)

    @made_once
    def digest(self) -> str:
        """A name that no other data has, also not the same file after a change."""
        text = f"{self.about} {self.chunk_bytes} {self.count}"
        return hashlib.blake2b(text.encode("utf8", "surrogateescape"), digest_size=16).hexdigest()

    @property
    def header(self) -> bytes:
        """How a file of this plan begins."""
        return self.about.encode("utf8", "surrogateescape")[: HEADER - MOST.size - 1] + b"\0"

    @property
    def data_at(self) -> int:
        """Where the first chunk begins."""
        return HEADER + in_pages(_RECORD.size * self.count)

    @property
    def nbytes(self) -> int:
        """The length of the file, holes included."""
        return self.chunk_at(self.count)

    def chunk_at(self, number: int) -> int:
        """Give where a chunk begins."""
        return self.data_at + number * self.chunk_bytes

    def most_with(self, chunks: int) -> int:
        """Give how many bytes of a disk the file takes with so many chunks."""
        return in_pages(self.chunk_at(chunks))

    def fitting(self, nbytes: int) -> int:
        """Give how many chunks find room in so many bytes of a disk."""
        whole = nbytes // _PAGE * _PAGE
        return max(0, min(self.count, (whole - self.data_at) // self.chunk_bytes))

    def record(self, number: int, checksum: int) -> bytes:
        """Give the record of a chunk with this checksum."""
        own = zlib.crc32(f"{self.digest} {number} {checksum}".encode())
        return _RECORD.pack(checksum, own)


def in_pages(nbytes: int) -> int:
    """Give what so many bytes take of a disk, which gives out pages."""
    return -(-nbytes // _PAGE) * _PAGE


def write_record(descriptor: int, number: int, record: bytes) -> None:
    """Write the record of a chunk; OSError where the disk is full."""
    os.pwrite(descriptor, record, HEADER + _RECORD.size * number)


def read_checksum(descriptor: int, plan: Plan, number: int) -> int | None:
    """Give the checksum that a chunk is to have; None where it has no record of its own."""
    record = os.pread(descriptor, _RECORD.size, HEADER + _RECORD.size * number)
    if len(record) < _RECORD.size:
        return None
    checksum: int = _RECORD.unpack(record)[0]
    return checksum if record == plan.record(number, checksum) else None


def lay_out(descriptor: int, plan: Plan) -> None:
    """Make an empty file that of `plan`; OSError where the system allows no such length."""
    os.ftruncate(descriptor, plan.nbytes)
    os.pwrite(descriptor, plan.header, 0)


def is_laid_out(descriptor: int, plan: Plan) -> bool:
    """Whether an open file is that of `plan`, whatever chunks it has."""
    if os.fstat(descriptor).st_size != plan.nbytes:
        return False
    return os.pread(descriptor, len(plan.header), 0) == plan.header
