"""Random datasets, each row as h5py gives it.

Every dataset is made from its seed alone. NPDATA_FUZZ_COUNT sets how many are tried (`make fuzz`:
10,000), NPDATA_FUZZ_SEED tries one.
"""

import os
import re
from collections import Counter
from pathlib import Path

import pytest
from h5fuzz import check_many

COUNT = int(os.environ.get("NPDATA_FUZZ_COUNT", "400"))
SEED = os.environ.get("NPDATA_FUZZ_SEED")
SHARES = 2


@pytest.mark.parametrize("part", range(SHARES))
def test_random_datasets_are_read_as_h5py_reads_them(part: int, tmp_path: Path) -> None:
    if SEED is not None:
        check_many(range(int(SEED), int(SEED) + 1), tmp_path)
        return
    tally = check_many(range(part, COUNT, SHARES), tmp_path)
    print(dict(tally.access), f"h5py cannot read {tally.unreadable}, nor make {tally.unmade}")
    for reason, count in Counter(
        re.sub(r"\d+|\(.*\)", "*", r) for r in tally.reasons.elements()
    ).most_common():
        print(f"{count:6d} {reason}")
    tried = sum(tally.access.values())
    assert tally.access["mapped"] > tried / 10
    assert tally.access["decoded"] > tried / 5
    assert tally.access["library"] > tried / 20
    assert tally.unreadable + tally.unmade < tried / 10
