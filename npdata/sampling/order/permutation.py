"""Families of permutations of [0, size), each a function of a key and never a stored table.

Idea: up to `SMALL` numbers are put in the order of a 64-bit hash of each, so that every
permutation has the same chance; more go through the network of `feistel`. Members of one family
share the network's multipliers and differ in its summands. Invariant: a result depends on the
family's words, the member, the size and the value only, not on what else is in the call. This is
no cipher: whoever sees the order can find the key.
"""

from dataclasses import dataclass, field
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from npdata.arrays.dtypes import Ints
from npdata.arrays.scratch import Scratch
from npdata.sampling.order.feistel import MAX_SIZE_32, Network

Words = NDArray[np.uint64]

SMALL, MEDIUM = 128, 4096
"""Up to these sizes a permutation is the order of hashes, or takes `ROUNDS` rounds."""
ROUNDS, FEWER_ROUNDS = 8, 6
"""Rounds of the network up to `MEDIUM` numbers, and above; even: each half is changed as often.

In chi-square tests on the differences between positions, over 2 to 3 million samples, 7 rounds
still fail at size 128 and 8 pass down to 65; 5 still fail at size 21,824 and 6 pass down to 1,000.
"""
_KINDS = np.array([SMALL, MEDIUM, MAX_SIZE_32])
_GOLDEN = np.uint64(0x9E3779B97F4A7C15)


def mix64(words: Words) -> Words:
    """Hash each 64-bit word to another, one to one (the finaliser of SplitMix64).

    Examples:
        >>> mix64(np.array([1, 2], np.uint64)).tolist()
        [6238072747940578789, 15839785061582574730]
    """
    # In place: not every Python lets NumPy use the memory of an expression's parts again.
    mixed = words >> np.uint64(30)
    mixed ^= words
    del words  # often nobody else has it
    mixed *= np.uint64(0xBF58476D1CE4E5B9)
    shifted = mixed >> np.uint64(27)
    mixed ^= shifted
    mixed *= np.uint64(0x94D049BB133111EB)
    mixed ^= np.right_shift(mixed, np.uint64(31), out=shifted)
    return mixed


def key_words(*numbers: int, count: int) -> Words:
    """Give `count` independent 64-bit words for these numbers, each in [0, 2**64).

    Every number fills the same two 32-bit words of the entropy of a `numpy.random.SeedSequence`,
    so that no two tuples of one length give the same words.
    """
    halves = [half for number in numbers for half in (number & 0xFFFFFFFF, number >> 32)]
    sequence = np.random.SeedSequence([*halves, len(halves)])
    return sequence.generate_state(count, np.uint64).astype(np.uint64)


@dataclass(frozen=True, kw_only=True, eq=False)
class Permutations:
    """A family of permutations, one per member number and size, for one thread.

    Examples:
        >>> family = Permutations.of(7)
        >>> sorted(family.one(np.arange(5), 5).tolist())
        [0, 1, 2, 3, 4]
    """

    multipliers: Words
    salts: Words
    scratch: Scratch = field(default_factory=Scratch)

    @classmethod
    def of(cls, *numbers: int) -> Self:
        """Give the family of these numbers (a seed, an epoch, a purpose)."""
        words = key_words(*numbers, count=2 * ROUNDS)
        return cls(multipliers=words[:ROUNDS] | np.uint64(1), salts=words[ROUNDS:])

    def one(self, values: Ints, size: int, member: int = 0) -> Ints:
        """Permute int64 values in [0, size) by one member."""
        sizes, members, counts = (np.array([each]) for each in (size, member, len(values)))
        permuted = self.many(values, sizes=sizes, members=members, counts=counts)
        return permuted.astype(np.int64, copy=False)

    def many(self, values: Ints, *, sizes: Ints, members: Ints, counts: Ints) -> NDArray[Any]:
        """Permute runs: the k-th, of `counts[k]` values in [0, sizes[k]), by `members[k]`.

        All arrays are int64, `counts` sums to `len(values)`. The result may be of unsigned words,
        in memory that the next call uses.
        """
        kinds = np.searchsorted(_KINDS, sizes)
        if (kinds == kinds[0]).all():
            return self._alike(values, sizes, members, counts)
        of_value = np.repeat(kinds, counts)
        result = np.empty_like(values)
        for kind in np.unique(kinds):
            run, value = kinds == kind, of_value == kind
            result[value] = self._alike(values[value], sizes[run], members[run], counts[run])
        return result

    def undo_one(self, values: Ints, size: int) -> Ints:
        """Undo `one`: int64 values in [0, size) to those that `one` maps to them."""
        if size <= SMALL:
            return np.argsort(self.one(np.arange(size), size))[values]
        return self._network(np.array([size]), np.zeros(1, np.int64)).undo(values)

    def words(self, values: Ints) -> Words:
        """Give a random 64-bit word for each value of at least 0."""
        return mix64(mix64(values.astype(np.uint64) * _GOLDEN + self.salts[0]) ^ self.salts[1])

    def _alike(self, values: Ints, sizes: Ints, members: Ints, counts: Ints) -> NDArray[Any]:
        if sizes[0] <= SMALL:
            return self._sorted(values, sizes, members, counts)
        return self._network(sizes, members).permute(values, counts, self.scratch)

    def _network(self, sizes: Ints, members: Ints) -> Network:
        rounds = ROUNDS if sizes[0] <= MEDIUM else FEWER_ROUNDS
        return Network.of(sizes, self.multipliers[:rounds], self._round_keys(members)[:rounds])

    def _round_keys(self, members: Ints) -> Words:
        """Give the key of each round for each member: (ROUNDS, members)."""
        return mix64(self.salts[:, None] + members.astype(np.uint64) * _GOLDEN)

    def _sorted(self, values: Ints, sizes: Ints, members: Ints, counts: Ints) -> Ints:
        columns = np.arange(int(sizes.max()))
        keys = self._round_keys(members)[0]
        hashes = mix64(keys[:, None] + columns.astype(np.uint64) * _GOLDEN)
        hashes >>= np.uint64(1)
        hashes[columns >= sizes[:, None]] = np.iinfo(np.uint64).max
        tables = np.argsort(hashes, axis=1, kind="stable")
        return tables[np.repeat(np.arange(len(sizes)), counts), values]
