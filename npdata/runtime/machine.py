"""What there is of this machine for this process: free memory, of a device too, and cores.

Idea: the smallest of what the system calls available and of what each control group around the
process still allows, where pages of files count as free, since the system takes them back.
Invariant: what a device does not say is None, never a guess. It takes no memory.
"""

import os
import resource
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from npdata.runtime.lazy_torch import torch

_UNLIMITED = 1 << 60
"""Control groups of version 1 write a huge number for no limit."""


def free_bytes(device: "torch.device | None") -> int | None:
    """Give the free bytes of a device, of the machine for None; None if a device says nothing."""
    if device is None:
        return free_of_machine()
    if device.type == "mps":
        return torch.mps.recommended_max_memory() - torch.mps.driver_allocated_memory()
    own: Any = getattr(torch, device.type, None)
    told: Any = getattr(torch.accelerator, "get_memory_info", getattr(own, "mem_get_info", None))
    if told is None:
        return None
    free = int(told(device)[0])
    # torch keeps memory that tensors have left, and gives it out again.
    reserved = getattr(own, "memory_reserved", None)
    allocated = getattr(own, "memory_allocated", None)
    if reserved is not None and allocated is not None:
        free += int(reserved(device)) - int(allocated(device))
    return free


def free_of_machine(root: Path = Path("/")) -> int:
    """Give the bytes that this process may still take; `root` has `proc` and `sys`.

    Where the system has no `/proc/meminfo`, all memory of the machine counts as free.
    """
    found = [*_available(root / "proc/meminfo"), *_left_by_groups(root)]
    return max(0, min(found or [os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")]))


def used_by_process() -> int:
    """Give the bytes of this process in memory; where no `/proc` says, the most until now."""
    pages = _text(Path("/proc/self/statm")).split()
    if pages:
        return int(pages[1]) * os.sysconf("SC_PAGE_SIZE")
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return most if sys.platform == "darwin" else most * 1024


def cores() -> int:
    """Give how many cores this process may use, at least 1."""
    allowed = getattr(os, "sched_getaffinity", None)
    return len(allowed(0)) if allowed else os.cpu_count() or 1


def accelerator() -> "torch.device | None":
    """Give the accelerator that torch finds here; None where there is none."""
    # torch 2.6 raises where there is none.
    return torch.accelerator.current_accelerator() if torch.accelerator.is_available() else None


def releases_at_once() -> bool:
    """Tell whether an object goes with its last reference: without the GIL it may go later."""
    asked: Callable[[], bool] = getattr(sys, "_is_gil_enabled", lambda: True)
    return asked()


def _available(meminfo: Path) -> Iterator[int]:
    for line in _text(meminfo).splitlines():
        name, _, value = line.partition(":")
        if name == "MemAvailable":
            yield int(value.split()[0]) * 1024


def _left_by_groups(root: Path) -> Iterator[int]:
    """Give what each control group of memory around this process has left of its limit."""
    for line in _text(root / "proc/self/cgroup").splitlines():
        _, controllers, path = line.split(":", 2)
        if controllers == "":
            top, names = root / "sys/fs/cgroup", ("memory.max", "memory.current", "inactive_file")
        elif "memory" in controllers.split(","):
            top = root / "sys/fs/cgroup/memory"
            names = ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file")
        else:
            continue
        # In a container the group of the process is often what is mounted at the top.
        inner = top / path.lstrip("/")
        for group in {top, inner, *(p for p in inner.parents if p.is_relative_to(top))}:
            left = _left(group, *names)
            if left is not None:
                yield left


def _left(group: Path, limit: str, usage: str, files: str) -> int | None:
    most, used = _text(group / limit).strip(), _text(group / usage).strip()
    if not most.isdigit() or not used.isdigit() or int(most) >= _UNLIMITED:
        return None
    pairs = (line.split() for line in _text(group / "memory.stat").splitlines())
    reclaimed = sum(int(pair[1]) for pair in pairs if pair[:1] == [files])
    return int(most) - int(used) + reclaimed


def _text(path: Path) -> str:
    try:
        return path.read_text()
    except OSError:
        return ""
