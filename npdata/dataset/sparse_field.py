"""A field of sparse rows whose batches stay sparse: tensors of torch's CSR layout.

Idea: the values of a batch, their columns and the running count are what torch's layout is made of,
so that a batch is two reads and no dense row. A sample is a dense row. Invariant: a batch in dense
form is the samples, stacked.
"""

import functools
import warnings

import numpy as np
import torch
from torch import Tensor

from npdata.arrays.dtypes import Ints
from npdata.dataset.batch_memory import Allocate, memory_for_torch, plain_memory
from npdata.dataset.field import Value, row_of
from npdata.dataset.ragged_form import SPARSE, numbers_in
from npdata.dataset.rows_field import RowsField
from npdata.dataset.sparse_tensors import csr_of
from npdata.sources.base import Source
from npdata.sources.sparse import SparseSource


class SparseField(RowsField):
    """The rows of a `SparseSource`, sparse in a batch."""

    source: SparseSource
    form = SPARSE

    def __init__(self, label: str | int, source: SparseSource, dtype: object = None) -> None:
        super().__init__(label, source, dtype)
        _warn_once()  # here too: what workers send is rebuilt in this process

    def over(self, source: Source) -> RowsField:
        """Give sparse rows of another source; dense ones where it has no sparse rows."""
        if isinstance(source, SparseSource):
            return SparseField(self.label, source, self.asked)
        dense = RowsField(self.label, source, self.asked)
        dense.notes = (*self.notes, ("layout", "dense: windows have no sparse form"))
        return dense

    def row(self, index: int, *, independent: bool = False) -> Value:
        """Give row `index`, in [0, len): dense, in memory of its own."""
        return row_of(RowsField.stack(self, np.array([index]), plain_memory), 0)

    def stack(self, indices: Ints, allocate: Allocate) -> Tensor:
        """Gather rows into one sparse tensor of shape (n, columns)."""
        read, allocate = self.source.entries(indices), memory_for_torch(allocate)
        values = torch.from_numpy(read.values)
        dtype = self.rule.result or values.dtype
        wide = read.columns.dtype.itemsize > 4 or len(read.columns) >= 1 << 31
        index = torch.int64 if wide else torch.int32
        starts = numbers_in(allocate, np.append(0, np.cumsum(read.counts)), index)
        columns = numbers_in(allocate, read.columns, index)
        kept = self.cast(values, dtype, allocate)
        _warn_once()
        return csr_of(starts, columns, kept, (len(indices), self.source.shape[1]))


@functools.cache
def _warn_once() -> None:
    """Have torch say once, unheard, that its sparse layout is young and not checked."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        zero = torch.zeros(1, dtype=torch.int64, device="cpu")
        torch.sparse_csr_tensor(
            torch.arange(2, device="cpu"), zero, torch.zeros(1, device="cpu"), (1, 1), device="cpu"
        )
