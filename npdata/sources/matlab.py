"""What MATLAB stores as other numbers: logical values and text.

Idea: the attribute MATLAB_class of a dataset says which. Invariant: nothing is changed unless that
was asked for; text is NumPy's, one string a row, with MATLAB's padding.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from npdata.errors import FieldError
from npdata.sources.base import Source
from npdata.sources.derived import DerivedSource

CLASSES = {"logical": "bool", "char": "text, kept with dtype=str"}


class MatlabSource(DerivedSource):
    """Rows of the class "logical" as bool, and of the class "char" as strings."""

    def __init__(self, rows: Source, kind: str) -> None:
        """Take rows of 0 and 1, or rows of characters, of the class `kind`."""
        super().__init__(rows)
        self._kind = kind
        kept = tuple(pair for pair in rows.details if pair[0] != "matlab")
        self.details = (*kept, ("matlab", f"{kind} as {CLASSES[kind]}"))
        if kind == "logical":
            self.dtype = np.dtype(bool)
        elif len(rows.shape) != 2 or rows.dtype.kind != "u":
            raise FieldError(
                f"{rows.where} is MATLAB text of shape {rows.shape}, expected two axes"
            )
        else:
            self.shape = rows.shape[:1]
            self.dtype = np.dtype(f"U{max(1, rows.shape[1])}")

    def read(self, indices: NDArray[np.int64], out: NDArray[Any]) -> None:
        """Read the numbers, and give what they stand for."""
        if not out.size:
            return
        raw = np.empty((len(indices), *self.rows.shape[1:]), self.rows.dtype)
        self.rows.read(indices, raw)
        if self._kind == "logical":
            np.not_equal(raw, 0, out=out)
        else:
            out.view(np.uint32).reshape(len(out), -1)[...] = raw
