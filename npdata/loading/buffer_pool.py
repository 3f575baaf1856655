"""Batch memory that is used again as soon as nothing refers to it.

Idea: the system has to clear every page of fresh memory, which costs as much as the copy of a large
batch. Whether the user has dropped a batch shows in the references to its array. A thread takes an
array out of the pool to look at it, so no lock is held over a fork or a collection.
Invariant: memory that anything still refers to is never given out again. Pinned memory is not kept
here, since torch's allocator does that with events.
"""

import contextlib
import math
from collections import deque

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from npdata.arrays.dtypes import numpy_name
from npdata.dataset.batch_memory import REUSE_BYTES, plain_memory
from npdata.runtime.machine import releases_at_once
from npdata.runtime.references import is_unused


class BufferPool:
    """Uninitialised tensors, of which at most `most` are remembered to be used again.

    What was given up last comes first, since it is still in the cache: an idle loop over gzip takes
    0.95 of the time.
    Memory is given out for fewer bytes too, down to half of it, so that the short batch at the end
    of an epoch takes the place of none.

    Examples:
        >>> pool = BufferPool(most=2)
        >>> first = pool((1 << 22, 2), torch.float32)
        >>> place = first.data_ptr()
        >>> second = pool((1 << 22, 2), torch.float32)
        >>> second.data_ptr() == place
        False
        >>> del first
        >>> pool((1 << 22, 2), torch.float32).data_ptr() == place
        True
    """

    new_below = REUSE_BYTES
    """Memory of fewer bytes is new, and of no kind of its own."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._arrays: deque[NDArray[np.uint8]] = deque()
        # Otherwise a count seen here could be out of date.
        self._counted = releases_at_once()

    def __call__(self, shape: tuple[int, ...], dtype: torch.dtype) -> Tensor:
        """Give a tensor of this shape and dtype, in memory that nothing else refers to."""
        nbytes = math.prod(shape) * dtype.itemsize
        if nbytes < self.new_below or not self._counted:
            return plain_memory(shape, dtype)
        array = self._unused(nbytes)
        part = array if array.nbytes == nbytes else array[:nbytes]
        name = numpy_name(dtype)
        if name is None:
            tensor = torch.from_numpy(part).view(dtype).view(shape)
        else:
            # Views of arrays keep the interpreter, for which those of tensors would have to wait.
            tensor = torch.from_numpy(part.view(name).reshape(shape))
        self._arrays.append(array)
        if len(self._arrays) > self._most:
            with contextlib.suppress(IndexError):
                self._arrays.popleft()
        return tensor

    def clear(self) -> None:
        """Remember none any more."""
        self._arrays.clear()

    def _unused(self, nbytes: int) -> NDArray[np.uint8]:
        """Take an array that nothing else refers to out of the pool, or make one."""
        for _ in range(len(self._arrays)):
            try:
                taken = [self._arrays.pop()]
            except IndexError:  # other threads look at them
                break
            fits = taken[0].nbytes // 2 <= nbytes <= taken[0].nbytes
            if fits and is_unused(taken):
                return taken[0]
            self._arrays.appendleft(taken[0])
        return np.empty(nbytes, np.uint8)
