"""Batches on their way to an accelerator: copied on a stream of their own, while it computes.

Idea: the copy is put on a side stream and followed by an event; the stream that computes waits
for the event, not the program. Pinned memory that is still being copied from is kept by
torch's allocator, which knows the copies; `record_stream` says likewise that the batch on the
device is used by another stream than the one that made it. Invariant: a batch is handed out with
the wait in the stream that is then current, so it is never seen half copied. It reads no rows.
"""

import contextlib
import functools
from collections.abc import Callable, Iterable, Iterator, Sized
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from npdata.dataset.nested import buffers_of, map_tensors
from npdata.dataset.sparse_tensors import csr_of
from npdata.errors import DeviceError
from npdata.loading.cast import DTypes, cast
from npdata.runtime.machine import accelerator
from npdata.suggestions import explained


def accelerator_of(device: str | torch.device | None) -> torch.device | None:
    """Give the accelerator that `device` names, with its index; None for the CPU.

    Raises `DeviceError` (a RuntimeError) for what is no device or is not there.

    Examples:
        >>> accelerator_of("cpu") is None
        True
    """
    if device is None:
        return None
    try:
        wanted = torch.device(device)
    except (RuntimeError, TypeError) as error:
        cure = 'write device="cuda"' if device == "gpu" else str(error)
        raise DeviceError(f"device={device!r} is no device of torch: {cure}") from None
    if wanted.type == "cpu":
        return None
    found = accelerator()
    if found is None or found.type != wanted.type:
        there = f"its accelerator is {found.type!r}" if found else "it sees no accelerator"
        raise DeviceError(
            f"device={str(wanted)!r} is not on this machine, as torch {torch.__version__} finds "
            f"it: {there}; leave device out for batches in memory"
        )
    index = torch.accelerator.current_device_index() if wanted.index is None else wanted.index
    count = torch.accelerator.device_count()
    if not 0 <= index < count:
        raise DeviceError(f"device={str(wanted)!r}: there are {count}, numbered from 0")
    return torch.device(wanted.type, index)


def lacks(device: torch.device, dtype: torch.dtype | None) -> bool:
    """Tell whether no tensor on the device has this dtype: MPS has no floats of 64 bits.

    Examples:
        >>> lacks(torch.device("mps"), torch.float64), lacks(torch.device("mps"), torch.int64)
        (True, False)
    """
    return device.type == "mps" and dtype in (torch.float64, torch.complex128)


@dataclass(frozen=True, kw_only=True)
class Sent:
    """A batch whose copy was begun, and the event after which it is there; None: it is there."""

    batch: Any
    event: torch.Event | None


class Sender:
    """Copies batches to `device`, an accelerator, on one side stream; for several threads.

    `finish` is applied to batches there, and all casts follow it. Without `aside` it is all done in
    the stream that is current, for batches that were made there.
    """

    def __init__(
        self,
        device: torch.device,
        dtype: DTypes = None,
        *,
        finish: Callable[[Any], Any] | None = None,
        aside: bool = True,
    ) -> None:
        self.device = device
        self._dtype = dtype
        self.finish = finish
        # MPS has one stream, on which everything is in order.
        self._side = torch.Stream(device) if aside and device.type != "mps" else None

    def send(self, fields: Any, mask: tuple[Tensor, ...] = ()) -> Sent:
        """Begin the copy of a batch, with its mask if it has one, and the casts that follow."""
        with self._on_side():
            there, *masks = map_tensors(self._copy, (fields, *mask))
            if self.finish is None:
                there = cast(there, self._dtype, growing=True)
            else:
                there = cast(self.finish(there), self._dtype)
            event = self._side.record_event() if self._side else None
            return Sent(batch=(there, *masks) if masks else there, event=event)

    def _copy(self, tensor: Tensor) -> Tensor:
        if lacks(self.device, tensor.dtype):
            raise DeviceError(
                f"values of {tensor.dtype} and shape {tuple(tensor.shape)} are in the batch, and "
                f"{self.device} has none of that dtype: cast their field before, by "
                "dtype={FIELD: torch.float32} of the Loader, or of the NumpyDataset"
            )
        if tensor.layout != torch.sparse_csr:
            return tensor.to(self.device, non_blocking=self._side is not None)
        starts, columns, values = map(self._copy, buffers_of(tensor))
        return csr_of(starts, columns, values, tensor.shape)

    def receive(self, sent: Sent) -> Any:
        """Give the batch to the stream that is current, which waits for it."""
        if sent.event is not None:
            stream = torch.accelerator.current_stream(self.device)
            stream.wait_event(sent.event)
            map_tensors(functools.partial(_use_on, stream), sent.batch)
        return sent.batch

    @contextlib.contextmanager
    def _on_side(self) -> Iterator[None]:
        if self._side is None:
            yield
            return
        index = torch.accelerator.current_device_index()
        before = torch.accelerator.current_stream(self.device)

        def put_back() -> None:
            torch.accelerator.set_stream(before)
            torch.accelerator.set_device_index(index)

        try:
            try:
                torch.accelerator.set_stream(self._side)
                yield
            finally:
                put_back()
        except BaseException:
            put_back()  # an interrupt may have come in the midst of it
            raise


class _OnDevice:
    """An iterable of batches, each sent while the one before it is used."""

    def __init__(self, batches: Iterable[Any], device: torch.device) -> None:
        self._batches = batches
        self._device = device

    def __len__(self) -> int:
        if not isinstance(self._batches, Sized):
            raise TypeError(f"{type(self._batches).__name__} has no len()")
        return len(self._batches)

    def __iter__(self) -> Iterator[Any]:
        sender = Sender(self._device)
        ahead: Sent | None = None
        for batch in self._batches:
            sent = sender.send(batch)
            if ahead is not None:
                yield sender.receive(ahead)
            ahead = sent
        if ahead is not None:
            yield sender.receive(ahead)


@explained({"non_blocking": "copies do not block where they need not: leave it out"})
def to_device(iterable: Iterable[Any], device: str | torch.device) -> Iterable[Any]:
    """Give the batches of `iterable`, any DataLoader, on `device`, copied one batch ahead.

    Tensors inside lists, tuples and dicts are moved, everything else is handed on. Copies overlap
    with the computation where batches are in pinned memory: `DataLoader(pin_memory=True)`,
    or `collate_fn=npdata.collate` without workers. For the CPU it gives `iterable` itself.

    A batch is taken while the one before it is used, so a state that a loader gives inside the
    loop is one batch too far: to resume, use `Loader(device=)`, which counts what it has given.

    Raises:
        DeviceError: a RuntimeError, for a device that is not there.

    Examples:
        >>> batches = [torch.zeros(3)]
        >>> npdata.to_device(batches, "cpu") is batches
        True
    """
    accelerator = accelerator_of(device)
    return iterable if accelerator is None else _OnDevice(iterable, accelerator)


def _use_on(stream: torch.Stream, tensor: Tensor) -> None:
    for buffer in buffers_of(tensor):
        buffer.record_stream(stream)
