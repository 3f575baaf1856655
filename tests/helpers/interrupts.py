"""An interrupt at any bytecode of chosen files, as Ctrl-C may come between any two of them."""

import faulthandler
import sys
from collections.abc import Callable
from types import FrameType
from typing import Any

from inject import sheltered
from processes import HANG


def run_interrupted(
    action: Callable[[], object],
    files: str,
    boundary: int,
    error: type[BaseException] = KeyboardInterrupt,
) -> int:
    """Run `action`; raise `error` at bytecode number `boundary` in `files`.

    At the next one at which a signal can arrive: a lock that a with block is about to release would
    stay taken, for all later tests.
    `files` is a part of the path of a module. Returns how many bytecodes of them ran; the error is
    caught, as a notebook does. Only the calling thread is interrupted. A hang ends the process and
    shows the stacks of all threads.
    """
    count, raised = 0, False

    def at_opcode(frame: FrameType, event: str, argument: Any) -> Any:
        nonlocal count, raised
        if event == "opcode":
            count += 1
            due = 0 < boundary <= count and not raised
            if due and frame.f_lasti not in sheltered(frame.f_code):
                raised = True
                raise error
        return at_opcode

    def at_call(frame: FrameType, event: str, argument: Any) -> Any:
        if files not in frame.f_code.co_filename:
            return None
        frame.f_trace_opcodes = True
        frame.f_trace_lines = False
        return at_opcode

    faulthandler.dump_traceback_later(HANG, exit=True)
    before = sys.gettrace()
    sys.settrace(at_call)
    try:
        action()
    except error:
        if count < boundary:
            raise
    finally:
        sys.settrace(before)
        faulthandler.cancel_dump_traceback_later()
    return count
