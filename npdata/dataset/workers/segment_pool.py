"""The segments of a worker: memory for its batches, used again when its parent has dropped them.

Idea: the system clears each page of fresh memory and maps it once for each process, which takes up
to nine times as long as all else of a batch. Invariant: memory is given out again only where
nothing refers to it in this process, every tensor that was sent has been dropped by the parent, and
no process was forked meanwhile, which would have both. A thread takes a segment out of the pool to
look at it.
"""

import itertools
import math
import os
import resource
import sys
import threading
from collections import deque
from collections.abc import Callable

import torch
from torch import Tensor
from torch.utils.data import get_worker_info

from npdata.arrays.gather import address_of
from npdata.dataset.workers.segment import (
    FIRST_SEND,
    FLAGS,
    GONE,
    LOST,
    MAPPED,
    Segment,
    made,
    tensor_over,
)
from npdata.runtime.machine import releases_at_once
from npdata.runtime.per_process import PerProcess, this_process
from npdata.runtime.references import is_unused

SENT_INSIDE = (1 << 15) + 1
"""Tensors of fewer bytes travel inside the message."""
MOST = 32
"""Segments of a worker at most: four batches of eight large fields. A loop that keeps its batches
gets further ones in memory of torch's own."""
IDLE = 2 * MOST
"""A segment that so many tensors passed over is of a size that came up once."""
_SHARE_OF_DESCRIPTORS = 8
"""All workers together have segments for this part of the descriptors of the parent at most."""


class OwnSegment(Segment):
    """A segment of this worker, the `number`-th; `descriptor` stays open for the parent to get."""

    def __init__(self, nbytes: int, number: int) -> None:
        self.descriptor = made(nbytes)
        try:
            super().__init__(self.descriptor)
        except BaseException:  # no further descriptor, or no address
            os.close(self.descriptor)
            raise
        self.number = number
        self._held = [self.memory(nbytes)]
        self._lock = threading.Lock()
        self._sent = self._since = FIRST_SEND
        self._forks: int | None = None
        self.used = 0
        """The number of the tensor that it held last, of all of the pool."""

    def tensor(self, shape: tuple[int, ...], dtype: torch.dtype) -> Tensor:
        """Give its memory for another tensor."""
        self._since, self._forks = self._sent, this_process.forks()
        return tensor_over(self._held[0][: math.prod(shape) * dtype.itemsize], dtype, shape)

    @property
    def address(self) -> int:
        """The address of its first byte."""
        return address_of(self._held[0])

    @property
    def is_mapped(self) -> bool:
        """Whether the parent has it."""
        return bool(self.flags[MAPPED])

    @property
    def is_dropped(self) -> bool:
        """Whether nothing refers to the tensor, here and where it was sent."""
        return is_unused(self._held) and 0 not in self.flags[self._since : self._sent]

    @property
    def _may_be_used(self) -> bool:
        """Whether nobody else has the tensor: no process that was forked meanwhile."""
        known = LOST not in self.flags[self._since : self._sent]
        alone = this_process.is_alone_since(self._forks)
        return known and alone and self._sent < FLAGS // 2

    def fits(self, nbytes: int) -> bool:
        """Tell whether it can hold a tensor of so many bytes now."""
        fits = self.nbytes // 2 <= nbytes <= self.nbytes
        return fits and self.is_dropped and self._may_be_used

    def is_idle(self, use: int) -> bool:
        """Tell whether it has held no tensor of the last ones before `use`, or never will."""
        return self.is_dropped and (use - self.used >= IDLE or not self._may_be_used)

    def next_flag(self) -> int | None:
        """Give the flag of a tensor that is sent now; None where there is none left."""
        with self._lock:
            if self._sent == FLAGS:
                return None
            self._sent += 1
            return self._sent - 1

    def close(self) -> None:
        """Let the parent know that it is used no more."""
        self.flags[GONE] = 1
        os.close(self.descriptor)


class SegmentPool:
    """At most `most` segments, each for a tensor of up to its size, and of half of it at least.

    No other process has the same `token`.

    Examples:
        >>> pool = SegmentPool(most=1)
        >>> first = pool.tensor((4, 2), torch.float32)
        >>> pool.tensor((4, 2), torch.float32) is None
        True
        >>> place = first.data_ptr()
        >>> del first
        >>> pool.tensor((3, 2), torch.float32).data_ptr() == place
        True
    """

    def __init__(self, most: int) -> None:
        self.token = os.urandom(8)
        self._most = most
        self._numbers, self._uses = itertools.count(), itertools.count()
        self._segments: deque[OwnSegment] = deque()
        self._at: dict[int, OwnSegment] = {}

    def tensor(self, shape: tuple[int, ...], dtype: torch.dtype) -> Tensor | None:
        """Give memory for a tensor of at least a byte; None where it must be of another kind."""
        nbytes = math.prod(shape) * dtype.itemsize
        use = next(self._uses)
        if use % IDLE == 0:
            self._close_idle(use)
        segment = self._take(lambda each: each.fits(nbytes)) or self._new(nbytes, use)
        if segment is None:
            return None
        segment.used = use
        tensor = segment.tensor(shape, dtype)
        self._segments.append(segment)
        return tensor

    def holding(self, tensor: Tensor) -> OwnSegment | None:
        """Give the segment in which the memory of a tensor is, if it is in one."""
        return self._at.get(tensor.untyped_storage().data_ptr())

    def _take(self, wanted: Callable[[OwnSegment], bool]) -> OwnSegment | None:
        """Take the segment that was used last of those that are wanted out of the pool."""
        for _ in range(len(self._segments)):
            try:
                segment = self._segments.pop()  # no other thread looks at it meanwhile
            except IndexError:
                break
            if wanted(segment):
                return segment
            self._segments.appendleft(segment)
        return None

    def _new(self, nbytes: int, use: int) -> OwnSegment | None:
        self._close_idle(use)
        if len(self._segments) >= self._most:
            self._close(self._take(lambda each: each.is_dropped))
        if len(self._segments) >= self._most:
            return None
        try:
            segment = OwnSegment(nbytes, next(self._numbers))
        except OSError:  # the system refuses the call, or a descriptor
            return None
        self._at[segment.address] = segment
        return segment

    def _close_idle(self, use: int) -> None:
        """Close segments of which no tensor has made use for long, or may."""
        while self._close(self._take(lambda each: each.is_idle(use))):
            continue

    def _close(self, segment: OwnSegment | None) -> bool:
        if segment is not None:
            del self._at[segment.address]
            segment.close()
        return segment is not None


def _pool() -> SegmentPool | None:
    """Make the pool of this worker; None where batches must travel in torch's own way."""
    if sys.platform != "linux" or not releases_at_once():
        return None
    worker = get_worker_info()
    workers = 1 if worker is None else worker.num_workers
    limit = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    most = MOST if limit < 0 else limit // _SHARE_OF_DESCRIPTORS // workers
    return SegmentPool(min(MOST, most)) if most else None


_of_process = PerProcess(_pool)


def segment_pool() -> SegmentPool | None:
    """Give the pool of this worker, None where it has none."""
    return _of_process.get()
