"""Importing this takes from a process what Linux alone has, so that it is like one on macOS.

Names of Python's modules go, `sys.platform` is another, and nothing is found below /proc. What
macOS does in another way, such as locks of files or Metal, stays as on Linux.
"""

import builtins
import errno
import io
import os
import sys
import sysconfig
import urllib.request  # noqa: F401  # on macOS it needs a module that is not here
from typing import Any

sysconfig.get_config_vars()
sys.platform = "darwin"
for _name in dir(os):
    if _name.startswith(("sched_", "posix_fa", "POSIX_FADV", "memfd", "RWF_", "splice")):
        delattr(os, _name)
_open = io.open


def _open_without_proc(path: Any, *arguments: Any, **options: Any) -> Any:
    if not isinstance(path, int) and os.fsdecode(path).startswith("/proc/"):
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), path)
    return _open(path, *arguments, **options)


io.open = builtins.open = _open_without_proc
