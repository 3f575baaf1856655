"""Import torchvision, also where it was compiled for another torch.

Its operators are missing then, and its import asks for two of them; its transforms use none.
"""

import importlib
import importlib.util

import pytest
import torch


def import_torchvision() -> None:
    """Import torchvision, or skip the test where it is not installed."""
    if importlib.util.find_spec("torchvision") is None:
        pytest.skip("pip install torchvision")
    try:
        importlib.import_module("torchvision")
    except RuntimeError:
        for name in ("nms", "qnms"):
            torch.library.define(f"torchvision::{name}", "(Tensor a, Tensor b, float c) -> Tensor")
        importlib.import_module("torchvision")
