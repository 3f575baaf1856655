"""Where the memory of a batch is taken from: plain, shared between processes, or page-locked.

Idea: a batch is gathered straight into its last buffer. In a DataLoader worker that is shared
memory, so that nothing is copied on the way to the trainer; in the main process, where an
accelerator is there, page-locked memory, so that the copy to the device can be asynchronous.
Invariant: a worker never touches the accelerator's runtime, and without an accelerator nothing is
pinned and nothing warns. This module copies no rows.
"""

import functools
import math
from collections.abc import Callable
from typing import TypeAlias

import torch
from torch import Tensor
from torch.utils.data import get_worker_info

Allocate: TypeAlias = Callable[[tuple[int, ...], torch.dtype], Tensor]


def batch_memory() -> Allocate:
    """Give the function that makes the buffers of a batch in this process, uninitialised.

    Examples:
        >>> batch_memory()((2, 3), torch.float32).shape
        torch.Size([2, 3])
    """
    if get_worker_info() is not None:
        return _shared
    return _pinned if pins_memory() else plain_memory


def plain_memory(shape: tuple[int, ...], dtype: torch.dtype) -> Tensor:
    """Give an uninitialised CPU tensor in ordinary memory."""
    return torch.empty(shape, dtype=dtype)


@functools.cache
def pins_memory() -> bool:
    """Tell whether this process has an accelerator for which memory can be page-locked."""
    if not torch.accelerator.is_available():
        return False
    try:
        return torch.empty(1, pin_memory=True).is_pinned()
    except (RuntimeError, NotImplementedError):
        return False


def _pinned(shape: tuple[int, ...], dtype: torch.dtype) -> Tensor:
    return torch.empty(shape, dtype=dtype, pin_memory=True)


def _shared(shape: tuple[int, ...], dtype: torch.dtype) -> Tensor:
    # As torch's own collate does in a worker; share_memory_() would copy the empty buffer.
    nbytes = math.prod(shape) * dtype.itemsize
    storage = torch.UntypedStorage._new_shared(nbytes)  # type: ignore[no-untyped-call]
    return torch.empty(0, dtype=dtype).set_(storage).view(shape)
