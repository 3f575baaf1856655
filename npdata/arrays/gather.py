"""The copy kernel: rows of equal size, anywhere in memory, gathered into one buffer.

Idea: whatever holds its rows uncompressed is a run of bytes, and row i starts at
`first + i * stride`. `torch.index_select` over a strided view of those bytes, on several cores, or
NumPy's `take`, on one, copies any set of rows in one call that releases the GIL and writes straight
into the final buffer. Invariant: the caller has checked that every row number is inside
(`indexing`), and memory is only read, also where the view could write. It knows nothing of files
and fields.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from numpy.lib.array_utils import byte_bounds
from numpy.typing import NDArray

from npdata.arrays.cores import (
    FEW_BYTES,
    GRAIN,
    is_little,
    lost_threads,
    threads_wait,
    with_threads,
)
from npdata.arrays.dtypes import NATIVE, Ints, torch_dtype
from npdata.runtime.lazy_torch import torch

SIGNED = {"uint16": "int16", "uint32": "int32", "uint64": "int64"}
"""`index_select` has no unsigned words but bytes; signed ones have the same bits."""
_WORDS = {1: "uint8", 2: "int16", 4: "int32", 8: "int64", 16: "complex128"}
NARROW_BYTES = 128
"""Up to here a row costs NumPy less than a call for it: 9 ns, of 8 bytes 3."""
_TOUCHED_BYTES = range(1 << 10, 1 << 15)
"""Rows of which both ends are read before they are copied, so that the processor waits for many at
once: 256 rows of 3 KiB, of which none is in its cache, take 80 µs in place of 110, and all in small
pages no more than in large ones; where all are in its cache, 2 µs more."""
_TOUCHED_ROWS = 1000
"""So many rows are touched together at most, or the first ones leave the cache."""


class _Memory:
    """Any memory as plain writable bytes for NumPy, which torch takes without a warning."""

    def __init__(
        self,
        owner: object,
        start: int,
        shape: tuple[int, ...],
        strides: tuple[int, ...] | None = None,
    ) -> None:
        self.owner = owner
        self.__array_interface__ = {
            "data": (start, False),
            "shape": shape,
            "strides": strides,
            "typestr": "|u1",
            "version": 3,
        }

    def tensor(self) -> torch.Tensor:
        return torch.from_numpy(np.asarray(self))


def tensor_of(array: NDArray[np.uint8]) -> torch.Tensor:
    """Give an array of bytes as a tensor without a copy, also where it is read-only.

    Whoever writes to it must own the memory.
    """
    return _Memory(array, address_of(array), array.shape, array.strides).tensor()


def address_of(array: NDArray[Any]) -> int:
    """Give the address of the first byte of an array."""
    address: int = array.__array_interface__["data"][0]
    return address


LINE = 64
"""Bytes of a line of the processor's cache; any word of the kernel is a part of one."""


def memory_at_a_line(nbytes: int) -> NDArray[np.uint8]:
    """Give new memory that begins at a multiple of `LINE`; NumPy's own begins 16 bytes later."""
    memory = np.empty(nbytes + LINE - 1, np.uint8)
    first = -address_of(memory) % LINE
    return memory[first : first + nbytes]


def is_aligned(array: NDArray[Any]) -> bool:
    """Tell whether torch may work on the elements where they lie.

    It wants a complex number at a multiple of its size, and NumPy at one of half of it: a write of
    torch into such a complex128 ended the process.
    """
    size = array.dtype.itemsize
    if array.dtype.kind != "c":
        return array.flags.aligned
    return not any(place % size for place in (address_of(array), *array.strides))


