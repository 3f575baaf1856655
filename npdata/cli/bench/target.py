"""What is measured: the fields that the paths name, the files they are in, and this machine.

Idea: what the user typed becomes, for each field, a source of npdata and a place where NumPy or
h5py finds the same array. HDF5 is opened anew for every pass, so that none finds the chunks that
an earlier one decoded; the rest stays open. Invariant: whatever cannot be measured is refused
here, with a reason, before any time is spent. The files are only read.
"""

import os
import shutil
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from npdata.arrays.per_process import cores
from npdata.cli.bench.plain import opener
from npdata.cli.bench.report import Conditions
from npdata.cli.console import UsageError, bytes_text
from npdata.cli.raw import RawLayout, undescribed
from npdata.dataset.numpy_dataset import NumpyDataset
from npdata.errors import FieldError, FormatError, SourceError
from npdata.sources.base import Source
from npdata.sources.file_list import SEPARATOR
from npdata.sources.hdf5.catalog import list_datasets
from npdata.sources.npz import npz_members
from npdata.sources.open import Identified, identify, open_source

BATCH_SIZE, BATCH_BYTES = 256, 1 << 28
"""The batch size where none is asked for, and the bytes that make it smaller."""
_BATCHES_AT_ONCE = 16
"""So many batches have to fit into memory: what loaders hold ready, and workers send."""
_PIECE, _COLD_BYTES = 1 << 20, 256 << 20
"""Plain reading goes piece by piece; so many bytes are read from the disk at most."""
_PAGES_ASKED = 256


