"""Raise at one boundary between two instructions of npdata's code, wherever a signal could arrive.

Left out is the end of a with block, from its last instruction to the call of `__exit__`: CPython
looks for signals at calls and jumps, and there is none in between.
"""

import dis
import functools
import sys
from collections.abc import Callable
from pathlib import Path
from types import CodeType, FrameType
from typing import Any

import npdata

PACKAGE = str(Path(npdata.__file__).parent)


class Injected(BaseException):
    """What is raised: no Exception, as KeyboardInterrupt is none."""


@functools.cache
def sheltered(code: CodeType) -> frozenset[int]:
    """Give the offsets of the instructions that call `__exit__` with three times None.

    A `return` inside the block swaps its value with `__exit__` first.
    """
    steps = list(dis.get_instructions(code))
    found: set[int] = set()
    for k in range(len(steps) - 4):
        part = steps[k : k + 5]
        nones = all(s.opname == "LOAD_CONST" and s.argval is None for s in part[:3])
        if nones and ("CALL" in (part[3].opname, part[4].opname)):
            found |= {step.offset for step in part}
            if steps[k - 1].opname == "SWAP":
                found.add(steps[k - 1].offset)
    return frozenset(found)


def run(
    action: Callable[[], Any],
    boundary: int,
    files: str = PACKAGE,
    error: type[BaseException] = Injected,
) -> int | None:
    """Run `action`, and raise `error` before instruction number `boundary` of `files`; -1: never.

    `files` is a part of the path of a module. Only this thread is interrupted. Gives the number of
    instructions seen where it raised nothing, else None.
    """
    seen, raised = 0, False

    def trace(frame: FrameType, event: str, _: object) -> Any:
        nonlocal seen, raised
        if files not in frame.f_code.co_filename:
            return None
        frame.f_trace_opcodes = True
        frame.f_trace_lines = False
        if event == "opcode":
            seen += 1
            due = 0 < boundary <= seen
            if due and frame.f_lasti not in sheltered(frame.f_code):
                raised = True
                raise error  # ends the tracing, too
        return trace

    before = sys.gettrace()
    sys._getframe().f_trace_opcodes = True  # Python 3.12 counts only if a frame asks by now
    try:
        sys.settrace(trace)
        action()
    except error:
        if not raised:
            raise
    finally:
        sys.settrace(before)
    return None if raised else seen
