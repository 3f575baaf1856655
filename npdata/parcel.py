"""How a batch travels from a DataLoader worker to the trainer: small tensors inside the message.

Idea: torch sends each tensor of a batch through a shared-memory file of its own, which costs some
hundreds of microseconds however few bytes it holds; labels fit into the message that announces
the batch. Invariant: what arrives is a plain list or dict of tensors with the same values as what
was sent, each in memory of its own. Large tensors go torch's way, untouched.
"""

from typing import Any

import torch
from torch import Tensor

MOST_BYTES = 1 << 15


class ListParcel(list[Any]):
    """A list that arrives in another process as a plain list."""

    def __reduce_ex__(self, protocol: object) -> tuple[Any, ...]:
        return _unpacked_list, ([_packed(value) for value in self],)


class DictParcel(dict[Any, Any]):
    """A dict that arrives in another process as a plain dict."""

    def __reduce_ex__(self, protocol: object) -> tuple[Any, ...]:
        return _unpacked_dict, ({name: _packed(value) for name, value in self.items()},)


def parcel(result: Any) -> Any:
    """Give `result` ready to travel: a list or dict with its small tensors in the message.

    >>> pickle.loads(pickle.dumps(parcel([torch.arange(3)])))
    [tensor([0, 1, 2])]
    """
    if type(result) is list:
        return ListParcel(result)
    return DictParcel(result) if type(result) is dict else result


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
    if type(value) is not Tensor or value.requires_grad or value.device.type != "cpu":
        return value
    return _Small(value) if value.nbytes <= MOST_BYTES else value


def _unpacked_list(values: list[Any]) -> list[Any]:
    return [value.tensor() if isinstance(value, _Small) else value for value in values]


def _unpacked_dict(values: dict[Any, Any]) -> dict[Any, Any]:
    return {
        k: value.tensor() if isinstance(value, _Small) else value for k, value in values.items()
    }