@dataclass(frozen=True, kw_only=True)
class RowTable:
    """The rows of `array`, of shape (n, ...), ready to be gathered.

    `view` is what the kernel reads: with `typed` a tensor of the array's shape and dtype, else the
    bytes of the rows, of shape (n, row bytes); None where neither is possible and NumPy does it.
    """

    array: NDArray[Any]
    view: torch.Tensor | None
    typed: bool
    flat: NDArray[Any] | None = None
    """The rows of `view` that NumPy can gather as well, on one core, since they lie end to end."""
    width: int = 0
    """The elements of such a row of which both ends are touched before, 0 where they are not."""

    @classmethod
    def of(cls, array: NDArray[Any]) -> RowTable:
        """Prepare `array` (at least one-dimensional); copies nothing.

        Examples:
            >>> out = np.empty((2, 3), np.int64)
            >>> RowTable.of(np.arange(12).reshape(4, 3)).gather(np.array([3, 0]), out)
            >>> out.tolist()
            [[9, 10, 11], [0, 1, 2]]
        """
        item = array.dtype.itemsize
        if array.size == 0 or array.dtype.hasobject or min(array.strides) < 0:
            return cls(array=array, view=None, typed=False)
        low, high = byte_bounds(array)
        memory = _Memory(array, low, (high - low,)).tensor()
        native = array.dtype.isnative and array.dtype.name in NATIVE
        typed = native and is_aligned(array) and not any(step % item for step in array.strides)
        if typed:
            steps = [step // item for step in array.strides]
            array = array.view(array.dtype.name)  # torch takes uint64, and not C's ulonglong
            word = torch_dtype(SIGNED.get(array.dtype.name, array.dtype.name))
            view = memory.view(word).as_strided(array.shape, steps)
        elif array[:1].flags.c_contiguous:
            view = memory.as_strided((len(array), array[:1].nbytes), (array.strides[0], 1))
        else:
            return cls(array=array, view=None, typed=False)
        if not array.flags.c_contiguous:
            return cls(array=array, view=view, typed=typed)
        flat = array if typed else view.numpy()
        touched = array.nbytes // len(array) in _TOUCHED_BYTES
        width = flat.size // len(flat) if touched else 0
        return cls(array=array, view=view, typed=typed, flat=flat, width=width)

    def gather(self, indices: Ints, out: NDArray[Any]) -> None:
        """Copy row `indices[k]` to `out[k]`; indices are in [0, n), `out` is C-contiguous."""
        if self.view is None or out.size == 0:
            out[...] = self.array[indices]
            return
        if self.flat is not None:
            highest = indices.view(np.uint64).argmax()  # a negative number is a huge unsigned one
            if not 0 <= indices.item(highest) < len(self.array):
                raise IndexError("a row lies outside")
        flat = torch.from_numpy(out.reshape(-1).view(np.uint8))
        rows = out.shape if self.typed else (len(indices), -1)
        self.select(indices, flat.view(self.view.dtype).view(rows))

    def few(self, indices: Ints) -> NDArray[Any] | None:
        """Give rows in new memory where NumPy gathers them on one core, else None; as `select`.

        For 64 rows of 128 bytes it takes 1.3 µs; to make a tensor and `select` into it takes 3.1.
        """
        array = self.array
        flat = self.flat if self.typed else None
        if flat is not None and len(indices) * array.strides[0] <= FEW_BYTES:
            if self.width:
                self._touch(flat, indices)
            return flat.take(indices, 0, None, "clip")
        elements = len(indices) * math.prod(array.shape[1:])
        if self.typed and is_little(elements, array.itemsize):
            return np.ascontiguousarray(array[indices])  # NumPy keeps the order of other arrays
        return None

    def select(self, indices: Ints, out: torch.Tensor) -> None:
        """Copy rows of `view` into `out`, a contiguous tensor with words of the same size.

        Indices are in [0, n), and are not looked at again.
        """
        view, flat = self.view, self.flat
        alone = out.nbytes <= FEW_BYTES or torch.get_num_threads() < 2 or threads_wait()
        if flat is not None and alone:
            if self.width:
                self._touch(flat, indices)
            words = out.numpy()
            if words.dtype != flat.dtype:
                words = words.view(flat.dtype)
            flat.take(indices, 0, words, "clip")
        elif view is not None:
            _select(view, indices, out if out.dtype == view.dtype else out.view(view.dtype))

    def touch_runs(self, starts: Ints, stops: Ints) -> None:
        """Read the beginnings of the first and last row of each run `[starts[k], stops[k])`.

        NumPy copies up to 500 elements without letting other threads run: of 20 batches of short
        runs of a cold file, the program stood still for 19 of 20 ms. It takes 3 µs.
        """
        flat = self.flat
        if flat is not None:
            ends = np.concatenate((starts, stops - 1))
            ends *= flat.size // len(flat)
            flat.reshape(-1).take(ends, mode="clip")  # a run may be empty

    def _touch(self, flat: NDArray[Any], indices: Ints) -> None:
        """Read both ends of these rows, where they stay in the cache until they are copied.

        `take` lets other threads run while a page is read from the disk. Indexing does not, and
        is 1.5 µs faster: rows of a cold file held the program for half a second.
        """
        if len(indices) <= _TOUCHED_ROWS:
            ends = indices * self.width + np.array([[0], [self.width - 1]])
            flat.reshape(-1).take(ends, mode="clip")


@dataclass(frozen=True, kw_only=True)
class ByteRows:
    """Memory from address `low` to `high`, from which rows of one length can be gathered.

    A row is `width` words of `step` bytes each, and begins at any of the words.
    """

    view: torch.Tensor
    step: int
    width: int
    low: int
    high: int

    @classmethod
    def of(cls, array: NDArray[np.uint8], row: int) -> ByteRows:
        """Prepare contiguous bytes for rows of `row` bytes, at least 1; copies nothing."""
        low = address_of(array)
        return cls.between(low, low + len(array), row, step=1, owner=array)

    @classmethod
    def between(
        cls, low: int, high: int, row: int, *, step: int | None = None, owner: object = None
    ) -> ByteRows:
        """Prepare the memory from address `low` to `high`, which is kept only if `owner` is.

        `step` is 1, 2, 4, 8 or 16; all offsets, and the row itself, are multiples of it. None is
        the largest that `row` is a multiple of.
        Only what is gathered is ever read: the rest may be anything, also memory of nobody.
        """
        step = math.gcd(row, max(_WORDS)) if step is None else step
        flat = _Memory(owner, low, ((high - low) // step * step,)).tensor()
        words = flat.view(getattr(torch, _WORDS[step]))
        width = row // step
        view = words.as_strided((max(0, len(words) - width + 1), width), (1, 1))
        return cls(view=view, step=step, width=width, low=low, high=high)

    def gather(self, starts: Ints, out: NDArray[np.uint8]) -> None:
        """Copy the bytes from `starts[k]` on to `out[k]`; `out` is (n, row), C-contiguous.

        Raises IndexError where a row would lie outside.
        """
        self.select(starts // self.step if self.step > 1 else starts, out)

    def select(self, starts: Ints, out: NDArray[np.uint8]) -> None:
        """Copy the bytes from `starts[k] * step` on to `out[k]`, as `gather` does."""
        # Views of tensors release and reacquire the GIL, those of arrays do not.
        _select(self.view, starts, torch.from_numpy(out.view(_WORDS[self.step])))


def _select(view: torch.Tensor, rows: Ints, out: torch.Tensor) -> None:
    """Copy row `rows[k]` of `view` to `out[k]`, by torch wherever its threads are."""
    if is_little(out.numel(), out.element_size()) or lost_threads():
        if len(rows) and rows.min() < 0:  # to NumPy a row from the end
            raise IndexError("a row lies outside")
        out.numpy()[...] = view.numpy()[rows]
        return
    numbers = torch.from_numpy(rows)
    if out.numel() <= GRAIN:
        torch.index_select(view, 0, numbers, out=out)
    elif threads_wait():
        few = max(1, GRAIN * len(rows) // out.numel())
        for first in range(0, len(rows), few):
            part = slice(first, first + few)
            torch.index_select(view, 0, numbers[part], out=out[part])
    else:
        with_threads(partial(torch.index_select, view, 0, numbers, out=out), out.nbytes)


def copy_spans(memory: NDArray[np.uint8], begins: Ints, ends: Ints, out: NDArray[Any]) -> None:
    r"""Copy bytes `[begins[k], ends[k])` of `memory` to `out`, one span after the other.

    Examples:
        >>> out = np.empty(2, np.uint16)
        >>> copy_spans(np.arange(9, dtype=np.uint8), np.array([7, 0]), np.array([9, 2]), out)
        >>> out.tobytes()
        b'\x07\x08\x00\x01'
    """
    some = ends > begins  # where an empty one lies may be nobody's memory
    # Read while other threads run: to copy up to 500 bytes holds them.
    memory.take(np.append(begins[some], ends[some] - 1), mode="clip")
    spans = zip(begins.tolist(), ends.tolist(), strict=True)
    np.concatenate([memory[a:b] for a, b in spans], out=out.reshape(-1).view(np.uint8))
