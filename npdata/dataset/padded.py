"""A batch of samples of different lengths, padded to the longest."""

from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from torch import Tensor

from npdata.suggestions import no_attribute


class Padded(NamedTuple):
    """Samples padded to the longest: `values` (n, longest, *row shape) and `lengths` (n,) int64.

    A pair of tensors, so `values, lengths = batch` takes it apart, and `len(batch)` is 2; the
    number of samples is `batch.shape[0]`.

    Examples:
        >>> batch = npdata.Padded(torch.tensor([[5, 6], [7, 0]]), torch.tensor([2, 1]))
        >>> batch.mask()
        tensor([[ True,  True],
                [ True, False]])
        >>> batch.shape, batch.to(torch.float32).samples()
        (torch.Size([2, 2]), [tensor([5., 6.]), tensor([7.])])
    """

    values: Tensor
    lengths: Tensor

    @property
    def shape(self) -> torch.Size:
        """The shape of `values`."""
        return self.values.shape

    @property
    def dtype(self) -> torch.dtype:
        """The dtype of `values`."""
        return self.values.dtype

    @property
    def device(self) -> torch.device:
        """The device of `values`."""
        return self.values.device

    def to(self, *args: Any, **options: Any) -> "Padded":
        """Give the batch as `Tensor.to` does; a dtype changes the values alone."""
        values = self.values.to(*args, **options)
        waits = options.get("non_blocking", False)
        return Padded(values, self.lengths.to(values.device, non_blocking=waits))

    def samples(self) -> list[Tensor]:
        """Give the samples without padding, as views of `values`."""
        rows = zip(self.values, self.lengths.tolist(), strict=True)
        return [sample[:length] for sample, length in rows]

    def mask(self) -> Tensor:
        """Give a bool tensor (n, longest): True for what a sample holds, False for padding.

        `torch.nn.TransformerEncoder` wants the opposite: `src_key_padding_mask=~batch.mask()`.
        """
        places = torch.arange(self.values.shape[1], device=self.lengths.device)
        return places < self.lengths[:, None]

    if not TYPE_CHECKING:  # type: ignore[misc]

        def __getattr__(self, name: str) -> Any:
            """Raise AttributeError, which says what to write for what a tensor has."""
            words = {"attention_mask": "write batch.mask()"}
            if hasattr(Tensor, name):
                words[name] = _instead(name)
            raise no_attribute(self, name, words)

        def __mul__(self, other: Any) -> Any:
            """Raise TypeError: a tuple times a number is that tuple so many times."""
            raise TypeError(
                "a Padded is a pair of values and lengths, which no number multiplies; of the "
                "values alone write batch._replace(values=batch.values * 2)"
            )

        __rmul__ = __mul__


def _instead(name: str) -> str:
    """Say what to write for an attribute of a tensor."""
    if name in ("cuda", "cpu"):
        return f"write batch.to({name!r})"
    if isinstance(getattr(torch, name, None), torch.dtype):
        return f"write batch.to(torch.{name})"
    return f"the tensor is batch.values, with its padding: batch.values.{name}"
