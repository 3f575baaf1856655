"""Sources that are put together from others: values with the bounds of their spans.

Idea: each part is whatever `open_source` takes, so that values may be a file larger than memory.
Invariant: parts that do not fit together are refused here. Nothing is read but the bounds.
"""

from npdata.errors import FieldError
from npdata.sources.base import Source
from npdata.sources.open import SourceLike, open_source
from npdata.sources.ragged import RaggedSource, SpansSource


def ragged(
    values: SourceLike, *, offsets: SourceLike | None = None, lengths: SourceLike | None = None
) -> RaggedSource:
    """Give rows of different lengths: sample i is `values[offsets[i]:offsets[i + 1]]`.

    `values` are rows of one shape, `offsets` n + 1 integers from 0 to the number of rows, or
    `lengths` n integers that add up to it; each is whatever `open_source` takes. The result is a
    field of a `NumpyDataset`, whose option `ragged=` says what a batch looks like. Raises
    `FieldError` (a ValueError), which names the span, where the bounds do not ascend or do not
    cover the rows, and what opening raises.

    Examples:
        >>> tokens = npdata.ragged(np.arange(6), lengths=np.array([3, 1, 2]))
        >>> ds = npdata.NumpyDataset(tokens=tokens, label=np.arange(3))
        >>> ds[0]["tokens"], ds[[0, 1]]["tokens"].values
        (tensor([0, 1, 2]), tensor([[0, 1, 2],
                [3, 0, 0]]))
    """
    if (offsets is None) == (lengths is None):
        both = "both" if offsets is not None else "neither"
        raise FieldError(f"ragged() takes offsets= or lengths=, and got {both}")
    rows = _rows_of(values, "values")
    if offsets is not None:
        return SpansSource(rows, _rows_of(offsets, "offsets"), "offsets")
    return SpansSource(rows, _rows_of(lengths, "lengths"), "lengths")


def _rows_of(part: SourceLike, name: str) -> Source:
    try:
        source = open_source(part)
    except (ValueError, TypeError) as error:
        error.add_note(f"while opening {name}= of ragged()")
        raise
    if isinstance(source, RaggedSource):
        raise FieldError(f"{name}= of ragged() are rows of different lengths already")
    return source
