"""Small tensors that a worker sends inside its message, and not as files in shared memory.

Idea: torch pickles a tensor as the name of its memory; a subclass pickles itself as its bytes.
Invariant: what arrives are plain tensors of the same values, shapes and dtypes.
"""

from typing import Any

import torch
from torch import Tensor

MOST_BYTES = 1 << 15
"""So many bytes travel inside the message: a file in shared memory costs some hundreds of µs."""


class SmallTensor(Tensor):
    """A tensor that is sent by value; every operation on it gives a plain tensor."""

    __torch_function__ = torch._C._disabled_torch_function_impl  # type: ignore[assignment]

    def __reduce_ex__(self, protocol: object) -> tuple[Any, ...]:
        plain = self.as_subclass(Tensor).contiguous()
        data = bytearray(plain.reshape(-1).view(torch.uint8).numpy())
        return _received, (data, self.dtype, tuple(self.shape))


def inline_small_tensors(result: Any) -> Any:
    """Mark the small tensors of a batch; lists, tuples and dicts are gone through.

    Examples:
        >>> pickle.loads(pickle.dumps(inline_small_tensors([torch.arange(3)])))
        [tensor([0, 1, 2])]
    """
    if type(result) is Tensor and result.layout == torch.strided:
        # torch sends a conjugate or negative view without its mark.
        solid = result.resolve_conj().resolve_neg()
        plain = solid.device.type == "cpu" and not solid.is_quantized and not solid.requires_grad
        return solid.as_subclass(SmallTensor) if plain and solid.nbytes <= MOST_BYTES else solid
    if type(result) is dict:
        return {name: inline_small_tensors(part) for name, part in result.items()}
    if isinstance(result, tuple) and hasattr(result, "_fields"):
        return type(result)(*(inline_small_tensors(part) for part in result))
    if type(result) in (list, tuple):
        return type(result)(inline_small_tensors(part) for part in result)
    return result


def _received(data: bytearray, dtype: torch.dtype, shape: tuple[int, ...]) -> Tensor:
    if not data:
        return torch.empty(shape, dtype=dtype, device="cpu")
    return torch.frombuffer(data, dtype=dtype).view(shape)
