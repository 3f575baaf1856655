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


def run(action: Callable[[], Any], boundary: int) -> int | None:
    """Run `action`, and raise before instruction number `boundary` of npdata in this thread.

    Gives the number of instructions seen where it raised nothing, else None.
    """
    seen = 0

    def trace(frame: FrameType, event: str, _: object) -> Any:
        nonlocal seen
        if not frame.f_code.co_filename.startswith(PACKAGE):
            return None
        frame.f_trace_opcodes = True
        if event == "opcode":
            seen += 1
            if seen >= boundary and frame.f_lasti not in sheltered(frame.f_code):
                raise Injected
        return trace

    before = sys.gettrace()
    sys._getframe().f_trace_opcodes = True  # Python 3.12 counts only if a frame asks by now
    try:
        sys.settrace(trace)
        action()
    except Injected:
        return None
    finally:
        sys.settrace(before)
    return seen
