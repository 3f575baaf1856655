"""How random an order is, measured against a full shuffle.

Idea: three figures that a shuffle by windows spoils first: how far rows move, how much a row
says of the next one, and how mixed the labels of a batch are. Each is scaled so that a full
shuffle gives about 1, 0 and 1. Invariant: the same order gives the same figures; the full shuffle
that it is compared with has a fixed key. This is no test of a generator.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from npdata.errors import SamplerError
from npdata.sampling.order.checks import whole_number
from npdata.sampling.order.epoch_order import SPLIT_PURPOSE
from npdata.sampling.order.permutation import Permutations
from npdata.suggestions import explained


@dataclass(frozen=True, kw_only=True)
class ShuffleQuality:
    """Figures of an order; in brackets what file order and a full shuffle give.

    `displacement`: mean distance of a row from its place in the file, over that of a full
    shuffle (0, about 1). `neighbours`: correlation of each row number with the next (1, about 0).
    `label_entropy`: mean entropy of the labels in a batch, over that of a full shuffle (0 for a
    file sorted by label, about 1); None without labels.
    """

    displacement: float
    neighbours: float
    label_entropy: float | None


@explained()
def shuffle_quality(
    order: ArrayLike, labels: ArrayLike | None = None, *, batch_size: int = 256
) -> ShuffleQuality:
    """Measure an order: all row numbers of an epoch, one dimension of integers, at least 2.

    The displacement of a full shuffle of n rows is (n * n - 1) / (3 * n).

    Args:
        order: the row numbers. Rows of a subset are counted by their rank in it, and a row that
            comes again as another one after it.
        labels: a label for each row of the file. None: `label_entropy` is None.
        batch_size: rows of a batch, at least 1; the last one may be shorter.

    Raises:
        SamplerError: a ValueError, for an order or labels of another shape.

    Examples:
        >>> quality = shuffle_quality(np.arange(8), labels=np.repeat([0, 1], 4), batch_size=4)
        >>> quality.displacement, round(quality.neighbours, 6), quality.label_entropy
        (0.0, 1.0, 0.0)
    """
    batch_size = whole_number("batch_size", batch_size, least=1)
    rows = np.asarray(order)
    if rows.ndim != 1 or len(rows) < 2 or rows.dtype.kind not in "iu":
        raise SamplerError(
            f"an order of shape {rows.shape} and dtype {rows.dtype}: expected one dimension of "
            "at least 2 integers, the rows of an epoch: np.concatenate(list(sampler))"
        )
    n = len(rows)
    ranks = np.empty(n, np.int64)
    ranks[np.argsort(rows, kind="stable")] = np.arange(n)
    moved = np.abs(ranks - np.arange(n)).mean() / ((n * n - 1) / (3 * n))
    neighbours = np.corrcoef(ranks[:-1], ranks[1:])[0, 1] if n > 2 else 1.0
    entropy = None
    if labels is not None:
        classes = np.unique(np.asarray(labels), return_inverse=True)[1]
        if classes.ndim != 1 or len(classes) <= int(rows.max()):
            raise SamplerError(
                f"labels of shape {np.shape(labels)}: expected one for each row up to {rows.max()}"
            )
        full = Permutations.of(0, 0, SPLIT_PURPOSE).one(np.arange(n), n)
        reference = _entropy(classes[rows][full], batch_size)
        entropy = _entropy(classes[rows], batch_size) / reference if reference else 1.0
    return ShuffleQuality(
        displacement=float(moved), neighbours=float(neighbours), label_entropy=entropy
    )


def _entropy(classes: NDArray[np.intp], batch_size: int) -> float:
    """Give the mean entropy, in bits, of the classes in each batch."""
    batch = np.arange(len(classes)) // batch_size
    count = int(classes.max()) + 1
    pairs, counts = np.unique(batch * count + classes, return_counts=True)
    share = counts / np.bincount(batch)[pairs // count]
    return float((share * np.log2(1 / share)).sum() / (batch[-1] + 1))
