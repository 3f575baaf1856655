"""A field whose rows lie on a device: a batch is one `index_select` there.

Idea: the rows are held as they are stored, which is small, and cast batch by batch as the field
says. Invariant: a batch has the values that the field itself gives, in rows of the same numbers.
Everything is done in the stream that is current; it reads no file.
"""

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from npdata.arrays.convert import cast_to
from npdata.arrays.dtypes import Ints, torch_dtype
from npdata.arrays.gather import SIGNED
from npdata.dataset.batch_memory import Allocate, pins_memory
from npdata.dataset.field import Field
from npdata.dataset.rows_field import RowsField
from npdata.errors import ConversionError
from npdata.sources.derived.chosen_rows import ChosenRows
from npdata.sources.derived.subset import Places
from npdata.sources.derived.windows import WindowSource


def words_of(field: RowsField) -> torch.dtype:
    """Give the dtype that the rows of a field of numbers have on a device, of the same bits.

    `index_select` lacks unsigned words but bytes, and the small floats.

    Examples:
        >>> words_of(RowsField(0, npdata.open_source(np.zeros(3, np.uint16))))
        torch.int16
    """
    carrier = field.rule.carrier
    assert carrier is not None  # as of all numbers
    return torch_dtype(SIGNED.get(carrier.name, carrier.name))


class DeviceField(Field):
    """The samples of `field`, of numbers, whose rows `rows` holds, in `words_of(field)`.

    For a field of windows, or of chosen rows, `rows` are those that it is made of. `places` says
    where the rows lie if they are a part.
    """

    def __init__(self, field: RowsField, rows: Tensor, places: Places | None) -> None:
        super().__init__(field.label, field.source, field.asked)
        self._rows = rows
        self._places = places

    @property
    def plain(self) -> bool:
        """A batch is one tensor."""
        return True

    def stack(self, indices: Ints, allocate: Allocate) -> Tensor:
        """Gather rows into a new tensor on the device, where `allocate` has no memory."""
        rule, source, zeros = self.rule, self.source, None
        shape = (len(indices), *source.shape[1:])
        if isinstance(source, WindowSource):
            rows, zeros = source.rows_of(indices)
            source, indices = source.rows, rows.reshape(-1)
        if isinstance(source, ChosenRows):
            indices = source.numbers[indices]
        if self._places is not None:
            indices = self._places.of(indices)
        device = self._rows.device
        taken = self._rows.index_select(0, _sent(indices, device)).view(shape)
        if zeros is not None:
            row = (1,) * (len(shape) - zeros.ndim)
            taken.masked_fill_(_sent(zeros, device).view(*zeros.shape, *row), 0)
        values = taken if rule.tensor in (None, taken.dtype) else taken.view(rule.tensor)
        try:
            return values if rule.cast is None else cast_to(values, rule.cast)
        except ConversionError as error:
            raise self.lost(error) from None


def _sent(array: NDArray[Any], device: torch.device) -> Tensor:
    """Send an array to a device; from pinned memory the caller need not wait until it is there."""
    plain = torch.from_numpy(np.ascontiguousarray(array))
    if device.type == "cpu" or not pins_memory():
        return plain.to(device)
    return plain.pin_memory().to(device, non_blocking=True)
