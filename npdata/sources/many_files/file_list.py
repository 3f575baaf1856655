"""Names of many files, kept small: a common folder, and one run of bytes for what differs.

Idea: a million Python strings take 100 MB and as much in every worker process; their bytes behind
each other take a fourth of that, and a name is made when somebody asks for it. Invariant: item k
is the text that the user would open file k by, and `path(k)` is the same file wherever the process
has gone since. It is a sequence of str that cannot be changed, and looks at no file.
"""

import os
import zlib
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any, overload

import numpy as np
from numpy.typing import NDArray

from npdata.arrays.dtypes import Ints
from npdata.errors import FieldError
from npdata.sources.names import shared

SEPARATOR = "::"
_MEMBER = b"\0"
"""Between a name and its member: no name of a file has this byte."""
_SMALL = 1 << 9
"""Arrays of up to so many bytes are pickled as they are."""


class FileList(Sequence[str]):
    """The names of files, each perhaps with `::member`.

    Examples:
        >>> files = FileList.of(["a/x1.npy", "a/x2.npy"])
        >>> files[1], len(files), files.root
        ('a/x2.npy', 2, 'a/')
    """

    searched: tuple[str, str, str | None] | None = None
    """The folder that was searched, the glob ("" for all of it), which is a name where only the
    member has wildcards, and the member; None where the user listed the files, and after a pickle.
    """

    def __init__(self, root: str, names: bytes, ends: Ints, folder: str) -> None:
        """Take `names` (one run of bytes, which end at `ends`) below `root`; see `of`."""
        self.root = root
        self._names = names
        self._ends = ends
        self._folder = os.fsencode(os.path.join(folder, root))  # noqa: PTH118

    @classmethod
    def of(cls, paths: Sequence[str], members: Sequence[str | None] | None = None) -> "FileList":
        """Keep the paths, seen from the working folder of now, and for each the member or None."""
        root = paths[0][: paths[0].rfind("/", 0, shared(paths)) + 1] if paths else ""
        names = [path[len(root) :] for path in paths]
        if "\0" in "".join(names):
            raise ValueError("embedded null byte in the name of a file")
        for k, member in enumerate(members or ()):
            names[k] += "" if member is None else f"\0{member}"
        together = "".join(names)
        lengths = map(len, names if together.isascii() else map(os.fsencode, names))
        ends = np.cumsum(np.fromiter(lengths, np.int64, len(names)))
        return cls(root, os.fsencode(together), ends, os.getcwd())  # noqa: PTH109

    def __len__(self) -> int:
        return len(self._ends)

    @overload
    def __getitem__(self, index: int) -> str: ...
    @overload
    def __getitem__(self, index: slice) -> list[str]: ...
    def __getitem__(self, index: int | slice) -> str | list[str]:
        if isinstance(index, slice):
            return [self[k] for k in range(*index.indices(len(self)))]
        if not -len(self) <= index < len(self):
            raise IndexError(f"file {index} of {len(self)}")
        member, text = self.member(index % len(self)), self.text(index % len(self))
        return text if member is None else f"{text}{SEPARATOR}{member}"

    def text(self, index: int) -> str:
        """Give the name of file `index`, in [0, len), without a member."""
        return self.root + os.fsdecode(self._parts(index)[0])

    def texts(self) -> list[str]:
        """Give the names of all files, without their members."""
        names = self._all_names()
        if self.has_members:
            names = [name.partition(_MEMBER)[0] for name in names]
        return [self.root + os.fsdecode(name) for name in names]

    def take(self, order: Sequence[int]) -> "FileList":
        """Give the files of these numbers, in this order."""
        taken = FileList.of([self.text(k) for k in order], [self.member(k) for k in order])
        taken._folder = os.path.join(self._start(), os.fsencode(taken.root))  # noqa: PTH118
        return taken

    def path(self, index: int) -> bytes:
        """Give the absolute path of file `index`, in [0, len), for the system."""
        name = self._parts(index)[0]
        return name if not self.root and name.startswith(b"/") else self._folder + name

    def member(self, index: int) -> str | None:
        """Give the member that is meant in file `index`, in [0, len); None for the file itself."""
        _, named, member = self._parts(index)
        return os.fsdecode(member) if named else None

    @property
    def has_members(self) -> bool:
        """Whether any file is named with a member."""
        return _MEMBER in self._names

    @property
    def members_differ(self) -> bool:
        """Whether not all are named with the same member."""
        return len({name.partition(_MEMBER)[1:] for name in self._all_names()}) > 1

    @property
    def anchor(self) -> str:
        """The part of their names that was given and not searched for."""
        return self.root if self.searched is None else self.searched[0]

    def same_names(self, other: "FileList") -> bool:
        """Whether the names below the folders that each list has in common are those of `other`."""
        return self._names == other._names and np.array_equal(self._ends, other._ends)

    def _start(self) -> bytes:
        """Give the folder that names without a leading slash are seen from."""
        return self._folder[: len(self._folder) - len(os.fsencode(self.root))]

    def _all_names(self) -> list[bytes]:
        ends = self._ends.tolist()
        return [self._names[a:b] for a, b in zip([0, *ends], ends, strict=False)]

    def _parts(self, index: int) -> tuple[bytes, bytes, bytes]:
        first = self._ends[index - 1] if index else 0
        return self._names[first : self._ends[index]].partition(_MEMBER)

    def __repr__(self) -> str:
        return f"<{len(self)} files: {first_and_last(self)}>"

    def __reduce__(self) -> tuple[Any, ...]:
        names = np.frombuffer(self._names, np.uint8)
        lengths = np.diff(self._ends, prepend=np.int64(0)).astype(np.int32)
        folder = os.fsdecode(self._start())
        return _unpickled, (self.root, compressed(names), compressed(lengths), folder)


