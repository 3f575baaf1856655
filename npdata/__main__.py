"""The command `npdata`, also `python -m npdata`: Ctrl-C ends it at once until it is imported."""

import importlib
import signal
import sys


def main() -> int:
    """Run the command; gives its exit code."""
    before = signal.getsignal(signal.SIGINT)
    if before is signal.default_int_handler:
        signal.signal(signal.SIGINT, signal.SIG_DFL)  # a traceback of imports is of no use
    command = importlib.import_module("npdata.cli.main")
    signal.signal(signal.SIGINT, before)
    code: int = command.main()
    return code


if __name__ == "__main__":
    sys.exit(main())
