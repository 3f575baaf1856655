"""Sparse tensors of torch made dense, and dense ones sparse, in every dtype.

Idea: torch adds up no unsigned integers of more than 8 bits, and signed ones of the same width have
the same bits. Invariant: values, dtype and columns stay as they are.
"""

import torch
from torch import Tensor

_SIGNED = {torch.uint16: torch.int16, torch.uint32: torch.int32, torch.uint64: torch.int64}


def dense_of(rows: Tensor, index: int | None = None) -> Tensor:
    """Give sparse rows dense, or only the row `index` of those in CSR form."""
    kept = _as(rows, _SIGNED[rows.dtype]) if rows.dtype in _SIGNED else rows
    return (kept if index is None else kept[index]).to_dense().view(rows.dtype)


def sparse_of(rows: Tensor) -> Tensor:
    """Give dense rows (n, columns) in CSR form."""
    if rows.dtype not in _SIGNED:
        return rows.to_sparse_csr()
    return _as(rows.view(_SIGNED[rows.dtype]).to_sparse_csr(), rows.dtype)


def _as(rows: Tensor, dtype: torch.dtype) -> Tensor:
    """Give the same sparse rows, with their bits taken as another dtype of the same width."""
    return torch.sparse_csr_tensor(
        rows.crow_indices(),
        rows.col_indices(),
        rows.values().view(dtype),
        rows.shape,
        check_invariants=False,
    )
