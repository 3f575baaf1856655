"""A batch is gathered into the memory that is asked for."""

import numpy as np
import torch

import npdata
from npdata.dataset.batch_memory import allocating_from, batch_memory, plain_memory


def test_a_batch_buffer_comes_from_where_it_is_asked_for() -> None:
    given = []

    def allocate(shape: tuple[int, ...], dtype: torch.dtype) -> torch.Tensor:
        given.append((shape, dtype))
        return plain_memory(shape, dtype)

    ds = npdata.NumpyDataset(np.zeros((4, 2)), np.zeros(4, np.int8))
    allocating_from(allocate, ds.__getitems__, [1, 2])
    batch_memory()((3,), torch.int32)
    assert given == [((2, 2), torch.float64), ((2,), torch.int8)]
