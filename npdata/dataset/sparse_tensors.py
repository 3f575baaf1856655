"""Sparse tensors of torch made dense, and dense ones sparse, in every dtype.

Idea: torch adds up no unsigned integers of more than 8 bits, and signed ones of the same width have
the same bits. Invariant: values, dtype and columns stay as they are.
"""

import torch
from torch import Tensor

_SIGNED = {torch.uint16: torch.int16, torch.uint32: torch.int32, torch.uint64: torch.int64}


def csr_of(starts: Tensor, columns: Tensor, values: Tensor, shape: tuple[int, ...]) -> Tensor:
    """Give sparse rows of these parts, where the values lie; torch takes its default device."""
    return torch.sparse_csr_tensor(
        starts, columns, values, shape, device=values.device, check_invariants=False
    )


def dense_of(rows: Tensor) -> Tensor:
    """Give sparse rows dense."""
    kept = _as(rows, _SIGNED[rows.dtype]) if rows.dtype in _SIGNED else rows
    return kept.to_dense().view(rows.dtype)


def dense_row(rows: Tensor, index: int) -> Tensor:
    """Give one of sparse rows in CSR form dense, on one core.

    By `to_dense` 64 rows of 20,000 columns took 350 ms in place of 2 where torch had two threads,
    which waited for each other, and as long as this where it had one.
    """
    first, stop = rows.crow_indices()[index : index + 2].tolist()
    dtype = _SIGNED.get(rows.dtype, rows.dtype)
    dense = torch.zeros(rows.shape[1], dtype=dtype, device=rows.device)
    values = rows.values()[first:stop].view(dtype)
    return dense.index_add_(0, rows.col_indices()[first:stop], values).view(rows.dtype)


def sparse_of(rows: Tensor) -> Tensor:
    """Give dense rows (n, columns) in CSR form."""
    if rows.dtype not in _SIGNED:
        return rows.to_sparse_csr()
    return _as(rows.view(_SIGNED[rows.dtype]).to_sparse_csr(), rows.dtype)


def _as(rows: Tensor, dtype: torch.dtype) -> Tensor:
    """Give the same sparse rows, with their bits taken as another dtype of the same width."""
    return csr_of(rows.crow_indices(), rows.col_indices(), rows.values().view(dtype), rows.shape)
