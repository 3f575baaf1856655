"""Values of one process: a child makes its own, also where Ctrl-C comes while it is forked."""

import subprocess
import sys

from processes import environment

INTERRUPTED = """
import ctypes, functools, logging, os, random, signal, threading
import numpy, torch
signal.signal(signal.SIGINT, signal.default_int_handler)
# Behind the functions that these call in a child, and in front of those of npdata.
os.register_at_fork(after_in_child=functools.partial(ctypes.CDLL(None)["raise"], 2))
from npdata.runtime.per_process import ForkSafeLock, PerProcess, this_process
value, lock, parent = PerProcess(os.getpid), ForkSafeLock(), os.getpid()
assert value.get() == parent
held = lock.get()
held.acquire()
try:
    child = os.fork()
except KeyboardInterrupt:
    child = 0
if child == 0:
    assert value.get() == os.getpid() != parent
    assert lock.get() is not held
    print(this_process.forked, flush=True)
    os._exit(0)
assert os.waitpid(child, 0)[1] == 0
"""


def test_ctrl_c_during_a_fork_leaves_nothing_of_the_parent() -> None:
    done = subprocess.run(
        [sys.executable, "-c", INTERRUPTED], capture_output=True, text=True, env=environment()
    )
    assert (done.returncode, done.stdout) == (0, "True\n"), done.stderr
