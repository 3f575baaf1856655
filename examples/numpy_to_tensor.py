"""What torch.tensor and torch.from_numpy do with an array, and how npdata.as_tensor chooses.

Prints two Markdown tables: what each of the three does with arrays of different kinds (shared
memory or a copy, the dtype, or the error), and what sharing and copying cost for arrays of
several sizes and dimensions, measured here and now.
"""

import statistics
import time
import warnings
from collections.abc import Callable
from functools import partial

import numpy as np
import torch

import npdata


def frozen(array: np.ndarray) -> np.ndarray:
    """Give a read-only view."""
    view = array.view()
    view.flags.writeable = False
    return view


def misaligned() -> np.ndarray:
    """Give four floats that begin at an odd address."""
    return np.zeros(17, np.uint8)[1:].view(np.float32)


ARRAYS: dict[str, Callable[[], np.ndarray]] = {
    "vector, float64": lambda: np.ones(4),
    "matrix, float32": lambda: np.ones((2, 3), np.float32),
    "4 dimensions, uint8": lambda: np.ones((2, 3, 4, 5), np.uint8),
    "0 dimensions": lambda: np.array(1.0),
    "every second element": lambda: np.ones(8)[::2],
    "transposed (Fortran order)": lambda: np.ones((2, 3)).T,
    "reversed (negative stride)": lambda: np.arange(4)[::-1],
    "read-only": lambda: frozen(np.ones(4)),
    "broadcast": lambda: np.broadcast_to(np.float32(1), (2, 3)),
    "big-endian": lambda: np.ones(4, ">f4"),
    "misaligned": misaligned,
    "uint16": lambda: np.ones(4, np.uint16),
    "complex64": lambda: np.ones(4, np.complex64),
    "bool": lambda: np.ones(4, bool),
    "structured": lambda: np.zeros(4, [("a", "f4"), ("b", "i2")]),
    "datetime64": lambda: np.zeros(4, "M8[s]"),
    "strings": lambda: np.array(["a", "b"]),
    "objects": lambda: np.array([None, 1]),
    "masked array": lambda: np.ma.ones(4),
}


def outcome(convert: Callable[[np.ndarray], object], array: np.ndarray) -> str:
    """Tell in a few words what a conversion did with an array."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            result = convert(array)
        except (TypeError, ValueError) as error:
            return f"{type(error).__name__}"
    if isinstance(result, dict):
        return "dict of its fields"
    if not isinstance(result, torch.Tensor):
        return type(result).__name__
    shared = array.size and result.data_ptr() == array.__array_interface__["data"][0]
    dtype = str(result.dtype).removeprefix("torch.")
    if shared:
        return f"shares, {dtype}" + ("" if array.flags.writeable else " (a write is undefined)")
    return f"copies, {dtype}"


def choices() -> str:
    """Give the table of what each function does with each kind of array."""
    lines = [
        "| array | `torch.tensor` | `torch.from_numpy` | `npdata.as_tensor` |",
        "|---|---|---|---|",
    ]
    for name, make in ARRAYS.items():
        cells = [outcome(f, make()) for f in (torch.tensor, torch.from_numpy, npdata.as_tensor)]
        lines.append(f"| {name} | {' | '.join(cells)} |")
    return "\n".join(lines)


def microseconds(work: Callable[[], object], repeats: int = 7) -> float:
    """Give the median time of one call."""
    times = []
    for _ in range(repeats):
        calls = 0
        start = time.perf_counter()
        while time.perf_counter() - start < 0.01:
            work()
            calls += 1
        times.append((time.perf_counter() - start) / calls)
    return statistics.median(times) * 1e6


def speeds() -> str:
    """Give the table of what each function costs, in microseconds a call."""
    lines = [
        "| float32 array | `torch.tensor` | `torch.from_numpy` | `npdata.as_tensor` |",
        "|---|---:|---:|---:|",
    ]
    for shape in ((), (10,), (28, 28), (3, 224, 224), (32, 3, 224, 224)):
        array = np.ones(shape, np.float32)
        cells = [
            f"{microseconds(partial(convert, array)):,.1f} us"
            for convert in (torch.tensor, torch.from_numpy, npdata.as_tensor)
        ]
        size = f"{array.nbytes:,} bytes"
        lines.append(f"| {shape}, {size} | {' | '.join(cells)} |")
    return "\n".join(lines)


def main() -> None:
    """Print both tables."""
    print(choices(), end="\n\n")
    print(speeds())


if __name__ == "__main__":
    main()
