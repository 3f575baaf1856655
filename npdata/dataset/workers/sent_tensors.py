"""Tensors that a worker sends: small ones inside its message, others in segments.

Idea: torch sends a tensor as the name of its memory, which the parent then maps. A subclass is sent
as its bytes, or as its place in a segment that the parent has mapped before. Invariant: what
arrives are plain tensors of the same values, shapes and dtypes, with their axes in the same order
in memory.
"""

import os
from multiprocessing.reduction import DupFd, ForkingPickler
from typing import Any

import torch
from torch import Tensor
from torch.multiprocessing.reductions import reduce_tensor

from npdata.dataset.workers.arrived_tensors import Place, arrived
from npdata.dataset.workers.segment import keeps_memory, tensor_over
from npdata.dataset.workers.segment_pool import SENT_INSIDE, segment_pool


class SentTensor(Tensor):
    """A tensor with a short way to the parent; every operation on it gives a plain tensor.

    It is copied, and pickled to a file, as any tensor is.
    """

    __torch_function__ = torch._C._disabled_torch_function_impl  # type: ignore[assignment]

    def __deepcopy__(self, memo: Any) -> Any:
        return self._plain().__deepcopy__(memo)  # type: ignore[no-untyped-call]

    def __reduce_ex__(self, protocol: Any) -> Any:
        return self._plain().__reduce_ex__(protocol)  # type: ignore[no-untyped-call]

    def _plain(self) -> Tensor:
        return self.detach().as_subclass(Tensor).requires_grad_(self.requires_grad)


def ready_to_send(result: Any) -> Any:
    """Mark the tensors of a batch for their way; lists, tuples and dicts are gone through.

    Examples:
        >>> pickle.loads(pickle.dumps(ready_to_send([torch.arange(3)])))
        [tensor([0, 1, 2])]
    """
    if type(result) is Tensor and result.layout == torch.strided:
        # torch sends a conjugate or negative view without its mark.
        solid = result.resolve_conj().resolve_neg()
        plain = solid.device.type == "cpu" and not solid.is_quantized and not solid.requires_grad
        return _marked(solid) if plain and not solid.is_nested else solid
    if type(result) is dict:
        return {name: ready_to_send(part) for name, part in result.items()}
    if isinstance(result, tuple) and hasattr(result, "_fields"):
        return type(result)(*(ready_to_send(part) for part in result))
    if type(result) in (list, tuple):
        return type(result)(ready_to_send(part) for part in result)
    return result


def _marked(tensor: Tensor) -> Tensor:
    if tensor.nbytes < SENT_INSIDE:
        # Arrays of it stay as they are when the worker sends a view, whose memory torch moves.
        if tensor.nbytes and not keeps_memory(tensor):
            memory = bytearray(tensor.nbytes)
            tensor = _copied(tensor, tensor_over(memory, tensor.dtype, tuple(tensor.shape)))
        return tensor.as_subclass(SentTensor)
    pool = segment_pool()
    if pool is None:
        return tensor
    if pool.holding(tensor) is None:
        storage = tensor.untyped_storage()
        if storage.is_shared() or storage.nbytes() < tensor.nbytes:
            return tensor  # torch copies nothing, or less
        copy = pool.tensor(tuple(tensor.shape), tensor.dtype)
        if copy is None:
            return tensor
        tensor = _copied(tensor, copy)
    return tensor.as_subclass(SentTensor)


def _copied(tensor: Tensor, memory: Tensor) -> Tensor:
    """Copy it into other memory without gaps, where its axes lie in the same order."""
    stride = tensor.stride()
    if not tensor.is_contiguous():
        stride = torch.empty_like(tensor, device="meta").stride()
    return memory.as_strided(tensor.shape, stride).copy_(tensor)


def _reduced(sent: SentTensor) -> Any:
    """Give what a tensor is made of in the parent: its bytes, or a place in a segment."""
    if sent.requires_grad:  # since it was marked
        return reduce_tensor(sent)  # type: ignore[no-untyped-call]
    tensor = sent.as_subclass(Tensor)
    if tensor.nbytes < SENT_INSIDE:
        return _reduced_inside(tensor)
    pool = segment_pool()
    segment = None if pool is None else pool.holding(tensor)
    flag = None if segment is None else segment.next_flag()
    if pool is None or segment is None or flag is None:
        return reduce_tensor(tensor)  # type: ignore[no-untyped-call]
    handle = None if segment.is_mapped else DupFd(segment.descriptor)
    place = Place(os.getpid(), pool.token, segment.number, flag, tensor.untyped_storage().nbytes())
    view = tuple(tensor.shape), tensor.stride(), tensor.storage_offset()
    return arrived, (place, handle, tensor.dtype, *view)


ForkingPickler.register(SentTensor, _reduced)


def _reduced_inside(tensor: Tensor) -> Any:
    dense = tensor if tensor.is_contiguous() else tensor.clone()  # its axes in the same order
    data = bytearray(dense.as_strided((dense.numel(),), (1,)).view(torch.uint8).numpy())
    return _received, (data, dense.dtype, tuple(dense.shape), dense.stride())


def _received(
    data: bytearray, dtype: torch.dtype, shape: tuple[int, ...], stride: tuple[int, ...]
) -> Tensor:
    if not data:
        return torch.empty_strided(shape, stride, dtype=dtype, device="cpu")
    return tensor_over(data, dtype, shape, stride)
