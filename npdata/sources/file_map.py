"""Maps of files that need no descriptor, where those of Python keep one open each.

Idea: a map outlives the descriptor it was made by, so thousands of files stay mapped, none open.
Invariant: memory that an array refers to is mapped; at exit maps stay: a thread may still read.
"""

import ctypes
import mmap
import os
import platform
import sys
import weakref
from typing import Any

import numpy as np
from numpy.typing import NDArray

_MADV_PAGEOUT = 21
_GENERIC_NORESERVE = 0x4000
_GENERIC_MACHINES = ("x86_64", "aarch64", "riscv64", "s390x")
_GENERIC_FIXED = 0x10
_FAILED = ctypes.c_void_p(-1).value


def _system() -> Any:
    """Give the functions of the system that Python has not: a map without a descriptor."""
    if sys.platform == "win32":
        return None
    library = ctypes.CDLL(None, use_errno=True)
    library.mmap.restype = ctypes.c_void_p
    integers = (ctypes.c_int, ctypes.c_int, ctypes.c_int, ctypes.c_int64)
    library.mmap.argtypes = (ctypes.c_void_p, ctypes.c_size_t, *integers)
    library.munmap.argtypes = (ctypes.c_void_p, ctypes.c_size_t)
    library.madvise.argtypes = (ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int)
    return library


_libc = _system()

WITHOUT_DESCRIPTOR = _libc is not None
"""Whether this system has such maps."""


class _Region:
    """A map that lives as long as this object, as an array for NumPy."""

    def __init__(self, start: int, nbytes: int, writable: bool) -> None:
        self.__array_interface__ = {
            "data": (start, not writable),
            "shape": (nbytes,),
            "typestr": "|u1",
            "version": 3,
        }
        # At exit the maps stay: a thread may still read.
        weakref.finalize(self, _unmap, start, nbytes).atexit = False


def mapped(descriptor: int, nbytes: int, *, writable: bool = False) -> NDArray[np.uint8]:
    """Map a file of `nbytes` bytes, at least 1: for reading, or copy-on-write without reserving.

    The map needs no descriptor, where those of Python keep one open. Raises OSError.
    """
    if _libc is None:
        access = mmap.ACCESS_COPY if writable else mmap.ACCESS_READ
        return np.frombuffer(mmap.mmap(descriptor, 0, access=access), np.uint8)
    flags = mmap.MAP_PRIVATE | _noreserve()
    rights = mmap.PROT_READ | (mmap.PROT_WRITE if writable else 0)
    start = _libc.mmap(None, nbytes, rights, flags, descriptor, 0)
    if start in (None, _FAILED):
        raise _refused(nbytes)
    return np.asarray(_Region(start, nbytes, writable))


def reserved(nbytes: int, align: int) -> NDArray[np.uint8] | None:
    """Reserve addresses, from a multiple of `align` on, of which none may be read yet.

    They take no memory, and are free again when the array is gone, with what was mapped there. None
    where the system refuses, or is not known to replace a map by another (Linux is).
    """
    if _libc is None or not _generic_linux():
        return None
    flags = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | _noreserve()
    start = _libc.mmap(None, nbytes + align, 0, flags, -1, 0)
    if start in (None, _FAILED):
        return None
    return np.asarray(_Region(start, nbytes + align, writable=False))[-start % align :][:nbytes]


def map_at(address: int, descriptor: int, offset: int, nbytes: int) -> None:
    """Map bytes of a file for reading at an address that was `reserved`; raises OSError."""
    flags = mmap.MAP_PRIVATE | _noreserve() | _GENERIC_FIXED
    start = _libc.mmap(address, nbytes, mmap.PROT_READ, flags, descriptor, offset)
    if start in (None, _FAILED):
        raise _refused(nbytes)


def _refused(nbytes: int) -> OSError:
    code = ctypes.get_errno()
    return OSError(code, f"a map of {nbytes} bytes is refused: {os.strerror(code)}")


def _unmap(start: int, nbytes: int) -> None:
    if _libc is not None:
        _libc.munmap(start, nbytes)


def _noreserve() -> int:
    """Give the flag of a map that reserves no memory, 0 where the system has none."""
    if hasattr(mmap, "MAP_NORESERVE"):
        return int(mmap.MAP_NORESERVE)
    return _GENERIC_NORESERVE if _generic_linux() else 0


def _generic_linux() -> bool:
    """Tell whether flags of the system have the numbers that most machines give them."""
    return sys.platform == "linux" and platform.machine() in _GENERIC_MACHINES


def page_out(address: int, nbytes: int) -> None:
    """Let the kernel take the whole pages of mapped memory out of it; no change is lost.

    MADV_DONTNEED would undo what a user wrote to the rows; MADV_PAGEOUT (Linux 5.4) does not.
    """
    first = -(-address // mmap.PAGESIZE) * mmap.PAGESIZE
    whole = (address + nbytes) // mmap.PAGESIZE * mmap.PAGESIZE - first
    if whole > 0 and _libc is not None and sys.platform == "linux":
        _libc.madvise(first, whole, _MADV_PAGEOUT)
