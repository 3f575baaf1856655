"""torch, imported when something of it is first used.

Idea: files are looked at without a tensor, and torch takes 1.5 s of the 2 s in which a command
would begin. Invariant: `from npdata.arrays.lazy_torch import torch` gives what `import torch` does,
but no annotation may be evaluated. Datasets and loaders import torch itself.
"""

import importlib
import sys
from typing import TYPE_CHECKING, Any

__all__ = ["torch"]


class _Lazy:
    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):  # who asks what this is need not import torch
            raise AttributeError(name)
        importlib.import_module("torch.utils.data")
        module = sys.modules["torch"]
        # From now on attributes are found as fast as in the module, and as they are there then.
        object.__setattr__(self, "__dict__", module.__dict__)
        return getattr(module, name)


if TYPE_CHECKING:
    import torch
    import torch.utils.data
else:
    torch = _Lazy()
