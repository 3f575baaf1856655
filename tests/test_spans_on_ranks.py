"""Each span comes once on one to four ranks, with its values, also where other ranks go on."""

import copy
import itertools
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest
import scipy.sparse
import spans
import torch
from few import few
from hypothesis import given
from hypothesis import strategies as st
from kinds import ROWS, Data

import npdata
from npdata import BlockBatchSampler, Loader, NumpyDataset

SOURCES = {"mapped": "x.npy", "decoded": "d.h5::packed"}
EDGES = np.array([0, 3, 3, 10, 11, 11, 40, 41, 52, 60, 61, 75, 76, 90, ROWS])
Made = tuple[Any, list[np.ndarray]]


def windows(data: Data, name: str, edge: str, stride: int) -> Made:
    """Windows of three rows around every anchor."""
    offsets = range(-1, 2)
    ds = NumpyDataset(f"{data.folder}/{name}").windows(
        offsets, borders=EDGES, edge=edge, stride=stride
    )
    recordings = np.unique(EDGES).tolist()
    made = spans.windows(recordings, offsets, stride, edge)
    return ds, [spans.values(data.x, window, edge) for window in made]


def ragged(data: Data, name: str) -> Made:
    """Samples of different lengths, also of none."""
    values = npdata.ragged(f"{data.folder}/{name}", offsets=EDGES)
    return NumpyDataset(values), [data.x[a:b] for a, b in itertools.pairwise(EDGES)]


def sparse(layout: str) -> Made:
    """Sparse rows, also with no number."""
    dense = np.random.default_rng(0).integers(0, 3, (50, 7)).astype(np.float32)
    dense[[3, 49]] = 0
    m = scipy.sparse.csr_matrix(dense)
    return NumpyDataset(npdata.csr(m.data, m.indices, m.indptr, m.shape), layout=layout), [*dense]


MADE: dict[str, Callable[[Data], Made]] = {
    **{
        f"windows, {source}, {edge}, stride {stride}": (
            lambda data, name=name, edge=edge, stride=stride: windows(data, name, edge, stride)
        )
        for source, name in SOURCES.items()
        for edge, stride in [("drop", 1), ("repeat", 2), ("zero", 1)]
    },
    **{
        f"ragged, {source}, {by}": (lambda data, name=name: ragged(data, name))
        for source, name in SOURCES.items()
        for by in ("batch_size", "max_rows")
    },
    "sparse, dense": lambda data: sparse("dense"),
    "sparse, csr": lambda data: sparse("csr"),
}


def parts_of(batch: Any) -> list[np.ndarray]:
    """The spans of a batch one by one, without padding."""
    if isinstance(batch, npdata.Padded):
        pairs = zip(batch.values, batch.lengths.tolist(), strict=True)
        return [values[:length].numpy() for values, length in pairs]
    dense = batch.to_dense() if batch.layout == torch.sparse_csr else batch
    return [*dense.numpy()]


def go_on(
    ds: NumpyDataset, state: Any, size: dict[str, int], world: int, steps: int | None
) -> tuple[list[tuple[int, np.ndarray]], Any]:
    """All ranks from a state on: the spans that came, with their numbers, and the state then."""
    came, states = [], []
    for rank in range(world):
        sampler = BlockBatchSampler(
            ds, **size, seed=5, rank=rank, world_size=world, uneven="ragged", window_blocks=2
        )
        if state is not None:
            sampler.load_state_dict(state)
        numbers, loader = list(copy.copy(sampler)), Loader(ds, sampler=sampler)
        for batch, rows in zip(itertools.islice(loader, steps), numbers, strict=steps is None):
            came += zip(rows.tolist(), parts_of(batch), strict=True)
        states.append(loader.state_dict())
    return came, states[0]  # rank 0 has a batch wherever any rank has one


@pytest.mark.parametrize("kind", MADE)
def test_each_span_comes_once_where_other_ranks_go_on(kind: str, data: Data) -> None:
    ds, expected = MADE[kind](data)
    assert len(ds) == len(expected)
    leg = st.tuples(st.integers(1, 9), st.integers(1, 4), st.integers(1, 4))

    @few(kind)
    @given(st.lists(leg, max_size=3), st.integers(1, 4))
    def check(legs: Sequence[tuple[int, int, int]], last: int) -> None:
        state, came = None, []
        for batch_size, world, steps in [*legs, (4, last, None)]:
            if state is not None and state["epoch"]:
                break
            size = {"max_rows": 60} if "max_rows" in kind else {"batch_size": batch_size}
            more, state = go_on(ds, state, size, world, steps)
            came += more
        assert sorted(number for number, _ in came) == list(range(len(ds)))
        for number, span in came:
            np.testing.assert_array_equal(span, expected[number])

    check()
