"""Processes that begin with npdata imported: forks of one that does nothing else.

Idea: torch is imported in 3 s, and a process forked in 10 ms. Code in a fork runs as by
`python -W error -c`: as `__main__`, and to the end of the interpreter. The process that forks has
one thread and has opened nothing. Not for what a new interpreter alone shows: which modules it
imports, what memory it takes, and variables that a library reads while it is imported.
"""

import atexit
import ctypes
import functools
import gc
import json
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path
from types import CodeType
from typing import Any

import npdata

MOST_BYTES = 1 << 17
_SIGNAL_AT_THE_PARENTS_END = 1
BEGIN = "import sys; sys.path.append(sys.argv[1]); from forks import serve; exec(serve())"


def serve() -> CodeType:
    """Fork, or wait for a fork, as asked; in a fork, give the code that it is to run."""
    for name in npdata.__all__:
        getattr(npdata, name)
    _end_with_the_parent()
    gc.collect()
    gc.freeze()  # else each fork looks through all of torch when it ends, for 0.8 s
    with socket.socket(fileno=int(sys.argv[2])) as tests:
        while True:
            message, files, _, _ = socket.recv_fds(tests, MOST_BYTES, 2)
            if not message:  # the tests have ended
                sys.exit()
            asked = json.loads(message)
            if "ended" in asked:
                answer = os.waitstatus_to_exitcode(os.waitpid(asked["ended"], 0)[1])
            else:
                answer = os.fork()
                if answer == 0:
                    _end_with_the_parent()
                    return _begun(files, **asked)
                for file in files:
                    os.close(file)
            tests.send(str(answer).encode())


def _end_with_the_parent() -> None:
    """Let the system kill this process when its parent is: one that loops would do so for ever."""
    control = getattr(ctypes.CDLL(None), "prctl", None)
    if control is not None:
        control(_SIGNAL_AT_THE_PARENTS_END, signal.SIGKILL)


def _begun(
    files: list[int], code: str, arguments: list[str], folder: str, environment: dict[str, str]
) -> CodeType:
    for number, file in enumerate(files, 1):
        os.dup2(file, number)
        os.close(file)
    sys.stdout = os.fdopen(1, "w", closefd=False)
    sys.stderr = os.fdopen(2, "w", buffering=1, errors="backslashreplace", closefd=False)
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(environment)
    sys.argv[:] = ["-c", *arguments]
    return compile(code, "<string>", "exec")


class Forks:
    """The process that forks, in the environment that it begins with; the first fork starts it."""

    def __init__(self, environment: dict[str, str]) -> None:
        self._environment = environment

    @functools.cached_property
    def _server(self) -> socket.socket:
        own, other = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        atexit.register(own.close)
        with other:
            helpers, number = str(Path(__file__).parent), str(other.fileno())
            process = subprocess.Popen(
                [sys.executable, "-W", "error", "-c", BEGIN, helpers, number],
                stdin=subprocess.DEVNULL,
                pass_fds=[other.fileno()],
                env=self._environment,
            )
        process.returncode = 0  # it ends after this process
        return own

    def ask(self, *, files: tuple[int, ...] = (), **asked: Any) -> int:
        socket.send_fds(self._server, [json.dumps(asked).encode()], files)
        return int(self._server.recv(100))

    def begin(
        self,
        code: str,
        arguments: tuple[str, ...],
        environment: dict[str, str],
        out_and_errors: tuple[int, int],
    ) -> "Fork":
        """Start a process in the folder where this one is."""
        number = self.ask(
            files=out_and_errors,
            code=code,
            arguments=arguments,
            folder=str(Path.cwd()),
            environment=environment,
        )
        return Fork(self, number)


class Fork:
    """A process that was started, and its exit status, or minus the signal that killed it."""

    def __init__(self, forks: Forks, number: int) -> None:
        self._forks, self.number = forks, number
        self.status: int | None = None

    def send(self, signal_number: int) -> None:
        if self.status is None:
            os.kill(self.number, signal_number)

    def wait(self) -> int:
        if self.status is None:
            self.status = self._forks.ask(ended=self.number)
        return self.status
