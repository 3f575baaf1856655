"""A Feistel network over [0, size), for many sizes and keys at once.

Idea: a round adds to one half of a number a keyed hash of the other half, which can be undone, so
all rounds together are a permutation. Invariant: 32-bit words serve every size up to 2**32, 64-bit
words the larger ones; the two do not give the same permutation. This module makes no keys.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from npdata.arrays.dtypes import Ints
from npdata.arrays.scratch import Scratch

Words = NDArray[np.unsignedinteger[Any]]
"""uint32 or uint64."""

MAX_SIZE_32 = 1 << 32
"""The largest size that 32-bit words serve."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Network:
    """Networks of the same rounds, one per run: tables of `runs` words each.

    `multipliers` has one odd word per round, `round_keys` a row of `runs` words per round.

    A number is (left, right) with left < a and right < b, where a is the square root of the size
    rounded up and b just enough that a * b >= size. The few results outside [0, size), less than
    one in the square root of the size, go through the rounds again until they fall inside ("cycle
    walking"). The hash is the square of the half times a multiplier plus a summand, of which the
    upper bits are scaled to [0, a). Sources: Black and Rogaway, Ciphers with arbitrary finite
    domains, 2002; Widynski, Squares: a fast counter-based RNG, 2020.
    """

    limits: Words
    lefts: Words
    rights: Words
    multipliers: Words
    round_keys: Words

    @classmethod
    def of(
        cls, sizes: Ints, multipliers: NDArray[np.uint64], round_keys: NDArray[np.uint64]
    ) -> Self:
        """Give the networks of these sizes, all at most `MAX_SIZE_32` or all larger."""
        word = np.uint32 if int(sizes[0]) <= MAX_SIZE_32 else np.uint64
        lefts = np.ceil(np.sqrt(sizes)).astype(np.int64)
        if bool((sizes == sizes[0]).all()):
            sizes, lefts = sizes[:1], lefts[:1]
        return cls(
            limits=(sizes - 1).astype(word),
            lefts=lefts.astype(word),
            rights=(-(-sizes // lefts)).astype(word),
            multipliers=multipliers.astype(word),
            round_keys=round_keys.astype(word),
        )

    def permute(self, values: Ints, counts: Ints, scratch: Scratch) -> Words:
        """Permute runs of values, `counts[k]` of them with network k; gives memory of `scratch`."""
        result = scratch.array("permuted", values.shape, self.limits.dtype)
        result[...] = values
        ends = np.cumsum(counts)
        self._pass(result, scratch, lambda table: _repeated(table, counts))
        outside = np.flatnonzero(result > _repeated(self.limits, counts))
        owner = np.searchsorted(ends, outside, side="right")
        while outside.size:
            spread = _taker(owner)
            x = result[outside]
            self._pass(x, scratch, spread)
            result[outside] = x
            still = x > spread(self.limits)
            outside, owner = outside[still], owner[still]
        return result

    def undo(self, values: Ints) -> Ints:
        """Undo `permute` of the only network."""
        result = values.astype(self.limits.dtype)
        scratch = Scratch()
        outside = np.arange(len(values))
        while outside.size:
            x = result[outside]
            self._pass(x, scratch, lambda table: table, undo=True)
            result[outside] = x
            outside = outside[x > self.limits]
        return result.astype(np.int64)

    def _pass(
        self, x: Words, scratch: Scratch, spread: Callable[[Words], Words], undo: bool = False
    ) -> None:
        """Do all rounds in place; `spread` gives each value the word of its network.

        `x` holds the changes meanwhile.
        """
        upper = x.dtype.type(x.dtype.itemsize * 4)
        moduli = spread(self.lefts), spread(self.rights)
        left, right = (scratch.array(half, x.shape, x.dtype) for half in ("left", "right"))
        np.floor_divide(x, moduli[1], out=left)
        np.multiply(left, moduli[1], out=right)
        np.subtract(x, right, out=right)
        change = x
        rounds = range(len(self.multipliers))
        for number in reversed(rounds) if undo else rounds:
            changed, other = (right, left) if number % 2 else (left, right)
            modulus = moduli[number % 2]
            np.multiply(other, self.multipliers[number], out=change)
            change += spread(self.round_keys[number])
            change *= change
            change >>= upper
            change *= modulus
            change >>= upper
            # Of a number and itself a modulus away, unsigned, the one in range is the smaller.
            if undo:
                changed -= change
                np.add(changed, modulus, out=change)
            else:
                changed += change
                np.subtract(changed, modulus, out=change)
            np.minimum(changed, change, out=changed)
        np.multiply(left, moduli[1], out=x)
        x += right


def _repeated(table: Words, counts: Ints) -> Words:
    return table if len(table) == 1 else np.repeat(table, counts)


def _taker(owner: Ints) -> Callable[[Words], Words]:
    return lambda table: table if len(table) == 1 else table[owner]
