"""What is measured: the fields that the paths name, and how to open them as often as needed.

Idea: what the user typed becomes, for each field, a source of npdata and a place where NumPy or
h5py finds the same array. HDF5 is opened anew for every pass, so that none finds the chunks that
an earlier one decoded; the rest stays open. Invariant: whatever cannot be measured is refused
here, with a reason, before any time is spent.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace

from npdata.cli.bench.facts import Facts, Machine
from npdata.cli.bench.plain import PlainFile
from npdata.cli.bench.storage import look_at
from npdata.cli.console import UsageError, bytes_text
from npdata.cli.raw import HOW_TO_DESCRIBE, RawLayout
from npdata.dataset.numpy_dataset import NumpyDataset
from npdata.errors import FieldError, FormatError, SourceError
from npdata.sources.base import Source
from npdata.sources.hdf5.catalog import list_datasets
from npdata.sources.npz import npz_members
from npdata.sources.open import SEPARATOR, Identified, identify, open_source

BATCH_SIZE, BATCH_BYTES = 256, 1 << 28
"""The batch size where none is asked for, and the bytes that make it smaller."""
_BATCHES_AT_ONCE = 16
"""So many batches have to fit into memory: what loaders hold ready, and workers send."""


class Subject:
    """The fields of `texts`, each a path, `file::member`, or with `raw` a raw file."""

    def __init__(self, texts: Sequence[str], *, raw: RawLayout | None = None) -> None:
        """Open the fields once, to see that they can be read together.

        A file of one array needs no member. Raises `UsageError` for fields of different lengths,
        and whatever opening a field and making a dataset of it raises.
        """
        self._raw = raw
        found = [self._identified(text) for text in texts]
        self._texts = tuple(map(_text, found))
        try:
            self.dataset = NumpyDataset(*self._sources())
        except FieldError as error:
            raise UsageError(str(error)) from error
        pairs = zip(found, self.dataset.sources, strict=True)
        self.files = tuple(self._plain(each, source) for each, source in pairs)
        self._chunked = any(file.format == "hdf5" for file in self.files)
        empty = "0 rows" if len(self.dataset) == 0 else "rows of 0 bytes"
        if not any(len(source) * source.row_bytes for source in self.dataset.sources):
            raise SourceError(f"{', '.join(texts)}: {empty}, so there is nothing to measure")

    def facts(self, batch_size: int | None, *, machine: Machine, seconds: float) -> Facts:
        """Tell what is known, after a look at the files for about `seconds`.

        Raises `UsageError` where batches of `batch_size` do not fit into memory.
        """
        description = self.dataset.describe()
        row_bytes = max(1, sum(field.row_bytes for field in description.fields))
        most = max(1, machine.memory_bytes // _BATCHES_AT_ONCE // row_bytes)
        if row_bytes * _BATCHES_AT_ONCE > machine.memory_bytes:
            raise SourceError(
                f"{', '.join(self._texts)}: a row has {bytes_text(row_bytes)}, and "
                f"{_BATCHES_AT_ONCE} of them do not fit into {bytes_text(machine.memory_bytes)}"
            )
        if batch_size is not None and batch_size > most:
            raise UsageError(
                f"--batch-size {batch_size} makes batches of {bytes_text(batch_size * row_bytes)}, "
                f"of which {_BATCHES_AT_ONCE} have to fit into memory: give at most {most}"
            )
        usual = max(1, min(BATCH_SIZE, most, BATCH_BYTES // row_bytes))
        return Facts(
            paths=self._texts,
            rows=description.rows,
            fields=description.fields,
            block_rows=self.dataset.blocks.block_rows[0],
            batch_size=min(batch_size or usual, description.rows),
            hdf5=all(file.format == "hdf5" for file in self.files),
            raw=None if self._raw is None else _as_code(self._raw),
            storage=look_at((file.path for file in self.files), seconds=seconds),
            machine=machine,
        )

    @contextmanager
    def opened(self) -> Iterator[NumpyDataset]:
        """Give a dataset for one pass."""
        if not self._chunked:
            yield self.dataset
            return
        with NumpyDataset(*self._texts) as dataset:
            yield dataset

    def close(self) -> None:
        """Let go of the files."""
        for source in self.dataset.sources:
            source.close()

    def _identified(self, text: str) -> Identified:
        if self._raw is not None:
            return Identified(path=text, member=None, format="raw")
        found = identify(text)
        if found.format == "raw":
            raise FormatError(f"{text}: {HOW_TO_DESCRIBE}")
        names = [] if found.member else _names(found)
        return replace(found, member=names[0]) if len(names) == 1 else found

    def _sources(self) -> list[Source]:
        raw = self._raw
        if raw is None:
            return [open_source(text) for text in self._texts]
        return [
            open_source(text, dtype=raw.dtype, shape=raw.shape, offset=raw.offset)
            for text in self._texts
        ]

    def _plain(self, found: Identified, source: Source) -> PlainFile:
        return PlainFile(
            path=found.path,
            format=found.format,
            member=found.member,
            dtype=source.dtype,
            shape=source.shape,
            offset=self._raw.offset if self._raw else 0,
        )


def _names(found: Identified) -> list[str]:
    if found.format == "npz":
        return npz_members(found.path)
    if found.format == "hdf5":
        return [dataset.name for dataset in list_datasets(found.path).datasets]
    return []


def _text(found: Identified) -> str:
    return found.path if found.member is None else f"{found.path}{SEPARATOR}{found.member}"


def _as_code(raw: RawLayout) -> str:
    """Give the arguments of `npdata.open_source`."""
    begins = f", offset={raw.offset}" if raw.offset else ""
    dtype = raw.dtype.str if raw.dtype.names is None else raw.dtype.descr
    return f"dtype={dtype!r}, shape={raw.shape}{begins}"
