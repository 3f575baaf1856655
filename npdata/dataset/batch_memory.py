"""Where the memory of a batch is taken from: plain, shared between processes, or pinned.

Idea: a batch is gathered straight into its last buffer. In a DataLoader worker that is memory which
its parent has, too, so that nothing is copied on the way to the trainer; elsewhere what
`allocating_from` sets, or else pinned memory where an accelerator is there, so that the copy to the
device can be asynchronous. Invariant: a worker never touches the accelerator's runtime, and without
an accelerator nothing is pinned and nothing warns. This module copies no rows.
"""

import functools
import math
import sys
import threading
from collections.abc import Callable
from contextvars import ContextVar, copy_context
from typing import TypeAlias, TypeVar

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import get_worker_info

from npdata.arrays.dtypes import numpy_name
from npdata.dataset.workers.segment_pool import SENT_INSIDE, segment_pool
from npdata.runtime.machine import accelerator

Result = TypeVar("Result")
Allocate: TypeAlias = Callable[[tuple[int, ...], torch.dtype], Tensor]
"""Gives memory. Where it has an attribute `new_below`, a tensor of fewer bytes need not lie in it:
new memory, as NumPy makes it, does as well."""
MOST_SCRATCH = 8 << 20
"""Threads keep no more bytes than this."""
REUSE_BYTES = 640 << 10
"""From here on using memory again is faster: with two threads 1.7 times at 0.8 MB, 2 at 6 MB."""
LARGE_BYTES = 1 << 22
"""From here on NumPy asks for large pages."""
_scratch = threading.local()
_allocate: ContextVar[Allocate | None] = ContextVar("allocate", default=None)


def batch_memory() -> Allocate:
    """Give the function that makes the buffers of a batch in this process, uninitialised."""
    if get_worker_info() is not None:
        return worker_memory
    allocate = _allocate.get()
    if allocate is not None:
        return allocate
    return pinned_memory if pins_memory() else plain_memory


def staging_memory() -> Allocate:
    """Give the function for rows of which samples are made, which are then stacked."""
    allocate = batch_memory()
    return plain_memory if allocate is pinned_memory else allocate


def allocating_from(
    allocate: Allocate, function: Callable[..., Result], *arguments: object
) -> Result:
    """Give `function(*arguments)`, during which `batch_memory` is `allocate` in this thread.

    It is set in a context of its own, so an interrupt cannot leave it set.
    """
    context = copy_context()
    context.run(_allocate.set, allocate)
    return context.run(function, *arguments)


def pinned_memory(shape: tuple[int, ...], dtype: torch.dtype) -> Tensor:
    """Give an uninitialised CPU tensor in pinned memory; RuntimeError without accelerator."""
    return torch.empty(shape, dtype=dtype, pin_memory=True, device="cpu")


def plain_memory(shape: tuple[int, ...], dtype: torch.dtype) -> Tensor:
    """Give an uninitialised CPU tensor in ordinary memory, large ones in large pages."""
    name = numpy_name(dtype)
    if name is not None and math.prod(shape) * dtype.itemsize >= LARGE_BYTES:
        return torch.from_numpy(np.empty(shape, name))
    return torch.empty(shape, dtype=dtype, device="cpu")


def scratch_memory(shape: tuple[int, ...], dtype: torch.dtype) -> Tensor:
    """Give memory of this thread that the next call gives out again, to be cast from at once.

    Fresh memory of 131 KB costs 33 page faults, which took 170 of the 250 µs of a batch of 64 x
    1,025 tokens cast to int64. The last tensor is kept as it is: views of it take 4 µs of 50.
    """
    last: Tensor | None = getattr(_scratch, "last", None)
    if last is not None and last.shape == shape and last.dtype == dtype:
        return last
    nbytes = math.prod(shape) * dtype.itemsize
    if nbytes > MOST_SCRATCH:
        return plain_memory(shape, dtype)
    # What is made in inference mode, also a view as another dtype, cannot be written to outside.
    with torch.inference_mode(False):
        held = getattr(_scratch, "memory", None)
        if held is None or len(held) < nbytes:
            held = _scratch.memory = torch.empty(nbytes, dtype=torch.uint8, device="cpu")
        made = _scratch.last = held[:nbytes].view(dtype).view(shape)
    return made


for _allocate_plainly in (plain_memory, scratch_memory):
    _allocate_plainly.new_below = sys.maxsize  # type: ignore[attr-defined]


@functools.cache
def pins_memory() -> bool:
    """Tell whether this process has an accelerator for which memory can be pinned.

    Not for MPS, which uses the memory of the machine: nothing is gained there, and `torch.empty`
    gave tensors on the device for long, where memory was asked for.
    """
    found = accelerator()
    if found is None or found.type == "mps":
        return False
    try:
        return torch.empty(1, pin_memory=True, device="cpu").is_pinned()
    except (RuntimeError, NotImplementedError):
        return False


def worker_memory(shape: tuple[int, ...], dtype: torch.dtype) -> Tensor:
    """Give memory in which a tensor is sent to the parent of this worker without a copy."""
    nbytes = math.prod(shape) * dtype.itemsize
    if nbytes < SENT_INSIDE:
        return plain_memory(shape, dtype)
    pool = segment_pool()
    tensor = None if pool is None else pool.tensor(shape, dtype)
    return _shared_by_torch(shape, dtype) if tensor is None else tensor


worker_memory.new_below = SENT_INSIDE  # type: ignore[attr-defined]


def memory_for_torch(allocate: Allocate) -> Allocate:
    """Give memory that torch itself sends without a copy: of nested and of sparse tensors."""
    return _shared_by_torch if allocate is worker_memory else allocate


def _shared_by_torch(shape: tuple[int, ...], dtype: torch.dtype) -> Tensor:
    # As torch's own collate does in a worker; share_memory_() would copy the empty buffer.
    nbytes = math.prod(shape) * dtype.itemsize
    storage = torch.UntypedStorage._new_shared(nbytes)  # type: ignore[no-untyped-call]
    return torch.empty(0, dtype=dtype, device="cpu").set_(storage).view(shape)
