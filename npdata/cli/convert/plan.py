"""What a conversion will do, decided before anything is written: pure arithmetic.

Idea: from shapes, dtypes and options to how each array is cut, how many threads work, and what
memory that takes. Invariant: what the plan says is in memory at one time fits `memory`; whatever
the target cannot hold, and whatever does not fit the disk, is an error here. No file is opened.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from npdata.cli.command import UsageError
from npdata.cli.convert.chunking import Chunks, chunk_shape
from npdata.cli.convert.writer import FieldPlan, Writer
from npdata.cli.units import bytes_text
from npdata.dtypes import DType
from npdata.errors import NpdataError

MEMORY = "512MB"
"""The most memory to take, where nothing else is asked for."""
RUNTIME_BYTES = 264_000_000
"""What the process takes with no rows in memory: Python, NumPy, torch and h5py (seen: 246 MB)."""
BLOCK_BYTES = 8 << 20
MORE_BLOCKS = 3
"""Blocks beyond those that threads work on: two that wait, and one that is being written."""
COPIES = 2
"""A block is in memory as rows and as what is written, or what is compared."""


class ConvertError(NpdataError, ValueError):
    """What was to be converted cannot be, or not into this kind of file."""


@dataclass(frozen=True, kw_only=True)
class FieldSpec:
    """An array to convert: `name` in the target, `where` for people.

    `source_rows` is the number of rows that are cheapest to read together, 1 where that is the
    same for all; `held_bytes` what the source keeps in memory all the time, and `decodes` tells
    whether it keeps decoded chunks.
    """

    name: str
    where: str
    shape: tuple[int, ...]
    dtype: DType
    source_rows: int = 1
    held_bytes: int = 0
    decodes: bool = False


@dataclass(frozen=True, kw_only=True)
class Options:
    """As asked for: chunks, the level of gzip or None, and bytes of memory."""

    chunks: Chunks | None
    compression: int | None
    memory: int


@dataclass(frozen=True, kw_only=True)
class Plan:
    """`slab_bytes` is for decoded chunks; `threads` read and compress, each one block at a time."""

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

    Raises `UsageError` for options that do not fit the target or the arrays, and `ConvertError`
    for a dtype that it cannot hold, for too little memory and for a disk that is too small.
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
    held = max(spec.held_bytes for spec in specs)
    room = options.memory - RUNTIME_BYTES - held
    decodes = options.compression is not None or any(spec.decodes for spec in specs)
    slab = max(0, room) // 2 if decodes else 0
    least = max(unit * _row_bytes(spec) for unit, spec in zip(units, specs, strict=True))
    threads, limit = _threads(room - slab, least, cores)
    if threads == 0:
        need = least_memory(least, held=held, decodes=decodes)
        raise ConvertError(
            f"--memory {bytes_text(options.memory)} is too little: reading "
            f"{bytes_text(least)} at a time takes {bytes_text(need)} in all"
        )
    return Plan(
        fields=tuple(
            FieldPlan(
                name=spec.name,
                shape=spec.shape,
                dtype=spec.dtype,
                block_rows=_block_rows(spec, unit, limit),
                chunk_shape=shape,
                compression=options.compression,
            )
            for spec, shape, unit in zip(specs, chunks, units, strict=True)
        ),
        threads=threads,
        slab_bytes=slab,
    )


def least_memory(least: int, *, held: int, decodes: bool) -> int:
    """Give the bytes that a conversion takes at least.

    `least` bytes are read at a time, `held` kept by a source; `decodes` tells whether chunks are
    decoded or compressed.
    """
    return RUNTIME_BYTES + held + _blocks(1) * least * (2 if decodes else 1)


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


def _threads(room: int, least: int, cores: int) -> tuple[int, int]:
    """Give how many threads can work on blocks of `least` bytes, and the largest block."""
    for threads in range(cores, 0, -1):
        limit = room // _blocks(threads)
        if limit >= max(least, min(BLOCK_BYTES, room // _blocks(1))):
            return threads, limit
    return (1, room // _blocks(1)) if room // _blocks(1) >= max(1, least) else (0, 0)


def _blocks(threads: int) -> int:
    return COPIES * (threads + MORE_BLOCKS)


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
