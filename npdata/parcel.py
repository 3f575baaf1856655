"""How a batch travels from a DataLoader worker to the trainer: small tensors inside the message.

Idea: torch sends each tensor of a batch through a shared-memory file of its own, which costs some
hundreds of microseconds however few bytes it holds; labels fit into the message that announces
the batch. Invariant: what arrives is plain containers of tensors with the same values as what
was sent, each in memory of its own. Large tensors go torch's way, untouched.
"""

from typing import Any

import torch
from torch import Tensor

MOST_BYTES = 1 << 15


class ListParcel(list[Any]):
    """A list that arrives in another process as a plain list."""

    def __reduce_ex__(self, protocol: object) -> tuple[Any, ...]:
        return _unpacked, (_packed(list(self)),)


class DictParcel(dict[Any, Any]):
    """A dict that arrives in another process as a plain dict."""

    def __reduce_ex__(self, protocol: object) -> tuple[Any, ...]:
        return _unpacked, (_packed(dict(self)),)


class TupleParcel(tuple[Any, ...]):
    """A tuple that arrives in another process as a plain tuple."""

    __slots__ = ()

    def __reduce_ex__(self, protocol: object) -> tuple[Any, ...]:
        return _unpacked, (_packed(tuple(self)),)


_PARCELS: dict[type, type] = {list: ListParcel, dict: DictParcel, tuple: TupleParcel}


def parcel(result: Any) -> Any:
    """Give `result` ready to travel: a list, dict or tuple with its small tensors in the message.

    Examples:
        >>> pickle.loads(pickle.dumps(parcel([torch.arange(3)])))
        [tensor([0, 1, 2])]
    """
    kind = _PARCELS.get(type(result))
    return result if kind is None else kind(result)


class _Small:
    """A small tensor's bytes, in place of the tensor."""

    def __init__(self, tensor: Tensor) -> None:
        self.dtype = tensor.dtype
        self.shape = tuple(tensor.shape)
        self.data = bytearray(tensor.contiguous().reshape(-1).view(torch.uint8).numpy())

    def tensor(self) -> Tensor:
        if not self.data:
            return torch.empty(self.shape, dtype=self.dtype)
        return torch.frombuffer(self.data, dtype=self.dtype).view(self.shape)


def _packed(value: Any) -> Any:
    if type(value) is Tensor and value.nbytes <= MOST_BYTES:
        plain = value.device.type == "cpu" and not value.requires_grad
        return _Small(value) if plain and value.layout == torch.strided else value
    return _mapped(_packed, value)


def _unpacked(value: Any) -> Any:
    return value.tensor() if isinstance(value, _Small) else _mapped(_unpacked, value)


def _mapped(function: Any, value: Any) -> Any:
    if type(value) is dict:
        return {name: function(part) for name, part in value.items()}
    if type(value) in (list, tuple):
        return type(value)(function(part) for part in value)
    return value