def first_and_last(names: Sequence[str]) -> str:
    """Write the first two of many names, and the last."""
    gap = ["..."] if len(names) > 3 else []
    return ", ".join([*names[:2], *gap, *names[max(2, len(names) - 1) :]])


def runs_of_files(names: Sequence[object]) -> Ints:
    """Give where each file begins in a list that names it once or several times, and the end.

    Raises `FieldError` where a file comes again after another.

    Examples:
        >>> runs_of_files(["a.h5", "a.h5", "b.h5"]).tolist()
        [0, 2, 3]
    """
    first = [k for k, name in enumerate(names) if not k or name != names[k - 1]]
    twice = [name for name, times in Counter(names[k] for k in first).items() if times > 1]
    if twice:
        raise not_together(os.fsdecode(twice[0]) if isinstance(twice[0], bytes) else twice[0])
    return np.array([*first, len(names)], np.int64)


def not_together(name: object) -> FieldError:
    """Give the error for a file that comes again after others."""
    return FieldError(
        f"the rows of file {name!r} do not follow one another, so that it is in no one "
        "part: give groups=, a value for each row"
    )


def _unpickled(root: str, names: Any, lengths: Any, folder: str) -> FileList:
    ends = np.cumsum(decompressed(lengths), dtype=np.int64)
    return FileList(root, decompressed(names).tobytes(), ends, folder)


Compressed = tuple[str, int, bytes]


def compressed(array: NDArray[Any]) -> Compressed:
    """Give an array of numbers as a few bytes: alone where all are equal, else compressed.

    Examples:
        >>> decompressed(compressed(np.arange(3))).tolist(), len(compressed(np.zeros(10**6))[2])
        ([0, 1, 2], 8)
    """
    if len(array) and (array == array[0]).all():
        return array.dtype.str, -len(array), array[:1].tobytes()
    data = array.tobytes()
    return array.dtype.str, len(array), zlib.compress(data, 1) if len(data) > _SMALL else data


def decompressed(given: Compressed) -> NDArray[Any]:
    """Give the array back that was compressed."""
    dtype, count, data = given
    if count < 0:
        return np.full(-count, np.frombuffer(data, dtype)[0])
    if count * np.dtype(dtype).itemsize > _SMALL:
        data = zlib.decompress(data)
    return np.frombuffer(data, dtype).copy()


def searched_from(pattern: str) -> str:
    """Give the part of a glob that is a folder by its name, with its last slash; "" if none is.

    Examples:
        >>> searched_from("data/*/x*.npy"), searched_from("*.npy"), searched_from("x.npy")
        ('data/', '', '')
    """
    magic = [k for k in map(pattern.find, "*?[") if k >= 0]
    return pattern[: pattern.rfind("/", 0, min(magic, default=0)) + 1]


def split_member(text: str) -> tuple[str, str | None]:
    """Split `file::member` into the two, None where no member is named.

    A file or a folder may have `::` in its own name: the longest part that is there counts.

    Examples:
        >>> split_member("d.npz::x"), split_member("x.npy")
        (('d.npz', 'x'), ('x.npy', None))
    """
    if SEPARATOR not in text or Path(text).exists():
        return text, None
    folder = searched_from(text)
    if SEPARATOR in folder and Path(folder).is_dir():
        path, separator, member = text.removeprefix(folder).partition(SEPARATOR)
        return folder + path, member if separator else None
    path = text
    while SEPARATOR in path and not Path(path).exists():
        path = path.rpartition(SEPARATOR)[0]
    if not Path(path).exists():
        path = text.partition(SEPARATOR)[0]
    return path, text.removeprefix(path + SEPARATOR)
