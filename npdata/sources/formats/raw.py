"""Raw binary: rows without a header, whose dtype and shape the user knows.

Idea: a file and a dtype make an array; one axis may be -1 and is counted from the size of the
file. Invariant: a file that does not divide into whole rows is refused, never cut. This module
guesses nothing.
"""

import math
import operator
import os
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import DTypeLike

from npdata.arrays.dtypes import DType
from npdata.errors import FormatError, SourceError, TruncatedError, UnsupportedSourceError
from npdata.runtime.lazy_torch import torch
from npdata.sources.file import File
from npdata.sources.mapped import MappedSource, Place
from npdata.sources.paths import require_regular


class RawFormat(NamedTuple):
    """What raw files hold, as in `NumpyDataset.from_raw`."""

    dtype: Any
    shape: int | tuple[int, ...]
    offset: int


def open_raw(
    path: str | os.PathLike[str],
    dtype: "DTypeLike | torch.dtype",
    shape: int | tuple[int, ...] = (-1,),
    offset: int = 0,
) -> MappedSource:
    """Map a raw file as an array of `shape`, in C order, from byte `offset` on.

    `dtype` is of NumPy or torch, or a name (">f4" for big-endian); one size in `shape` may be -1.
    Raises `TruncatedError` where the file is too short, `FormatError` where bytes are left over,
    `SourceError` for a shape or dtype that makes no rows, `UnsupportedSourceError` (a TypeError)
    for what is no dtype, and OSError.

    Examples:
        >>> open_raw("t.bin", "uint16", (-1,)).shape
        (12,)
    """
    require_regular(path)
    file = File(path)
    element = _dtype(path, dtype)
    sizes, offset = _whole_numbers(shape, offset)
    kind, inner = (element, ()) if element.subdtype is None else element.subdtype
    if kind.hasobject or kind.itemsize == 0:
        raise SourceError(f"a raw file holds no {kind} elements; give a dtype of a fixed size")
    if not sizes or sizes.count(-1) > 1 or any(size < -1 for size in sizes) or offset < 0:
        raise SourceError(
            f"shape={sizes}, offset={offset} make no rows; give sizes of which one may be -1, "
            f"and an offset in bytes"
        )
    if file.identity.size == 0:
        raise TruncatedError(f"{path} is empty (0 bytes); leave out a raw file that holds no rows")
    present = file.identity.size - offset
    if present < 0:
        raise TruncatedError(
            f"{path} has {file.identity.size} bytes, and offset={offset} is behind them"
        )
    where = f"{path} has {present} bytes from byte {offset} on"
    counted = _counted(sizes, kind, element.itemsize, present, where)
    place = Place.contiguous(offset=offset, dtype=kind, shape=(*counted, *inner))
    return MappedSource(file, place, "a raw file is its rows", str(path))


def _whole_numbers(shape: object, offset: object) -> tuple[tuple[int, ...], int]:
    """Give shape and offset as whole numbers; `UnsupportedSourceError` for what is none."""
    sizes: Any = shape if isinstance(shape, tuple | list) else (shape,)
    try:
        return tuple(map(operator.index, sizes)), operator.index(offset)  # type: ignore[arg-type]
    except TypeError:
        raise UnsupportedSourceError(
            f"shape={shape!r}, offset={offset!r} make no rows; give whole numbers, as shape=(-1, "
            "64), and an offset in bytes"
        ) from None


def _counted(
    sizes: tuple[int, ...], kind: DType, element_bytes: int, present: int, where: str
) -> tuple[int, ...]:
    """Give `sizes` with the -1 counted, so that no bytes of those `present` are left over.

    Raises `FormatError` where some are, after the words `where`.
    """
    unit = math.prod(size for size in sizes if size != -1) * element_bytes
    if -1 in sizes:
        if unit == 0 or present % unit:
            raise FormatError(
                f"{where}, which are no whole number of {unit}-byte rows ({sizes} of {kind}); "
                "check the dtype, shape and offset"
            )
        return tuple(present // unit if size == -1 else size for size in sizes)
    if unit < present:
        raise FormatError(
            f"{where}, but {sizes} of {kind} are only {unit}; use -1 for the size that is to be "
            "counted"
        )
    return sizes


def _dtype(path: str | os.PathLike[str], dtype: "DTypeLike | torch.dtype") -> DType:
    name = str(dtype)
    given: Any = dtype
    if name.startswith("torch."):  # torch.float is float32, and float64 to NumPy
        given = str(getattr(torch, name.removeprefix("torch."), name)).removeprefix("torch.")
    try:
        found: DType = np.dtype(given)
    except (TypeError, ValueError, SyntaxError) as error:
        cure = '"float32", or ">i2" for big-endian'
        if "bfloat16" in name:
            cure = '"uint16", and batch_transform=lambda x: x.view(torch.bfloat16)'
        raise UnsupportedSourceError(
            f"{path}: dtype={dtype!r} is no dtype of NumPy ({error}); give one such as {cure}"
        ) from error
    return found
