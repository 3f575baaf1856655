"""A file in memory without a name, which processes share by its descriptor.

Idea: Python has `os.memfd_create` only where it was built beside glibc 2.27, as those of uv and
conda often are not; then the C library of this system is asked. Invariant: programs that are
started do not get the descriptor.
"""

import ctypes
import errno
import os
import sys

_CLOSED_IN_PROGRAMS = 1


def memory_file(name: str) -> int:
    """Make one, empty, and give its descriptor.

    Tools of the system show its memory by the name, as `memfd:NAME`. Raises OSError, with ENOSYS
    where the system has no such files, as macOS.

    Examples:
        >>> descriptor = memory_file("mine")
        >>> os.fstat(descriptor).st_size, os.get_inheritable(descriptor), os.close(descriptor)
        (0, False, None)
    """
    if sys.platform == "linux":
        if hasattr(os, "memfd_create"):
            return os.memfd_create(name)
        make = getattr(ctypes.CDLL(None, use_errno=True), "memfd_create", None)
        if make is not None:
            descriptor: int = make(name.encode(), _CLOSED_IN_PROGRAMS)
            if descriptor < 0:
                raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
            return descriptor
    raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS))
