"""torch, imported when something of it is first used.

Idea: files are looked at without a tensor, and torch takes 1.5 s of the 2 s in which a command
would begin. An `import torch` inside each function would take 0.4 µs of every call. Invariant: what
is found is what `import torch` has, but no annotation may be evaluated, and an attribute that is
replaced in torch later is not looked up again. Datasets and loaders import torch itself.
"""

import importlib
from typing import TYPE_CHECKING, Any

__all__ = ["torch"]


class _Lazy:
    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):  # who asks what this is need not import torch
            raise AttributeError(name)
        value = getattr(importlib.import_module("torch"), name)
        setattr(self, name, value)
        return value


if TYPE_CHECKING:
    import torch
    import torch.utils.data
else:
    torch = _Lazy()
