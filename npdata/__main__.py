"""The command `npdata`, also `python -m npdata`: Ctrl-C ends it at once until it is imported."""

import importlib
import signal
import sys
import threading


def main() -> int:
    """Run the command; gives its exit code."""
    in_main = threading.current_thread() is threading.main_thread()
    swaps = in_main and signal.getsignal(signal.SIGINT) is signal.default_int_handler
    if swaps:
        signal.signal(signal.SIGINT, signal.SIG_DFL)  # a traceback of imports is of no use
    command = importlib.import_module("npdata.cli.main")
    if swaps:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    code: int = command.main()
    return code


if __name__ == "__main__":
    sys.exit(main())
