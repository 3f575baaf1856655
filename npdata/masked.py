"""Row numbers of which the last ones are filler, so that every rank has as many as the others.

Idea: with `uneven="mask"` a sampler hands out this instead of a plain array. It reads like a
sequence of row numbers (and as an array through `numpy.asarray`), so every dataset can read the
batch, and one that knows it adds `mask` to the batch. Invariant: filler rows are valid rows and
come last. It holds no data.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import overload

import numpy as np
from numpy.typing import DTypeLike, NDArray

from npdata.errors import SamplerError


@dataclass(frozen=True, kw_only=True, eq=False)
class MaskedRows:
    """int64 rows, the last `filler` of them there only to fill the batch.

    Examples:
        >>> batch = MaskedRows(rows=np.array([7, 9, 9]), filler=1)
        >>> list(batch), batch.mask.tolist()
        ([7, 9, 9], [True, True, False])
    """

    rows: NDArray[np.int64]
    filler: int

    @property
    def mask(self) -> NDArray[np.bool_]:
        """True for the rows that count: bool, as long as `rows`."""
        return np.arange(len(self.rows)) < len(self.rows) - self.filler

    def __len__(self) -> int:
        return len(self.rows)

    @overload
    def __getitem__(self, index: int) -> int: ...
    @overload
    def __getitem__(self, index: slice) -> "MaskedRows": ...
    def __getitem__(self, index: int | slice) -> "int | MaskedRows":
        """Give a row number, or for a slice its rows with their filler, which must stay last."""
        if not isinstance(index, slice):
            return int(self.rows[index])
        mask = self.mask[index]
        filler = int(np.count_nonzero(~mask))
        if not mask[: len(mask) - filler].all():
            raise SamplerError(f"{index} puts filler before other rows: slice forwards")
        return MaskedRows(rows=self.rows[index], filler=filler)

    def __iter__(self) -> Iterator[int]:
        return iter(self.rows.tolist())

    def __array__(
        self, dtype: DTypeLike | None = None, copy: bool | None = None
    ) -> NDArray[np.int64]:
        return np.array(self.rows, dtype=dtype, copy=copy)
