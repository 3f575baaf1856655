"""What is measured: the fields that the paths name, the files they are in, and this machine.

Idea: what the user typed becomes, for each field, a source of npdata and a place where NumPy or
h5py finds the same array. Invariant: whatever cannot be measured is refused here, with a reason,
before any time is spent. The files are only read.
"""

import shlex
import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import h5py
import numpy as np

from npdata.cli.bench.report import Conditions
from npdata.cli.console import UsageError, bytes_text
from npdata.cli.files import identified, opened
from npdata.cli.inspect.examine import examine
from npdata.dataset.numpy_dataset import NumpyDataset
from npdata.errors import FieldError, FormatError, SourceError
from npdata.runtime.machine import cores, free_of_machine
from npdata.sources.base import Source
from npdata.sources.formats.raw import RawFormat
from npdata.sources.hdf5.plugins import filters_missing
from npdata.sources.many_files.file_list import split_member

BATCH_SIZE, BATCH_BYTES = 256, 1 << 28
"""The batch size where none is asked for, and the bytes that make it smaller."""
_BATCHES_AT_ONCE = 16
"""So many batches have to fit into memory: what loaders hold ready, and workers send."""
Opener: TypeAlias = Callable[[ExitStack], Any]
"""Gives an `np.ndarray`, an `np.memmap` or an `h5py.Dataset`, open as long as the stack."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Target:
    """Fields, opened by npdata and by `openers`, with what is known about them."""

    about: Conditions
    dataset: NumpyDataset
    openers: tuple[Opener, ...]
    reopened: bool

    @contextmanager
    def opened(self) -> Iterator[NumpyDataset]:
        """Give a dataset for one pass: HDF5 is opened anew, so that none finds decoded chunks."""
        if not self.reopened:
            yield self.dataset
            return
        with NumpyDataset(*self.about.paths) as dataset:
            yield dataset

    def close(self) -> None:
        """Close the files."""
        for source in self.dataset.sources:
            source.close()


def open_target(
    texts: Sequence[str], *, raw: RawFormat | None = None, batch_size: int | None = None
) -> Target:
    """Open `texts`, each a path, `file::member`, or with `raw` a raw file, as fields.

    A file of one array needs no member. Raises `UsageError` for fields of different lengths and
    for batches that do not fit into memory, and whatever opening a field and making a dataset of
    it raises.
    """
    files = [_one_array(text, raw) for text in texts]
    formats, paths = zip(*files, strict=True)
    dataset = _dataset_of(paths, raw)
    description, free = dataset.describe(), free_of_machine()
    row_bytes = sum(field.row_bytes for field in description.fields)
    if not description.rows * row_bytes:
        empty = "rows of 0 bytes" if description.rows else "0 rows"
        raise SourceError(f"{', '.join(texts)}: {empty}, so there is nothing to measure")
    whole = {Path(split_member(path)[0]).resolve() for path in paths}
    shared = Path("/dev/shm")
    about = Conditions(
        paths=paths,
        rows=description.rows,
        row_bytes=row_bytes,
        batch_size=min(_batch_size(batch_size, paths, row_bytes, free), description.rows),
        block_rows=dataset.blocks.block_rows[0],
        fields=description.fields,
        hdf5=set(formats) == {"hdf5"},
        raw=None if raw is None else _as_code(raw),
        file_bytes=sum(path.stat().st_size for path in whole),
        memory_bytes=free,
        cores=cores(),
        shared_bytes=shutil.disk_usage(shared).free if shared.is_dir() else None,
    )
    openers = (_opener(*f, s, raw) for f, s in zip(files, dataset.sources, strict=True))
    return Target(about=about, dataset=dataset, openers=tuple(openers), reopened="hdf5" in formats)


def _dataset_of(paths: Sequence[str], raw: RawFormat | None) -> NumpyDataset:
    """Open each path as a field; raises as `open_target`."""
    try:
        dataset = NumpyDataset(*(opened(path, raw) for path in paths))
    except FieldError as error:
        raise UsageError(str(error)) from error
    for source in dataset.sources:
        if source.dtype.hasobject:
            raise SourceError(
                f"{source.where}: its rows differ in length, and bench measures rows of one shape"
            )
    return dataset


def _batch_size(asked: int | None, paths: Sequence[str], row_bytes: int, free: int) -> int:
    """Give the rows of a batch, as `asked` or as usual; `UsageError` where memory is too small."""
    most = free // _BATCHES_AT_ONCE // row_bytes
    if (asked or 1) > most:
        raise UsageError(
            f"{', '.join(paths)}: a row has {bytes_text(row_bytes)}, and {_BATCHES_AT_ONCE} "
            f"batches have to fit into {bytes_text(free)} of free memory: give at most "
            f"--batch-size {most}"
        )
    return asked or max(1, min(BATCH_SIZE, most, BATCH_BYTES // row_bytes))


def _one_array(text: str, raw: RawFormat | None) -> tuple[str | None, str]:
    """Give the format of a file, and the place of its array where it holds one alone."""
    if text and Path(text).is_dir():
        raise UsageError(f"{text} is a folder: name one of its files, whose rows are read alike")
    if raw is not None:
        identified(text, raw)
        return "raw", text
    found = examine(text, None)
    if found.failure is not None:
        raise FormatError(f"{text}: {found.failure}")
    if len(found.datasets) > 1:
        largest = shlex.quote(max(found.datasets, key=lambda each: each.nbytes).where)
        raise UsageError(
            f"{text} has {len(found.datasets):,} arrays: name one, as in npdata bench {largest}, "
            f"or several as fields of one dataset"
        )
    return found.format, found.datasets[0].where if found.datasets else text


def _opener(form: str | None, where: str, source: Source, raw: RawFormat | None) -> Opener:
    """Open an array by its own library; what NumPy reads once, since a member takes its time."""
    path, member = split_member(where)
    if form == "hdf5":
        _require_filters(path, member)
        return lambda stack: stack.enter_context(h5py.File(path))[member]
    if form == "npz":
        with np.load(path) as archive:
            array = archive[member]
    elif form == "npy":
        array = np.load(path, mmap_mode="r")
    else:
        array = np.memmap(path, source.dtype, "r", raw.offset if raw else 0, source.shape)
    return lambda stack: array


def _require_filters(path: str, member: str | None) -> None:
    """Raise `SourceError` where h5py lacks a filter that npdata may have."""
    with h5py.File(path) as file:
        properties = file[member].id.get_create_plist()
        steps = [properties.get_filter(k) for k in range(properties.get_nfilters())]
    missing = filters_missing(code for code, *_ in steps)
    if missing:
        lacking = [f"{code} ({name.decode()})" for code, *_, name in steps if code in missing]
        raise SourceError(
            f"{path}::{member}: h5py, with which npdata is compared, has no filter "
            f"{', '.join(lacking)}: pip install hdf5plugin"
        )


def _as_code(raw: RawFormat) -> str:
    """Give the arguments of `npdata.open_source`."""
    begins = f", offset={raw.offset}" if raw.offset else ""
    dtype = raw.dtype.str if raw.dtype.names is None else raw.dtype.descr
    return f"dtype={dtype!r}, shape={raw.shape}{begins}"
