"""The one value of an array without axes, as a row: a label beside its image, a sample of `stack`.

Idea: such an array has no rows for a source of its own, and a few bytes, so that it is read when
the file is looked at. Numbers alone; text and compound values stay refused by who opens rows.
"""

from typing import Any

import numpy as np

from npdata.sources.hdf5.open import scalar
from npdata.sources.memory import MemorySource


class OneValue(MemorySource):
    """A number as the only row, of the file and member `where`."""

    def __init__(self, value: Any, where: str) -> None:
        super().__init__(np.asarray(value).reshape(1))
        self.where = where


def npz_value(path: str, member: str) -> OneValue | None:
    """Give the number that a member of a `.npz` is; None where it is something else."""
    with np.load(path, allow_pickle=False) as archive:
        return _number(archive[member], f"{path}::{member}")


def hdf5_value(path: str, name: str) -> OneValue | None:
    """Give the number that a dataset is; None where it is something else."""
    return _number(scalar(path, name), f"{path}::{name}")


def _number(value: Any, where: str) -> OneValue | None:
    array = np.asarray(value)
    return OneValue(array, where) if array.ndim == 0 and array.dtype.kind in "biufc" else None
