"""How a batch travels from a DataLoader worker to the trainer: small tensors inside the message.

Idea: torch sends each tensor of a batch through a shared-memory file of its own, which costs some
hundreds of microseconds however few bytes it holds; labels fit into the message that announces
the batch. So small tensors are marked by a class that pickles them by value. Invariant: what
arrives are plain tensors with the same values, and what a worker sees are tensors in plain
containers. Large tensors, and all but plain dense ones, go torch's way.
"""

from typing import Any

import torch
from torch import Tensor

MOST_BYTES = 1 << 15


class SmallTensor(Tensor):
    """A tensor that is sent by value; every operation on it gives a plain tensor."""

    __torch_function__ = torch._C._disabled_torch_function_impl  # type: ignore[assignment]

    def __reduce_ex__(self, protocol: object) -> tuple[Any, ...]:
        plain = self.as_subclass(Tensor).contiguous()
        data = bytearray(plain.reshape(-1).view(torch.uint8).numpy())
        return _received, (data, self.dtype, tuple(self.shape))


def parcel(result: Any) -> Any:
    """Mark the small tensors of a batch; lists, tuples and dicts are gone through.

    Examples:
        >>> pickle.loads(pickle.dumps(parcel([torch.arange(3)])))
        [tensor([0, 1, 2])]
    """
    if type(result) is Tensor and result.layout == torch.strided:
        # torch sends a conjugate or negative view without its mark.
        solid = result.resolve_conj().resolve_neg()
        return solid.as_subclass(SmallTensor) if _is_small(solid) else solid
    if type(result) is dict:
        return {name: parcel(part) for name, part in result.items()}
    if type(result) in (list, tuple):
        return type(result)(parcel(part) for part in result)
    return result


def _is_small(tensor: Tensor) -> bool:
    plain = tensor.device.type == "cpu" and not tensor.is_quantized and not tensor.requires_grad
    return plain and tensor.nbytes <= MOST_BYTES


def _received(data: bytearray, dtype: torch.dtype, shape: tuple[int, ...]) -> Tensor:
    if not data:
        return torch.empty(shape, dtype=dtype)
    return torch.frombuffer(data, dtype=dtype).view(shape)
