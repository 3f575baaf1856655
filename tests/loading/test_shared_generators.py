"""A transform that draws from a generator of the whole process, on threads, is warned of."""

import random

import numpy as np
import pytest
import torch

from npdata import Loader, NumpyDataset
from npdata.errors import RandomnessWarning

DRAWS = {
    "torch": lambda sample: sample + torch.rand(()),
    "NumPy": lambda sample: sample + np.random.rand(),
    "random": lambda sample: sample + random.random(),
}


@pytest.mark.parametrize("name", DRAWS)
@pytest.mark.parametrize("option", ["transform", "batch_transform"])
def test_it_is_named(name: str, option: str) -> None:
    ds = NumpyDataset(np.arange(40), **{option: DRAWS[name]})
    with pytest.warns(RandomnessWarning, match=rf"\(that of {name}\)") as found:
        list(Loader(ds, 4, num_threads=2))
    assert len(found) == 1


def test_several_are_named() -> None:
    ds = NumpyDataset(np.arange(4), transform=lambda s: DRAWS["torch"](DRAWS["NumPy"](s)))
    with pytest.warns(RandomnessWarning, match="that of torch and that of NumPy"):
        list(Loader(ds, 4, num_threads=1))


@pytest.mark.parametrize("draw", DRAWS.values())
def test_without_threads_it_is_as_in_a_data_loader(draw: object) -> None:
    def epoch() -> list[float]:
        torch.manual_seed(0), np.random.seed(0), random.seed(0)
        ds = NumpyDataset(np.arange(40), transform=draw)
        return torch.cat(list(Loader(ds, 4, num_threads=0))).tolist()

    assert epoch() == epoch()


def test_a_loop_that_draws_is_not_meant() -> None:
    ds = NumpyDataset(np.arange(400), transform=lambda s, rng: s + rng.random())
    for _ in Loader(ds, 4, num_threads=2):
        torch.rand(3), np.random.rand(), random.random()
