"""Some rows of an array, for a picture: from places all over it, and few enough for any size.

Idea: runs of neighbours at equal distances, so that a chunk that is decoded serves several rows.
Invariant: no more than `MOST_BYTES` of rows and `MOST_DECODED` of chunks are read, or nothing, and
then with the reason. The rows are those that training would get.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from npdata.cli.console import bytes_text
from npdata.cli.inspect.report import Facts
from npdata.sources.base import Source

MOST_BYTES = 32 << 20
MOST_DECODED = 512 << 20
MOST_ROWS = 4096
PLACES = 16


@dataclass(frozen=True, kw_only=True, eq=False)
class Samples:
    """`numbers` of rows, ascending, and the rows themselves; or `reason`, why there are none."""

    numbers: NDArray[np.int64]
    rows: NDArray[Any]
    reason: str | None = None


def choose_rows(facts: Facts) -> tuple[NDArray[np.int64], str | None]:
    """Choose the numbers of rows to read, or none and the reason why.

    Examples:
        >>> facts = Facts(shape=(100, 2), dtype=np.dtype("f4"), stored_bytes=800, layout="C order",
        ...               access="mapped", access_reason="", sample="view", sample_reason="",
        ...               tensor_dtype=torch.float32)
        >>> len(choose_rows(facts)[0])
        100
    """
    nothing = np.zeros(0, np.int64)
    if facts.nbytes == 0:
        return nothing, "it holds no rows"
    place_bytes = facts.row_bytes
    if facts.chunks is not None and facts.filters:
        place_bytes = max(place_bytes, facts.chunks.a_row_needs * facts.chunks.nbytes)
    elif facts.filters:
        # A member of a zip is decoded as a whole.
        place_bytes = facts.nbytes
    if facts.row_bytes > MOST_BYTES or place_bytes > MOST_DECODED:
        return nothing, f"a look at it takes {bytes_text(place_bytes)}"
    places = max(1, min(PLACES, MOST_DECODED // place_bytes, MOST_BYTES // facts.row_bytes))
    run = max(1, min(MOST_ROWS, MOST_BYTES // facts.row_bytes) // places)
    starts = np.linspace(0, max(0, facts.rows - run), places).astype(np.int64)
    numbers = np.unique(starts[:, None] + np.arange(run))
    return numbers[numbers < facts.rows], None


def read_samples(facts: Facts, source: Source) -> Samples:
    """Read some rows of the source that `facts` are about; raises what reading it raises."""
    numbers, reason = choose_rows(facts)
    rows = np.empty((len(numbers), *facts.shape[1:]), facts.dtype)
    if len(numbers):
        source.read(numbers, rows)
    return Samples(numbers=numbers, rows=rows, reason=reason)


def as_image(row: NDArray[Any]) -> NDArray[Any] | None:
    """Give a row as an image for matplotlib, (h, w) or (h, w, 3), None where it is none.

    Two axes are a grey image. Three are one in colour, where the first or the last has size 1, 3
    or 4, else a volume, of which the middle is shown.

    Examples:
        >>> as_image(np.zeros((3, 32, 32), np.uint8)).shape, as_image(np.zeros((9, 32, 32))).shape
        ((32, 32, 3), (32, 32))
        >>> as_image(np.zeros(10)) is None
        True
    """
    if row.ndim == 3:
        if row.shape[0] in (1, 3, 4) and row.shape[2] not in (1, 3, 4):
            row = np.moveaxis(row, 0, 2)
        if row.shape[2] in (3, 4):
            row = row[..., :3]
        else:
            row = row[..., 0] if row.shape[2] == 1 else row[row.shape[0] // 2]
    if row.ndim < 2 or min(row.shape[:2]) < 4:
        return None
    step = max(1, max(row.shape[:2]) // 256)
    row = row[::step, ::step]
    return row if row.ndim == 2 or row.dtype == np.uint8 else _scaled(row)


def _scaled(image: NDArray[Any]) -> NDArray[np.float64]:
    values = np.nan_to_num(image.astype(np.float64), posinf=0, neginf=0)
    low, high = float(values.min()), float(values.max())
    return (values - low) / ((high - low) or 1.0)
