"""Whether a transform draws from the generators that all threads of the process share.

Idea: torch, NumPy and `random` each have one, and which sample gets which of its numbers then
depends on the threads. Their states are compared before and after the first batch, while the loop
waits for it. Invariant: it draws nothing and changes nothing. It costs some 40 us an epoch.
"""

import random
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch

from npdata.errors import RandomnessWarning, warn


def _states() -> dict[str, Any]:
    numpy: Any = np.random.get_state(legacy=False)
    return {
        "torch": torch.default_generator.get_state().numpy().tobytes(),
        "NumPy": (numpy["state"]["key"].tobytes(), numpy["state"]["pos"], numpy["has_gauss"]),
        "random": random.getstate(),
    }


@contextmanager
def warning_of_draws() -> Iterator[None]:
    """Issue a `RandomnessWarning` where what is done inside drew from a shared generator."""
    before = _states()
    yield
    after = _states()
    drawn = " and ".join(f"that of {name}" for name in before if before[name] != after[name])
    if drawn:
        warn(
            f"a transform draws from the global generator ({drawn}), which all threads share: the "
            "numbers of a sample depend on the threads, and on no seed= of the Loader. Give the "
            "transform a parameter rng (a NumPy generator for each sample), or set num_threads=0",
            RandomnessWarning,
        )
