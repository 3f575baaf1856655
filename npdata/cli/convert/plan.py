"""What a conversion will do, decided before anything is written: pure arithmetic.

Idea: from shapes, dtypes and options to how each array is cut, how many threads work, and what
memory that takes. Invariant: what the plan says is in memory at one time fits `memory`; whatever
the target cannot hold, and whatever does not fit the disk, is an error here. No file is opened.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from npdata.arrays.dtypes import DType
from npdata.cli.console import UsageError, bytes_text
from npdata.cli.convert.chunking import Chunks, chunk_shape
from npdata.cli.convert.memory import BETWEEN_FILTERS, BLOCK_BYTES, ENCODING, Need, divide
from npdata.cli.convert.writer import FieldPlan, Writer
from npdata.errors import NpdataError


class ConvertError(NpdataError, ValueError):
    """What was to be converted cannot be, or not into this kind of file."""


@dataclass(frozen=True, kw_only=True)
class FieldSpec:
    """An array to convert: `name` in the target, `where` for people.

    `source_rows` is the number of rows that are cheapest to read together, 1 where that is the
    same for all; `held_bytes` what the source keeps in memory all the time; `chunk_bytes` the size
    of a chunk that has to be decoded, 0 where there is none, and `decoding_bytes` what it takes
    beside that until it is.
    """

    name: str
    where: str
    shape: tuple[int, ...]
    dtype: DType
    source_rows: int = 1
    held_bytes: int = 0
    chunk_bytes: int = 0
    decoding_bytes: int = 0


@dataclass(frozen=True, kw_only=True)
class Options:
    """As asked for: chunks, the level of gzip or None, bytes of memory, and whether to verify."""

    chunks: Chunks | None
    compression: int | None
    memory: int
    verify: bool = False


@dataclass(frozen=True, kw_only=True)
class Plan:
    """`slab_bytes` is for decoded chunks; `threads` read and compress, each one block at a time.

    With 0 threads there is one block at a time, from the reading to the writing.
    """

    fields: tuple[FieldPlan, ...]
    threads: int
    slab_bytes: int

    @property
    def nbytes(self) -> int:
        """The bytes of all rows."""
        return sum(field.nbytes for field in self.fields)


def make_plan(
    specs: Sequence[FieldSpec],
    target: type[Writer],
    options: Options,
    *,
    cores: int,
    free_bytes: int,
) -> Plan:
    """Decide how to convert these arrays, of which there is at least one.

    Raises `UsageError` for options that do not fit the target or the arrays and for too little
    memory, and `ConvertError` for a dtype that it cannot hold and a disk that is too small.
    """
    _require_options(target, options)
    _require_names(specs, target)
    for spec in specs:
        why = target.refusal(spec.dtype)
        if why is not None:
            raise ConvertError(f"{spec.where} ({spec.dtype}) does not fit {target.format}: {why}")
    nbytes = sum(_nbytes(spec) for spec in specs)
    if options.compression is None and nbytes > free_bytes:
        raise ConvertError(
            f"the rows take {bytes_text(nbytes)}, and the disk has {bytes_text(free_bytes)} free"
        )
    chunks = [_chunks(spec, target, options) for spec in specs]
    units = [shape[0] if shape else 1 for shape in chunks]
    need = _need(specs, chunks, units, options)
    if need.nbytes > options.memory:
        raise UsageError(_too_little(specs, need, options.memory))
    divided = divide(options.memory, need, cores)
    return Plan(
        fields=tuple(
            FieldPlan(
                name=spec.name,
                shape=spec.shape,
                dtype=spec.dtype,
                block_rows=_block_rows(spec, unit, divided.block_bytes),
                chunk_shape=shape,
                compression=options.compression,
            )
            for spec, shape, unit in zip(specs, chunks, units, strict=True)
        ),
        threads=divided.threads,
        slab_bytes=divided.slab_bytes,
    )


def _require_options(target: type[Writer], options: Options) -> None:
    if options.chunks is not None and not target.has_chunks:
        raise UsageError(f"--chunks is for HDF5; {target.format} has no chunks")
    if options.compression is not None and not target.compresses:
        raise UsageError(f"--compression is for HDF5 and .npz; {target.format} is not compressed")
    if options.compression is not None and options.chunks == "none":
        raise UsageError("--compression needs chunks, and --chunks none was given")


def _require_names(specs: Sequence[FieldSpec], target: type[Writer]) -> None:
    names = [spec.name for spec in specs]
    if not target.holds_many:
        if len(names) > 1:
            known = ", ".join(repr(name) for name in names)
            raise UsageError(
                f"{target.format} holds one array, and {len(names)} were given; name one, as in "
                f"SRC::NAME, of {known}"
            )
        return
    for spec in specs:
        if not _is_unicode(spec.name):
            raise UsageError(f"{spec.where}: its name is no valid UTF-8, as {target.format} asks")
        if not target.has_chunks and f"{spec.name}.npy" in names:
            raise UsageError(f"{spec.name!r} and '{spec.name}.npy' are one name in a .npz")
        if target.has_chunks and spec.name != _hdf5_name(spec.name):
            raise UsageError(f"{spec.name!r} cannot name a dataset of HDF5")
        if names.count(spec.name) > 1:
            raise UsageError(f"two arrays would be named {spec.name!r}, one of them {spec.where}")
        inside = [name for name in names if name.startswith(f"{spec.name}/")]
        if inside and target.has_chunks:
            raise UsageError(
                f"{spec.name!r} would have to be a dataset and the group of {inside[0]!r}; HDF5 "
                f"cannot hold both"
            )


def _is_unicode(name: str) -> bool:
    return not any("\ud800" <= letter <= "\udfff" for letter in name)


def _hdf5_name(name: str) -> str:
    return "/".join(part for part in name.split("/") if part not in ("", ".")) or "?"


def _chunks(spec: FieldSpec, target: type[Writer], options: Options) -> tuple[int, ...] | None:
    if not target.has_chunks:
        return None
    asked = "auto" if options.chunks is None else options.chunks
    return chunk_shape(asked, spec.name, spec.shape, spec.dtype.itemsize)


def _need(
    specs: Sequence[FieldSpec],
    chunks: Sequence[tuple[int, ...] | None],
    units: Sequence[int],
    options: Options,
) -> Need:
    written, members = 0, [spec.held_bytes for spec in specs]
    if options.compression is not None:
        for place, (spec, shape) in enumerate(zip(specs, chunks, strict=True)):
            if shape is not None:
                written = max(written, math.prod(shape) * spec.dtype.itemsize)
            elif options.verify:
                # A compressed member of a .npz is read back as one piece.
                members[place] += _nbytes(spec)
    read = written if options.verify else 0
    return Need(
        held=max(members),
        block=max(unit * _row_bytes(spec) for unit, spec in zip(units, specs, strict=True)),
        chunk=max(read, *(spec.chunk_bytes for spec in specs)),
        decoding=max((1 + BETWEEN_FILTERS) * read, *(spec.decoding_bytes for spec in specs)),
        encoding=ENCODING * written,
    )


def _too_little(specs: Sequence[FieldSpec], need: Need, memory: int) -> str:
    chunked = max(specs, key=lambda spec: spec.chunk_bytes)
    where = chunked.where if chunked.chunk_bytes == need.chunk else "the target"
    reasons = {
        f"reading {bytes_text(need.block)} at a time": need.one_block,
        f"decoding chunks of {bytes_text(need.chunk)} ({where})": (need.chunk + need.decoding),
        f"holding {bytes_text(need.held)} of compressed members": need.held,
    }
    return (
        f"--memory {bytes_text(memory)} is too little: {max(reasons, key=lambda k: reasons[k])} "
        f"takes {bytes_text(need.nbytes)} in all; --memory {-(-need.nbytes // 10**6)}MB would do"
    )


def _block_rows(spec: FieldSpec, unit: int, limit: int) -> int:
    """Give a multiple of `unit` rows: about 8 MiB, or more where the source's blocks are larger."""
    row = max(1, _row_bytes(spec))
    wanted = max(BLOCK_BYTES // row, spec.source_rows)
    return max(1, min(wanted, limit // row) // unit) * unit


def _row_bytes(spec: FieldSpec) -> int:
    return _nbytes(spec) // max(1, spec.shape[0])


def _nbytes(spec: FieldSpec) -> int:
    total = spec.dtype.itemsize
    for size in spec.shape:
        total *= size
    return total
