"""Calls that no Ctrl-C cuts short."""

import subprocess
import sys
import threading

import pytest
from processes import HANG

from npdata.runtime.undisturbed import undisturbed


def test_it_gives_what_the_function_gives() -> None:
    assert undisturbed(sorted, [2, 1], reverse=True) == [2, 1]
    assert undisturbed(lambda: None) is None


@pytest.mark.parametrize("kind", [OSError, KeyboardInterrupt, SystemExit])
def test_it_raises_what_the_function_raises(kind: type[BaseException]) -> None:
    def fail() -> None:
        raise kind("no such file")

    with pytest.raises(kind, match="no such file"):
        undisturbed(fail)


def test_it_runs_where_no_signal_arrives() -> None:
    assert undisturbed(threading.get_ident) != threading.main_thread().ident


LITTLE_MEMORY = """
import contextlib, pathlib, resource
from npdata.runtime.shared_calls import shared_calls
from npdata.runtime.undisturbed import undisturbed

def shared(kind):
    with shared_calls(kind, range(3), threads=1, ahead=2) as results:
        return sum(results)

size = int(pathlib.Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
for more in range(0, 12 << 20, 1 << 14):
    with contextlib.suppress(MemoryError, RuntimeError):
        resource.setrlimit(resource.RLIMIT_AS, (size + more, -1))
        CALL
    resource.setrlimit(resource.RLIMIT_AS, (-1, -1))
assert CALL in (0, 3)
"""


@pytest.mark.parametrize("call", ["undisturbed(int)", "shared(int)"])
@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_nobody_waits_for_a_thread_that_has_no_memory_to_begin(call: str) -> None:
    code = LITTLE_MEMORY.replace("CALL", call)
    done = subprocess.run([sys.executable, "-c", code], timeout=HANG, check=False)
    assert done.returncode == 0
