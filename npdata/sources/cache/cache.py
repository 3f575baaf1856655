"""Where decoded rows are to be kept, as a user says it: in a folder, or in memory.

Idea: when a dataset is opened, room is made for its chunks, and what travels to other processes is
an address, which each opens for itself. Invariant: an address is small and pickles; what it leads
to has the chunks of one dataset in one state of its file, or is made anew.
"""

import contextlib
import errno
import operator
import os
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

from npdata.errors import FieldError
from npdata.runtime.living import Living
from npdata.runtime.machine import free_of_machine
from npdata.runtime.memory_file import memory_file
from npdata.sources.cache.entry import Entry
from npdata.sources.cache.folder import Folder
from npdata.sources.cache.plan import Plan, is_laid_out, lay_out
from npdata.sources.cache.room import Lock, Room
from npdata.sources.file import Descriptor

CachePlace: TypeAlias = str | os.PathLike[str]


class Kept(ABC):
    """Where the chunks of a dataset are kept; `limit` of them, from the first on, find room."""

    plan: Plan
    limit: int
    place: str

    @property
    def whole(self) -> bool:
        """Whether all chunks find room."""
        return self.limit >= self.plan.count

    @property
    def text(self) -> str:
        """Say where the chunks are kept, and how many."""
        count = self.plan.count
        if self.whole:
            return f"each chunk is decoded once and kept in {self.place}"
        return f"the first {self.limit} of {count} chunks are decoded once and kept in {self.place}"

    @abstractmethod
    def open(self) -> Entry:
        """Open the file of the chunks in this process; OSError where the system refuses."""


class KeptInFolder(Kept):
    """Chunks in a file of a folder; with `lock` nobody takes their room before they are read."""

    def __init__(self, plan: Plan, place: str, limit: int, lock: Lock | None = None) -> None:
        self.plan = plan
        self.limit = limit
        self.place = place
        self.path = Folder(place).path_of(plan)
        self._lock = lock
        _in_folders.add(self)

    def open(self) -> Entry:
        """Open the file, or make it again."""
        held = Folder(self.place).open(self.plan, self.plan.most_with(self.limit))
        entry = Entry(held, self.plan, self.limit, self.path)
        self._lock = None  # it has one of its own
        return entry

    def __reduce__(self) -> tuple[Any, ...]:
        """Leave out the lock, which is that of one process."""
        return type(self), (self.plan, self.place, self.limit)


class KeptInMemory(Kept):
    """Chunks in a file without a name, in memory, that ends with the processes that have it open.

    Processes that were started by this one, forked or not, find it by its descriptor here; where
    the system does not allow that, each has one of its own.
    """

    place = "memory"

    def __init__(self, plan: Plan, limit: int) -> None:
        self.plan = plan
        self.limit = limit
        self._held: Descriptor | None = _file_in_memory(plan)
        self._path = f"/proc/{os.getpid()}/fd/{self._held.number}"
        _in_memory.add(self)

    def open(self) -> Entry:
        """Open the file of the process that made this."""
        held = self._held
        if held is None:
            with contextlib.suppress(OSError):
                held = Descriptor(os.open, self._path, os.O_RDWR)
        if held is None or not is_laid_out(held.number, self.plan):
            held = _file_in_memory(self.plan)
        return Entry(held, self.plan, self.limit)

    def __getstate__(self) -> dict[str, Any]:
        """Leave out the descriptor, which is that of one process."""
        return self.__dict__ | {"_held": None}


_in_memory: "Living[KeptInMemory]" = Living()
_in_folders: Living[KeptInFolder] = Living()
"""Their files are in use, also where the file system has no locks, or a map does not hold one."""

Keep: TypeAlias = Callable[[Plan], Kept]
"""Makes room for a dataset; OSError, with the folder, where nothing can be written there."""


@dataclass(frozen=True, kw_only=True)
class Cache:
    """`folder` (None: memory), in which all datasets together take `most` bytes (None: half)."""

    folder: str | None
    most: int | None

    @classmethod
    def of(cls, asked: Any, most: Any) -> "Cache | None":
        """Understand the arguments `cache=` and `cache_bytes=`; None where no cache is asked for.

        Raises `FieldError` for what is none.

        Examples:
            >>> Cache.of("ram", 1 << 30), Cache.of(None, None)
            (Cache(folder=None, most=1073741824), None)
        """
        if most is not None:
            number = -1
            with contextlib.suppress(TypeError):
                number = operator.index(most)
            if number < 0 or isinstance(most, bool):
                raise FieldError(
                    f"cache_bytes={most!r}: expected a number of bytes, as 100 * 10**9"
                )
            most = number
        if asked is None:
            if most is not None:
                raise FieldError('cache_bytes= is for cache=, which is a folder or "ram"')
            return None
        if not isinstance(asked, str | os.PathLike) or not os.fspath(asked):
            raise FieldError(
                f'cache={asked!r:.60}: expected a folder, or "ram"; a field of that name goes into '
                f"a mapping: NumpyDataset({{'cache': ...}})"
            )
        path = os.fsdecode(asked)
        if path != "ram" and path.lower() in ("ram", "memory"):
            raise FieldError(
                f'cache={path!r}: write cache="ram" for memory, or "./{path}" for a folder of that '
                "name"
            )
        folder = None if path == "ram" else str(Path(path).expanduser().absolute())
        return cls(folder=folder, most=most)

    @contextlib.contextmanager
    def room(self) -> Iterator[Keep]:
        """Give what makes room for any number of datasets, each beside those before it."""
        place = self.folder
        if place is None:
            yield self._keep_in_memory
            return
        in_use = {kept.path for kept in _in_folders}
        with Room(Folder(place), self.most, in_use) as room:
            yield lambda plan: KeptInFolder(plan, place, *room.reserve(plan))

    def _keep_in_memory(self, plan: Plan) -> Kept:
        others = sum(kept.limit * kept.plan.chunk_bytes for kept in _in_memory)
        room = (self.most if self.most is not None else free_of_machine() // 2) - others
        return KeptInMemory(plan, max(0, min(plan.count, room // plan.chunk_bytes)))


def _file_in_memory(plan: Plan) -> Descriptor:
    """Make an empty file without a name; OSError where the system allows none so long.

    Raises `FieldError` where the system has no such files.
    """
    try:
        held = Descriptor(memory_file, "npdata-cache")
    except OSError as error:
        if error.errno == errno.ENOSYS:
            raise FieldError(
                'cache="ram" is a file in memory that processes share, as only Linux has it: give '
                'a folder, such as cache="decoded"'
            ) from None
        raise OSError(
            error.errno,
            f'{error.strerror}; cache="ram" keeps one open for each file of rows: allow more '
            "(ulimit -n), or give a folder",
        ) from None
    try:
        lay_out(held.number, plan)
    except OSError as error:
        raise OSError(
            error.errno,
            f'{error.strerror}; cache="ram" is a file of {plan.nbytes} bytes in memory: allow '
            "files of that size (ulimit -f), or leave cache= out",
        ) from None
    return held