class Target:
    """The fields of `texts`, each a path, `file::member`, or with `raw` a raw file."""

    def __init__(self, texts: Sequence[str], *, raw: RawLayout | None = None) -> None:
        """Open the fields once, to see that they can be read together.

        A file of one array needs no member. Raises `UsageError` for fields of different lengths,
        and whatever opening a field and making a dataset of it raises.
        """
        self._raw = raw
        found = [self._identified(text) for text in texts]
        self._texts = tuple(
            each.path if each.member is None else f"{each.path}{SEPARATOR}{each.member}"
            for each in found
        )
        try:
            self.dataset = NumpyDataset(*map(self._source, self._texts))
        except FieldError as error:
            raise UsageError(str(error)) from error
        empty = "0 rows" if len(self.dataset) == 0 else "rows of 0 bytes"
        if not any(len(source) * source.row_bytes for source in self.dataset.sources):
            raise SourceError(f"{', '.join(texts)}: {empty}, so there is nothing to measure")
        self.openers = [
            opener(each, source.dtype, source.shape, raw.offset if raw else 0)
            for each, source in zip(found, self.dataset.sources, strict=True)
        ]
        self._files = found

    def conditions(self, batch_size: int | None, *, seconds: float) -> Conditions:
        """Say what is known, after a look at the files for about `seconds`.

        Raises `UsageError` where batches of `batch_size` do not fit into memory.
        """
        memory_bytes = _memory_bytes()
        description = self.dataset.describe()
        row_bytes = sum(field.row_bytes for field in description.fields)
        most = memory_bytes // _BATCHES_AT_ONCE // row_bytes
        if most == 0:
            raise SourceError(
                f"{', '.join(self._texts)}: a row has {bytes_text(row_bytes)}, and "
                f"{_BATCHES_AT_ONCE} of them do not fit into {bytes_text(memory_bytes)}"
            )
        if batch_size is not None and batch_size > most:
            raise UsageError(
                f"--batch-size {batch_size} makes batches of {bytes_text(batch_size * row_bytes)}, "
                f"of which {_BATCHES_AT_ONCE} have to fit into memory: give at most {most}"
            )
        paths = {Path(file.path).resolve() for file in self._files}
        sizes = {path: path.stat().st_size for path in paths}
        largest = max(sizes, key=lambda path: (sizes[path], path))
        cached, disk_rate, memory_rate = _plain_reading(largest, seconds)
        shared = Path("/dev/shm")
        usual = max(1, min(BATCH_SIZE, most, BATCH_BYTES // row_bytes))
        return Conditions(
            paths=self._texts,
            rows=description.rows,
            row_bytes=row_bytes,
            batch_size=min(batch_size or usual, description.rows),
            block_rows=self.dataset.blocks.block_rows[0],
            fields=description.fields,
            hdf5=all(file.format == "hdf5" for file in self._files),
            raw=None if self._raw is None else _as_code(self._raw),
            file_bytes=sum(sizes.values()),
            cached=cached,
            memory_rate=memory_rate,
            disk_rate=disk_rate,
            memory_bytes=memory_bytes,
            cores=cores(),
            shared_bytes=shutil.disk_usage(shared).free if shared.is_dir() else None,
        )

    @contextmanager
    def opened(self) -> Iterator[NumpyDataset]:
        """Give a dataset for one pass."""
        if all(file.format != "hdf5" for file in self._files):
            yield self.dataset
            return
        with NumpyDataset(*self._texts) as dataset:
            yield dataset

    def close(self) -> None:
        """Close the files."""
        for source in self.dataset.sources:
            source.close()

    def _identified(self, text: str) -> Identified:
        if self._raw is not None:
            return Identified(path=text, member=None, format="raw")
        found = identify(text)
        if found.format == "raw":
            raise FormatError(f"{text}: {undescribed(text)}")
        names = []
        if found.format == "npz" and not found.member:
            names = npz_members(found.path)
        elif found.format == "hdf5" and not found.member:
            names = [dataset.name for dataset in list_datasets(found.path).datasets]
        return replace(found, member=names[0]) if len(names) == 1 else found

    def _source(self, text: str) -> Source:
        raw = self._raw
        if raw is None:
            return open_source(text)
        return open_source(text, dtype=raw.dtype, shape=raw.shape, offset=raw.offset)


def _as_code(raw: RawLayout) -> str:
    """Give the arguments of `npdata.open_source`."""
    begins = f", offset={raw.offset}" if raw.offset else ""
    dtype = raw.dtype.str if raw.dtype.names is None else raw.dtype.descr
    return f"dtype={dtype!r}, shape={raw.shape}{begins}"


def _memory_bytes() -> int:
    """Give the memory that this process may use."""
    memory = [os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")]
    for name in ("memory.max", "memory/memory.limit_in_bytes"):
        limit = Path("/sys/fs/cgroup") / name
        if limit.is_file() and (text := limit.read_text().strip()).isdigit():
            memory.append(int(text))
    return min(memory)


def _plain_reading(path: Path, seconds: float) -> tuple[float | None, float | None, float | None]:
    """Give the part that was cached, and the rates from the disk and from memory.

    A part of the file is read for about `seconds`, and again. There is a rate from the disk only
    where the part was seen to have left memory.
    """
    size = path.stat().st_size
    stop, disk_rate = min(size, _COLD_BYTES), None
    with path.open("rb", buffering=0) as file:
        cached = cached_part(file.fileno(), size)
        if stop >= _PIECE and drop_cached(file.fileno(), stop) < 0.05:
            disk_rate = _read_rate(file.fileno(), stop, seconds)
        # What was read is in memory now, for as far as the time was enough.
        _read_rate(file.fileno(), stop, seconds)
        return cached, disk_rate, _read_rate(file.fileno(), stop, seconds)


def cached_part(descriptor: int, stop: int) -> float | None:
    """Give the part of the first `stop` bytes of a file that is in the page cache.

    Evenly spread pages are read without waiting (RWF_NOWAIT), which brings none into memory; None
    where the system cannot do that.
    """
    if not hasattr(os, "RWF_NOWAIT") or stop <= 0:
        return None
    places = range(0, stop, max(os.sysconf("SC_PAGE_SIZE"), stop // _PAGES_ASKED))
    found = 0
    for place in places:
        try:
            found += os.preadv(descriptor, [bytearray(1)], place, os.RWF_NOWAIT)
        except BlockingIOError:
            continue
        except OSError:
            return None
    return found / len(places)


def drop_cached(descriptor: int, stop: int) -> float:
    """Ask that the first `stop` bytes leave the page cache; give the part that is still there.

    It needs no rights and leaves other files alone; 1.0 where the system cannot do or say it.
    """
    if not hasattr(os, "posix_fadvise"):
        return 1.0
    os.posix_fadvise(descriptor, 0, stop, os.POSIX_FADV_DONTNEED)
    left = cached_part(descriptor, stop)
    return 1.0 if left is None else left


def _read_rate(descriptor: int, stop: int, seconds: float) -> float | None:
    buffer = bytearray(_PIECE)
    begun = time.perf_counter()
    place, spent = 0, 0.0
    while place < stop and spent < seconds and (count := os.preadv(descriptor, [buffer], place)):
        place += count
        spent = time.perf_counter() - begun
    return place / spent if spent else None
