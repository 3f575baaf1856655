"""Which part a row lies in is what NumPy says of the parts laid end to end."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from npdata.sources.concatenated.edges import Edges

LENGTHS = st.one_of(
    st.lists(st.integers(0, 6), min_size=1, max_size=8),
    st.builds(
        lambda n, parts, last: [n] * parts + [min(n, last)],
        st.integers(0, 6),
        st.integers(0, 6),
        st.integers(0, 6),
    ),
)


def numbered(lengths: list[int]) -> list[tuple[int, int]]:
    """Give the part of each row, and its number in the part."""
    return [(part, row) for part, length in enumerate(lengths) for row in range(length)]


@given(LENGTHS, st.randoms(use_true_random=False))
def test_rows_are_split_among_the_parts_that_have_them(lengths: list[int], random) -> None:
    expected, edges = numbered(lengths), Edges(np.array(lengths))
    asked = np.array(random.sample([*range(len(expected))] * 2, 2 * len(expected)), np.int64)
    owners = edges.owners(asked)
    assert owners.tolist() == [expected[row][0] for row in asked.tolist()]
    found = {
        place: (owner, row)
        for owner, places, inside in edges.split(asked, owners)
        for place, row in zip(places.tolist(), inside.tolist(), strict=True)
    }
    assert [found[k] for k in range(len(asked))] == [expected[row] for row in asked.tolist()]


@given(LENGTHS, st.integers(0, 40), st.integers(0, 40))
def test_a_span_of_rows_goes_across_parts_in_order(lengths: list[int], a: int, b: int) -> None:
    expected, edges = numbered(lengths), Edges(np.array(lengths))
    first, stop = min(a, b), min(max(a, b), len(expected))
    spans = list(edges.across(first, stop))
    assert all(low < high for _, low, high in spans)
    seen = [(owner, row) for owner, low, high in spans for row in range(low, high)]
    assert seen == expected[first:stop]
