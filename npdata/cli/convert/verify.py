"""The written file, read back and compared with the source, row by row and bit by bit.

Idea: what counts is what the library will read, so it reads both. Invariant: every row of every
array is compared, NaNs by their bits, records field by field (what lies between is no data).
"""

from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from npdata.cli.convert.plan import ConvertError
from npdata.cli.convert.transfer import blocks, read_rows
from npdata.cli.convert.writer import FieldPlan
from npdata.sources.base import Source
from npdata.sources.open import SEPARATOR, open_source


def differing_row(one: NDArray[Any], other: NDArray[Any]) -> int | None:
    """Give the first row in which two arrays of one shape and dtype differ, None if none does.

    Examples:
        >>> differing_row(np.array([1.0, np.nan, 3.0]), np.array([1.0, np.nan, 4.0]))
        2
    """
    if one.dtype.names is not None:
        found = [differing_row(one[name], other[name]) for name in one.dtype.names]
        return min((row for row in found if row is not None), default=None)
    if one.size == 0 or one.dtype.itemsize == 0:
        return None
    left, right = (np.ascontiguousarray(a).reshape(len(a), -1).view(np.uint8) for a in (one, other))
    if np.array_equal(left, right):
        return None
    return int(np.flatnonzero((left != right).any(axis=1))[0])


def open_written(path: Path, held: str, field: FieldPlan) -> Source | None:
    """Open an array of the file written in the format `held`; None for a raw one without bytes.

    The rows of a raw file may begin with what would make them a file of another format.
    """
    if held != "raw":
        return open_source(str(path) if held == ".npy" else f"{path}{SEPARATOR}{field.name}")
    return open_source(path, dtype=field.dtype, shape=field.shape) if field.nbytes else None


def verify_field(
    source: Source, field: FieldPlan, copy: Source, threads: int, compared: Callable[[int], None]
) -> None:
    """Compare a source with its copy, which is closed then.

    Raises `ConvertError` with the first row that differs. `compared` is told the bytes of blocks.
    """
    if (copy.shape, copy.dtype) != (source.shape, source.dtype):
        raise ConvertError(
            f"{source.where} is {source.shape} of {source.dtype}, and its copy {copy.shape} of "
            f"{copy.dtype}; the copy is discarded"
        )

    def compare(first: int, rows: NDArray[Any]) -> int | None:
        return differing_row(rows, read_rows(copy, first, np.empty_like(rows)))

    # h5py must not be read in another thread.
    threads = 0 if copy.access.kind == "library" else threads
    try:
        with closing(blocks(source, field.block_rows, threads, compare)) as verdicts:
            for first, stop, differs in verdicts:
                if differs is not None:
                    raise ConvertError(
                        f"row {first + differs} of {source.where} differs from its copy, which is "
                        f"discarded; the disk or the memory is at fault, or the source changed"
                    )
                copy.dont_need(first, stop)
                compared((stop - first) * field.row_bytes)
    finally:
        copy.close()
