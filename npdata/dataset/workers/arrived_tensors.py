"""Tensors that arrived from workers, in segments which this process has mapped.

Idea: a segment is mapped when it comes for the first time, and stays so for as long as its worker
is known. Which tensors were dropped is looked at whenever another one arrives from the same worker.
Invariant: the worker learns that it may use the memory again only when nothing refers to the tensor
any more, and never where a process was forked that may still have it.
"""

import multiprocessing
import os
import weakref
from multiprocessing.process import BaseProcess
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.utils.data._utils import MP_STATUS_CHECK_INTERVAL

from npdata.dataset.workers.segment import GONE, LOST, MAPPED, RELEASED, Segment, tensor_over
from npdata.errors import ForkError
from npdata.runtime.per_process import this_process
from npdata.runtime.references import is_unused
from npdata.runtime.undisturbed import undisturbed


class Place(NamedTuple):
    """Where the memory of a tensor is: `nbytes` of a segment of the worker with this token.

    The worker has the process `process`; `flag` is to be set when the tensor is dropped.
    """

    process: int
    token: bytes
    number: int
    flag: int
    nbytes: int


class _Held(NamedTuple):
    """Memory that is held for a tensor, which arrived after so many `forks`."""

    segment: Segment
    flag: int
    forks: int | None
    memory: list[Any]

    def release(self) -> None:
        """Set the flag: nothing refers to the tensor any more."""
        alone = this_process.is_alone_since(self.forks)
        self.segment.flags[self.flag] = RELEASED if alone else LOST


class Arrivals:
    """What has arrived from one worker: its segments, and the memory of tensors."""

    def __init__(self) -> None:
        self.segments: dict[int, Segment] = {}
        self._held: dict[tuple[int, int], _Held] = {}

    def hold(self, place: Place, segment: Segment) -> Any:
        """Give the memory of a tensor, which the worker does not touch until it is dropped."""
        memory = [segment.memory(place.nbytes)]
        held = _Held(segment, place.flag, this_process.forks(), memory)
        self._held[place.number, place.flag] = held
        return memory[0]

    def release(self) -> None:
        """Release the memory of tensors that were dropped, and forget segments not used any more.

        What is held is taken out first: an interrupt may leave a flag unset, and sets none twice,
        nor does another thread, which reads what the worker sends through a queue of its own.
        """
        for key in list(self._held):  # C lists keys in one step; to list items, it makes tuples
            held = self._held.get(key)
            unused = held is not None and is_unused(held.memory)
            if unused and (taken := self._held.pop(key, None)) is not None:
                taken.release()
        for number in list(self.segments):
            segment = self.segments.get(number)
            if segment is not None and segment.flags[GONE]:
                self.segments.pop(number, None)


_by_token: "weakref.WeakValueDictionary[bytes, Arrivals]" = weakref.WeakValueDictionary()
_of_worker: "weakref.WeakKeyDictionary[BaseProcess, Arrivals]" = weakref.WeakKeyDictionary()
"""Goes with the iterator of the DataLoader, which has the processes."""


def _arrivals(place: Place) -> Arrivals | None:
    """Give what has arrived from a worker; None in a process that is not its parent."""
    found = _by_token.get(place.token)
    if found is None:
        worker = _worker(place)
        if worker is None:
            return None
        found = _by_token[place.token] = _of_worker.setdefault(worker, Arrivals())
    return found


def _worker(place: Place) -> BaseProcess | None:
    """Give the worker; None where it has ended, or another process started it."""
    for each in multiprocessing.active_children():
        if each.pid == place.process:  # a generator would swallow an interrupt when it is dropped
            return each
    return None


def _segment_of(handle: Any, known: Segment | None) -> Segment:
    descriptor = handle.detach()
    try:
        return known or Segment(descriptor)
    finally:
        os.close(descriptor)


def arrived(
    place: Place,
    handle: Any,
    dtype: torch.dtype,
    shape: tuple[int, ...],
    stride: tuple[int, ...],
    offset: int,
) -> Tensor:
    """Give the tensor at a place; `handle` brings a segment that the parent may not have yet."""
    arrivals = _arrivals(place)
    segment = None
    if arrivals is not None:
        arrivals.release()
        segment = arrivals.segments.get(place.number)
    if handle is not None:
        try:
            # No interrupt leaves a descriptor open.
            segment = undisturbed(_segment_of, handle, segment)
        except (ConnectionError, FileNotFoundError, EOFError):
            # A killed worker closes its socket before it has ended, and then torch names it.
            if (worker := _worker(place)) is not None:
                worker.join(MP_STATUS_CHECK_INTERVAL)
            raise
    if segment is None:
        raise ForkError(
            f"a batch of the DataLoader worker {place.process} arrived in process {os.getpid()}, "
            "which is not the one that started the worker: iterate over the DataLoader where it "
            "was started"
        )
    if arrivals is None:
        memory = segment.memory(place.nbytes)
    else:
        arrivals.segments[place.number] = segment
        segment.flags[MAPPED] = 1
        memory = arrivals.hold(place, segment)
    return tensor_over(memory, dtype, shape, stride, offset)
