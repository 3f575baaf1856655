"""An interrupt at any bytecode of chosen files, as Ctrl-C may come between any two of them."""

import faulthandler
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
