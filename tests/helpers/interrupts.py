"""An interrupt at any bytecode of chosen files, as Ctrl-C may come between any two of them."""

import faulthandler
import os
import random
from collections.abc import Callable

import inject
from processes import HANG


def run_interrupted(
    action: Callable[[], object],
    files: str,
    boundary: int,
    error: type[BaseException] = KeyboardInterrupt,
) -> int | None:
    """Run `action`, interrupted as by `inject.run`; the error is caught, as a notebook does.

    A hang ends the process and shows the stacks of all threads.
    """
    faulthandler.dump_traceback_later(HANG, exit=True)
    try:
        return inject.run(action, boundary, files, error)
    finally:
        faulthandler.cancel_dump_traceback_later()


def boundaries(total: int, most: int = 10) -> list[int]:
    """Choose boundaries of `total`: both ends and some at random, which NPDATA_FUZZ_SEED changes.

    NPDATA_BOUNDARIES says how many in place of `most`, and 0 is all.
    """
    most = int(os.environ.get("NPDATA_BOUNDARIES", most))
    every = range(1, total + 1)
    if not most or total <= most:
        return list(every)
    chance = random.Random(int(os.environ.get("NPDATA_FUZZ_SEED", "0")))
    return sorted({1, total, *chance.sample(every, most)})
