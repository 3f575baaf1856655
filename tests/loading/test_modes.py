"""A function of the user finds the modes of the loop, whichever thread calls it."""

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from contextvars import ContextVar
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from npdata import Loader, NumpyDataset
from npdata.loading.modes import Modes

_own = ContextVar("own", default=0)


class _Own(AbstractContextManager[None]):
    """A context variable of the user."""

    def __enter__(self) -> None:
        self._token = _own.set(7)

    def __exit__(self, *_: object) -> None:
        _own.reset(self._token)


MODES: dict[str, Callable[[], AbstractContextManager[Any]]] = {
    "none": nullcontext,
    "no gradients": torch.no_grad,
    "inference": torch.inference_mode,
    "autocast": lambda: torch.autocast("cpu", torch.bfloat16),
    "autocast to half": lambda: torch.autocast("cpu", torch.float16),
    "no autocast": lambda: torch.autocast("cpu", enabled=False),
    "default device": lambda: torch.device("meta"),
    "errors of NumPy": lambda: np.errstate(divide="raise"),
    "a variable": _Own,
}


def _found() -> tuple[object, ...]:
    casts = torch.is_autocast_enabled("cpu")
    return (
        torch.is_grad_enabled(),
        torch.get_autocast_dtype("cpu") if casts else None,
        torch.zeros(0).device,
        np.geterr(),
        _own.get(),
    )


@pytest.mark.parametrize("threads", ["auto", 0, 2])
@pytest.mark.parametrize("mode", MODES)
def test_transforms_find_the_modes_of_the_loop(mode: str, threads: Any) -> None:
    found = []

    def look(values: Tensor) -> Tensor:
        found.append(_found())
        return values

    data = NumpyDataset(np.zeros((60, 2)), batch_transform=look)
    before = _found()
    with MODES[mode]():
        assert len(list(Loader(data, 4, num_threads=threads))) == 15
        expected = _found()
    assert found == [expected] * 15
    assert _found() == before


def test_a_model_in_a_transform_makes_no_graph_in_a_loop_without_gradients() -> None:
    data = NumpyDataset(np.ones((60, 2), np.float32), batch_transform=torch.nn.Linear(2, 3))
    with torch.no_grad():
        assert not any(batch.requires_grad for batch in Loader(data, 4, num_threads=2))
    assert all(batch.requires_grad for batch in Loader(data, 4, num_threads=2))


def test_batches_made_ahead_in_inference_mode_can_train_outside_of_it() -> None:
    batches = iter(Loader(NumpyDataset(np.ones((60, 2), np.float32)), 4, num_threads=2))
    weight = torch.ones((), requires_grad=True)
    with torch.inference_mode():
        next(batches)
    for batch in batches:
        batch.mul_(2).mul(weight).sum().backward()


def test_threads_may_be_in_the_same_modes_at_once() -> None:
    with torch.no_grad():
        modes = Modes.here()
    assert modes.run(modes.run, torch.is_grad_enabled) is False


def test_weights_cast_by_autocast_are_cast_anew_for_each_batch() -> None:
    """Autocast keeps them until it ends, and training changes them meanwhile."""
    layer = torch.nn.Linear(1, 1, bias=False)
    data = NumpyDataset(np.ones((20, 1), np.float32), batch_transform=layer)
    with torch.autocast("cpu", torch.bfloat16):
        loader = iter(Loader(data, 1, num_threads=1, prefetch=1))
        for _ in range(10):
            batch = next(loader)
            with torch.no_grad():
                layer.weight.fill_(0)
        assert not batch.any()
