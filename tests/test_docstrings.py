"""Every example in a docstring runs, and every public name has one."""

import doctest
import importlib
import pickle
import pkgutil

import h5py
import numpy as np
import pytest
import torch

import npdata

MODULES = ["npdata"] + [info.name for info in pkgutil.walk_packages(npdata.__path__, "npdata.")]


@pytest.fixture
def files(in_folder):
    """The files that the examples name."""
    x, y = np.zeros((5, 2, 3), np.float32), np.arange(5)
    np.save("x.npy", x)
    np.save("y.npy", y)
    np.savez("d.npz", x=x, y=y)
    np.arange(12, dtype=np.uint16).tofile("t.bin")
    with h5py.File("d.h5", "w") as file:
        file["x"], file["y"] = x, y


@pytest.mark.parametrize("name", MODULES)
def test_examples_run(name: str, files: None) -> None:
    module = importlib.import_module(name)
    known = {"np": np, "torch": torch, "npdata": npdata, "pickle": pickle}
    failed, _ = doctest.testmod(module, extraglobs=known, optionflags=doctest.ELLIPSIS)
    assert failed == 0


VALUES = ("errors", "Access", "Source", "Conversion", "Schedule", "ShuffleQuality")


@pytest.mark.parametrize("name", [name for name in npdata.__all__ if name not in VALUES])
def test_public_names_have_an_example(name: str) -> None:
    assert ">>>" in getattr(npdata, name).__doc__
