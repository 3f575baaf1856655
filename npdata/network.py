"""A Feistel network over [0, size), for many sizes and keys at once.

Idea: write a number as (left, right) with left < a and right < b, where a is the square root of
the size rounded up and b just enough that a * b >= size. A round adds to one half a keyed hash of
the other half, modulo a or b; each round can be undone, so all of them together are a permutation
of [0, a * b). The few results outside [0, size), less than one in the square root of the size, go
through the rounds again until they fall inside ("cycle walking").

Sources: generalised Feistel networks and cycle walking by Black and Rogaway (Ciphers with
arbitrary finite domains, 2002); the hash of a round is the square of the half times a multiplier
plus a summand (after Widynski: Squares, a fast counter-based RNG, 2020), of which the upper bits
are scaled to [0, a). Invariant: 32-bit words serve every size up to 2**32, 64-bit words the
larger ones; the two do not give the same permutation. This module makes no keys.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

Words = NDArray[np.unsignedinteger[Any]]
"""uint32 or uint64."""

MAX_SIZE_32 = 1 << 32
"""The largest size that 32-bit words serve."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Network:
    """Networks of the same rounds, one per run: tables of `runs` words each.

    `multipliers` has one odd word per round, `adds` a row of `runs` words per round.
    """

    limits: Words
    lefts: Words
    rights: Words
    multipliers: Words
    adds: Words

    @classmethod
    def of(
        cls, sizes: NDArray[np.int64], multipliers: NDArray[np.uint64], adds: NDArray[np.uint64]
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
            adds=adds.astype(word),
        )

    def permute(self, values: NDArray[np.int64], counts: NDArray[np.int64]) -> NDArray[np.int64]:
        """Permute runs of values, `counts[k]` of them with network k."""
        result = values.astype(self.limits.dtype)
        self._pass(result, lambda table: table if len(table) == 1 else np.repeat(table, counts))
        limit = self.limits if len(self.limits) == 1 else np.repeat(self.limits, counts)
        outside = np.flatnonzero(result > limit)
        owner = np.searchsorted(np.cumsum(counts), outside, side="right")
        while outside.size:
            spread = _taker(owner)
            x = result[outside]
            self._pass(x, spread)
            result[outside] = x
            still = x > spread(self.limits)
            outside, owner = outside[still], owner[still]
        return result.astype(np.int64)

    def undo(self, values: NDArray[np.int64]) -> NDArray[np.int64]:
        """Undo `permute` of the only network."""
        result = values.astype(self.limits.dtype)
        outside = np.arange(len(values))
        while outside.size:
            x = result[outside]
            self._undo_pass(x)
            result[outside] = x
            outside = outside[x > self.limits]
        return result.astype(np.int64)

    def _pass(self, x: Words, spread: Callable[[Words], Words]) -> None:
        """Do all rounds in place; `spread` gives each value the word of its network."""
        lefts, rights = spread(self.lefts), spread(self.rights)
        left = x // rights
        right = x - left * rights
        for changed, other, modulus, multiplier, add in self._rounds(left, right, lefts, rights):
            changed += _hash(other, modulus, multiplier, spread(add))
            np.minimum(changed, changed - modulus, out=changed)
        np.multiply(left, rights, out=x)
        x += right

    def _undo_pass(self, x: Words) -> None:
        lefts, rights = self.lefts, self.rights
        left = x // rights
        right = x - left * rights
        rounds = list(self._rounds(left, right, lefts, rights))
        for changed, other, modulus, multiplier, add in reversed(rounds):
            changed -= _hash(other, modulus, multiplier, add)
            np.minimum(changed, changed + modulus, out=changed)
        np.multiply(left, rights, out=x)
        x += right

    def _rounds(
        self, left: Words, right: Words, lefts: Words, rights: Words
    ) -> Iterator[tuple[Words, Words, Words, Any, Words]]:
        for number, multiplier in enumerate(self.multipliers):
            if number % 2 == 0:
                yield left, right, lefts, multiplier, self.adds[number]
            else:
                yield right, left, rights, multiplier, self.adds[number]


def _hash(half: Words, modulus: Words, multiplier: Any, add: Words) -> Words:
    """Give a keyed number in [0, modulus) for each half."""
    upper = half.dtype.type(half.dtype.itemsize * 4)
    result: Words = half * multiplier
    result += add
    result *= result
    result >>= upper
    result *= modulus
    result >>= upper
    return result


def _taker(owner: NDArray[np.int64]) -> Callable[[Words], Words]:
    return lambda table: table if len(table) == 1 else table[owner]
