"""Maps of files that need no descriptor, where those of Python keep one open each.

Idea: a map outlives the descriptor it was made by, so thousands of files stay mapped, none open.
Invariant: memory that an array refers to is mapped; at exit maps stay: a thread may still read.
"""

import ctypes
import errno
import mmap
import os
import platform
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from npdata.arrays.gather import address_of
from npdata.runtime.keep_at_once import keep_at_once

_MADV_PAGEOUT = 21
_MADV_COLLAPSE = 25
LARGE_PAGE = 1 << 21
"""The bytes of a large page of the system, which begins at a multiple of them."""
_GENERIC_NORESERVE = 0x4000
_GENERIC_MACHINES = ("x86_64", "aarch64", "riscv64", "s390x")
_GENERIC_FIXED = 0x10
_FAILED = ctypes.c_void_p(-1).value
_MAP = re.compile(r"^(\w+)-(\w+) \S+ \w+ \S+ (\d+).*\n((?:[A-Z].*\n)*)", re.MULTILINE)
"""A map in /proc/self/smaps: its addresses, its inode, and lines that tell of its pages."""


def _system() -> ctypes.CDLL:
    """Give the functions of the system that Python has not: a map without a descriptor."""
    library = ctypes.CDLL(None, use_errno=True)
    library.mmap.restype = ctypes.c_void_p
    integers = (ctypes.c_int, ctypes.c_int, ctypes.c_int, ctypes.c_int64)
    library.mmap.argtypes = (ctypes.c_void_p, ctypes.c_size_t, *integers)
    library.munmap.argtypes = (ctypes.c_void_p, ctypes.c_size_t)
    library.madvise.argtypes = (ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int)
    return library


_libc = _system()


class _Region:
    """A map that lives as long as this object, as an array for NumPy."""

    def __init__(self, nbytes: int, rights: int, flags: int, descriptor: int) -> None:
        """Map bytes of a file from its first one on; -1 is none. Raises OSError."""
        self._nbytes = nbytes
        self._held: list[int] = []
        start = _map(self._held, None, nbytes, rights, flags, descriptor, 0)
        self.__array_interface__ = {
            "data": (start, not rights & mmap.PROT_WRITE),
            "shape": (nbytes,),
            "typestr": "|u1",
            "version": 3,
        }

    def __del__(
        self,
        unmap: Callable[[int, int], int] = _libc.munmap,
        exits: Callable[[], bool] = sys.is_finalizing,
    ) -> None:
        """Unmap it; as `Descriptor`."""
        if not exits():
            for start in self.__dict__.get("_held", ()):
                unmap(start, self._nbytes)


def mapped(descriptor: int, nbytes: int, *, writable: bool = False) -> NDArray[np.uint8]:
    """Map a file of `nbytes` bytes, at least 1: for reading, or copy-on-write without reserving.

    The map needs no descriptor, where those of Python keep one open. Raises OSError.
    """
    rights = mmap.PROT_READ | (mmap.PROT_WRITE if writable else 0)
    return np.asarray(_Region(nbytes, rights, _private(), descriptor))


def reserved(nbytes: int, align: int) -> NDArray[np.uint8] | None:
    """Reserve addresses, from a multiple of `align` on, of which none may be read yet.

    They take no memory, and are free again when the array is gone, with what was mapped there. None
    where the system refuses, or is not known to replace a map by another (Linux is).
    """
    if not _generic_linux():
        return None
    try:
        region = np.asarray(_Region(nbytes + align, 0, mmap.MAP_ANONYMOUS | _private(), -1))
    except OSError:
        return None
    return region[-address_of(region) % align :][:nbytes]


def map_at(address: int, descriptor: int, offset: int, nbytes: int) -> None:
    """Map bytes of a file for reading at an address that was `reserved`; raises OSError."""
    _map([], address, nbytes, mmap.PROT_READ, _private() | _GENERIC_FIXED, descriptor, offset)


def _map(held: list[int], at: int | None, nbytes: int, *how: int) -> int:
    start: int | None = keep_at_once(held, _libc.mmap, at, nbytes, *how)
    if start is None or start == _FAILED:
        held.clear()
        code = ctypes.get_errno()
        raise OSError(code, f"a map of {nbytes} bytes is refused: {os.strerror(code)}")
    return start


def _private() -> int:
    """Give the flags of a private map, which reserves no memory where the system has such maps."""
    if hasattr(mmap, "MAP_NORESERVE"):
        return int(mmap.MAP_PRIVATE | mmap.MAP_NORESERVE)
    return mmap.MAP_PRIVATE | (_GENERIC_NORESERVE if _generic_linux() else 0)


def _generic_linux() -> bool:
    """Tell whether flags of the system have the numbers that most machines give them."""
    return sys.platform == "linux" and platform.machine() in _GENERIC_MACHINES


def page_out(address: int, nbytes: int) -> None:
    """Let the kernel take the whole pages of mapped memory out of it; no change is lost.

    MADV_DONTNEED would undo what a user wrote to the rows; MADV_PAGEOUT (Linux 5.4) does not.
    """
    first = -(-address // mmap.PAGESIZE) * mmap.PAGESIZE
    whole = (address + nbytes) // mmap.PAGESIZE * mmap.PAGESIZE - first
    if whole > 0 and sys.platform == "linux":
        _libc.madvise(first, whole, _MADV_PAGEOUT)


def mapped_for_large_pages(descriptor: int, nbytes: int) -> NDArray[np.uint8]:
    """Map a file for reading from a multiple of `LARGE_PAGE` on, where that can be; as `mapped`."""
    place = reserved(nbytes, LARGE_PAGE)
    if place is None:
        return mapped(descriptor, nbytes)
    map_at(address_of(place), descriptor, 0, nbytes)
    return place


def allocate_large_page(descriptor: int, offset: int, address: int) -> None:
    """Make `LARGE_PAGE` bytes of a file in memory one page; what was written there stays.

    They begin at `offset`, and are mapped at an address that is a multiple of them. Raises
    BlockingIOError where a thread writes there, OSError where the system has no such page (Linux
    has from 6.1 on). It takes 0.15 ms, and 0.6 to 6 where all was written before.
    """
    if sys.platform != "linux":
        raise OSError(errno.ENOSYS, "large pages are known on Linux")
    os.posix_fallocate(descriptor, offset, 1)  # a hole alone makes no page
    if _libc.madvise(address, LARGE_PAGE, _MADV_COLLAPSE):
        raise OSError(ctypes.get_errno(), "no large page")


class MapPages(NamedTuple):
    """What the system knows of a map: the file's inode, and whether pages were written to."""

    inode: int
    private: bool


def map_pages(array: NDArray[Any]) -> MapPages | None:
    """Look up the map that `array` lies in, in /proc/self/smaps; None where there is none."""
    try:
        maps = _MAP.findall(Path("/proc/self/smaps").read_text())
    except OSError:
        return None
    start, found = address_of(array), None
    for low, high, inode, pages in maps:
        if int(low, 16) < start + max(1, array.nbytes) and start < int(high, 16):
            written = not re.search("^Anonymous: +0 kB", pages, re.MULTILINE)
            found = MapPages(int(inode), written or (found is not None and found.private))
    return found
