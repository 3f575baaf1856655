"""A segment: memory that a worker shares with its parent, for one tensor at a time.

Idea: flags lie before the bytes. Each time that a tensor in it is sent has a flag of its own, which
the parent sets when nothing refers any more to the tensor that arrived. Invariant: a flag is
written once, and by one process. The memory is a file without a name, which the system removes with
the last process that has it.
"""

import mmap
import os
from typing import TypeAlias

import numpy as np
import torch
from torch import Tensor

from npdata.runtime.memory_file import memory_file

FLAGS = 4096
"""Bytes of flags: a page, so that the bytes behind it lie at the begin of one."""
MAPPED, GONE, FIRST_SEND = range(3)
"""The parent has it; the worker uses it no more; the first of the flags of what was sent."""
RELEASED, LOST = 1, 2
"""Nothing refers to what arrived; somebody may, in a process that was forked since."""


Memory: TypeAlias = np.ndarray[tuple[int], np.dtype[np.uint8]]


class Segment:
    """Memory of a file that is open by `descriptor`, which may be closed afterwards.

    Examples:
        >>> descriptor = made(8)
        >>> one, other = Segment(descriptor), Segment(descriptor)
        >>> os.close(descriptor)
        >>> one.memory(8)[3] = 7
        >>> other.memory(4).tolist()
        [0, 0, 0, 7]
    """

    def __init__(self, descriptor: int) -> None:
        self.flags = mmap.mmap(descriptor, 0)  # its first bytes

    @property
    def nbytes(self) -> int:
        """The bytes of the largest tensor."""
        return len(self.flags) - FLAGS

    def memory(self, nbytes: int) -> Memory:
        """Give the first bytes, as an array to which all tensors over them refer."""
        return np.frombuffer(self.flags, np.uint8, nbytes, FLAGS)


def tensor_over(
    memory: Memory | bytearray,
    dtype: torch.dtype,
    shape: tuple[int, ...],
    stride: tuple[int, ...] = (),
    offset: int = 0,
) -> Tensor:
    """Give a tensor over memory, to which it refers for as long as anything refers to its storage.

    That is longer than torch needs it: to send a tensor on, torch moves its storage into other
    memory, and NumPy arrays of it stay where they were.
    """
    storage = torch.frombuffer(memory, dtype=torch.uint8).untyped_storage()
    storage.memory = memory  # type: ignore[attr-defined]
    empty = torch.empty(0, dtype=dtype, device="cpu")
    return empty.set_(storage, offset, shape, stride)


def keeps_memory(tensor: Tensor) -> bool:
    """Tell whether its storage refers to the memory, as that of `tensor_over` does."""
    return hasattr(tensor.untyped_storage(), "memory")


def made(nbytes: int) -> int:
    """Make the file of a segment, and give its descriptor; OSError where there can be none."""
    descriptor = memory_file("npdata")
    try:
        os.truncate(descriptor, FLAGS + nbytes)
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor
