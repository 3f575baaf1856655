"""`ragged` and `csr`: spans of values, and sparse rows, put together from other sources.

Idea: each part is whatever `open_source` takes, so that values may be a file larger than memory.
Invariant: parts that do not fit together are refused here. Nothing is read but the bounds.
"""

import operator
from collections.abc import Sequence
from typing import Any

import numpy as np

from npdata.errors import FieldError
from npdata.sources.base import Source
from npdata.sources.open import SourceLike, open_source
from npdata.sources.ragged import RaggedSource, SpansSource
from npdata.sources.sparse import LAYOUTS, CsrSource, Layout
from npdata.suggestions import explained


@explained(
    {
        "offset indptr splits row_splits starts cu_seqlens borders": "offsets",
        "ends": "give offsets=np.insert(ends, 0, 0)",
        "max_len max_length": "the dataset has transform=, which crops samples",
        "length sizes counts row_lengths": "lengths",
        "axis dim": "write ragged(NumpyDataset(values, axis=1), offsets=...)",
        "ragged pad padding padding_value batch_first layout dtype": (
            'the dataset has it: NumpyDataset(ragged(...), ragged="jagged"), padding=, dtype='
        ),
    },
    usage="ragged(values, offsets=...) or ragged(values, lengths=...)",
    by_name="ragged(values, offsets=...) or ragged(values, lengths=...)",
)
def ragged(
    values: SourceLike, *, offsets: SourceLike | None = None, lengths: SourceLike | None = None
) -> RaggedSource:
    """Give rows of different lengths: sample i is `values[offsets[i]:offsets[i + 1]]`.

    It is a field of a `NumpyDataset`, whose option `ragged=` says what a batch looks like. Each
    part is whatever `open_source` takes, or a list or tensor of numbers.

    Args:
        values: the rows of all samples, each of one shape, end to end.
        offsets: n + 1 ascending integers, from 0 to the number of rows.
        lengths: in place of `offsets`, n integers that add up to the number of rows.

    Raises:
        FieldError: a ValueError, which names the span, where the bounds do not ascend or do not
            cover the rows; besides, whatever opening a part raises.

    Examples:
        >>> tokens = npdata.ragged(np.arange(6), lengths=[3, 1, 2])
        >>> ds = npdata.NumpyDataset(tokens=tokens, label=np.arange(3))
        >>> ds[0]["tokens"], ds[[0, 1]]["tokens"].values
        (tensor([0, 1, 2]), tensor([[0, 1, 2],
                [3, 0, 0]]))
    """
    if (offsets is None) == (lengths is None):
        both = "both" if offsets is not None else "neither"
        raise FieldError(
            f"ragged() takes offsets= or lengths=, and got {both}; of a list of arrays make "
            "ragged(np.concatenate(arrays), lengths=[len(array) for array in arrays])"
        )
    rows = _rows_of(values, "values= of ragged()")
    if offsets is not None:
        return SpansSource(rows, _rows_of(offsets, "offsets= of ragged()"), "offsets")
    return SpansSource(rows, _rows_of(lengths, "lengths= of ragged()"), "lengths")


@explained(
    {"dtype": "the dataset has it: NumpyDataset(csr(...), dtype=...)", "values": "data"},
    usage="csr(m.data, m.indices, m.indptr, m.shape), with m = matrix.tocsr()",
)
def csr(
    data: SourceLike,
    indices: SourceLike,
    indptr: SourceLike,
    shape: Sequence[int],
    *,
    layout: Layout = "dense",
) -> CsrSource:
    """Give the rows of a sparse matrix in CSR form, as `scipy.sparse` and AnnData have it.

    Row i has the values `data[indptr[i]:indptr[i + 1]]` in the columns `indices` of the same span;
    values given twice for a column add up, as in scipy. Each part is whatever `open_source` takes,
    or a list or tensor of numbers.

    Args:
        data: the values of all rows, one-dimensional.
        indices: the column of each value.
        indptr: rows + 1 ascending integers, from 0 to the number of values.
        shape: (rows, columns).
        layout: "dense" (the default) gives dense batches, "csr" `torch.sparse_csr` tensors. A
            sample is a dense row.

    Raises:
        FieldError: a ValueError, which names the row, where the parts do not fit together;
            besides, whatever opening a part raises.

    Examples:
        >>> cells = npdata.csr(np.array([5.0, 7.0]), np.array([2, 0]), np.array([0, 1, 2]), (2, 3))
        >>> npdata.NumpyDataset(cells)[:]
        tensor([[0., 0., 5.],
                [7., 0., 0.]], dtype=torch.float64)
    """
    if layout not in LAYOUTS:
        raise FieldError(f"layout={layout!r}: expected 'dense' or 'csr'")
    try:
        rows, columns = map(operator.index, shape)
    except (TypeError, ValueError):
        raise FieldError(f"shape={shape!r}: expected (rows, columns)") from None
    if rows < 0 or columns < 0:
        raise FieldError(f"shape={shape!r}: expected (rows, columns), at least 0")
    return CsrSource(
        _rows_of(data, "data of csr()"),
        _rows_of(indices, "indices of csr()"),
        _rows_of(indptr, "indptr of csr()"),
        (rows, columns),
        layout,
    )


def _rows_of(part: SourceLike, name: str) -> Source:
    try:
        source = open_source(_numbers(part))
    except (ValueError, TypeError) as error:
        error.add_note(f"while opening {name}")
        raise
    if isinstance(source, RaggedSource):
        raise FieldError(f"{name} are rows of different lengths already")
    return source


def _numbers(part: Any) -> Any:
    """Give a range, and a list of nothing, as integers; all else as it is."""
    integers = isinstance(part, range) or (isinstance(part, list | tuple) and not part)
    return np.array(part, np.int64) if integers else part
