"""Every example in a docstring runs, and public names have one, and sections of the same names."""

import doctest
import importlib
import inspect
import pickle
import pkgutil
import re

import h5py
import numpy as np
import pytest
import torch

import npdata
from npdata.runtime.made_once import made_once

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
def test_examples_run(name: str, files: None, monkeypatch: pytest.MonkeyPatch) -> None:
    module = importlib.import_module(name)
    made = {
        f"{kind.__name__}.{attribute}": value.__doc__
        for kind in vars(module).values()
        if inspect.isclass(kind) and kind.__module__ == name
        for attribute, value in vars(kind).items()
        if isinstance(value, made_once) and value.__doc__
    }  # which doctest would not find by itself
    monkeypatch.setattr(module, "__test__", made, raising=False)
    known = {"np": np, "torch": torch, "npdata": npdata, "pickle": pickle}
    failed, _ = doctest.testmod(module, extraglobs=known, optionflags=doctest.ELLIPSIS)
    assert failed == 0


VALUES = ("errors", "Access", "Source", "Conversion", "Schedule", "ShuffleQuality")


@pytest.mark.parametrize("name", [name for name in npdata.__all__ if name not in VALUES])
def test_public_names_have_an_example(name: str) -> None:
    assert ">>>" in getattr(npdata, name).__doc__


def public_callables() -> dict[str, object]:
    found = {name: getattr(npdata, name) for name in npdata.__all__ if name != "errors"}
    for name, kind in [each for each in found.items() if inspect.isclass(each[1])]:
        own = (method for method in dir(kind) if method[0] != "_" and not hasattr(list, method))
        found |= {f"{name}.{method}": getattr(kind, method) for method in own}
    return {
        name: value
        for name, value in found.items()
        if callable(value) and value.__module__.startswith("npdata")
    }


CALLABLES = public_callables()


@pytest.mark.parametrize("name", CALLABLES)
def test_errors_stand_in_a_section(name: str) -> None:
    assert not re.search(r"\bRaises (?!:)|\bRaises(?!:)", CALLABLES[name].__doc__)


CALLS = [name for name, value in CALLABLES.items() if hasattr(value, "__wrapped__")]
"""What users call: an argument that is not there is named."""


@pytest.mark.parametrize("name", CALLS)
def test_many_arguments_stand_in_a_section(name: str) -> None:
    known = [each for each in inspect.signature(CALLABLES[name]).parameters if each != "self"]
    described = re.findall(r"^ +\**(\w+): ", CALLABLES[name].__doc__, re.MULTILINE)
    assert len(known) < 3 or set(known) <= set(described)


@pytest.mark.parametrize("name", CALLS)
def test_calls_have_an_example_or_say_where_it_is(name: str) -> None:
    assert re.search(">>>|example is at", CALLABLES[name].__doc__, re.IGNORECASE)
