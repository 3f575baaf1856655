"""The modes in which a loop asks for batches: those of torch, and context variables.

Idea: torch keeps gradients, autocast and a default device for each thread, and NumPy its error
state in a context variable. A function of the user that runs in another thread shall do what it
would do in the loop. Invariant: a thread is left as it was. Inference mode is taken as no
gradients: batches that are made ahead may be used outside of it.
"""

import functools
from collections.abc import Callable
from contextlib import ExitStack
from contextvars import Context, copy_context
from dataclasses import dataclass
from typing import Self, TypeVar

import torch

from npdata.runtime.machine import accelerator

Result = TypeVar("Result")


@dataclass(frozen=True, kw_only=True, eq=False)
class Modes:
    """The modes of a thread; `autocasts` are the kinds of devices that cast, and to what.

    Examples:
        >>> with torch.no_grad():
        ...     modes = Modes.here()
        >>> modes.run(torch.is_grad_enabled), torch.is_grad_enabled()
        (False, True)
    """

    gradients: bool
    autocasts: tuple[tuple[str, torch.dtype], ...]
    device: torch.device
    context: Context

    @classmethod
    def here(cls) -> Self:
        """Give the modes of this thread."""
        return cls(
            gradients=torch.is_grad_enabled(),
            autocasts=tuple(
                (kind, torch.get_autocast_dtype(kind))
                for kind in _kinds()
                if torch.is_autocast_enabled(kind)
            ),
            device=torch.empty(0).device,  # torch 2.6 gives no default that a `with` set
            context=copy_context(),
        )

    def run(self, function: Callable[..., Result], *arguments: object) -> Result:
        """Give `function(*arguments)`, called in these modes; threads may do so at once."""
        return self.context.copy().run(self._with_torch, function, *arguments)

    def _with_torch(self, function: Callable[..., Result], *arguments: object) -> Result:
        if self.gradients and not self.autocasts and self.device == _CPU:
            return function(*arguments)
        with ExitStack() as modes:
            modes.enter_context(torch.set_grad_enabled(self.gradients))
            for kind, dtype in self.autocasts:
                modes.enter_context(torch.autocast(kind, dtype))
            modes.enter_context(self.device)
            return function(*arguments)


_CPU = torch.device("cpu")


@functools.cache
def _kinds() -> tuple[str, ...]:
    found = accelerator()
    return ("cpu",) if found is None else ("cpu", found.type)
