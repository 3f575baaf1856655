"""The files that hold the rows of a virtual dataset or of external storage: found, then watched.

Idea: HDF5 gives fill values where a source of a virtual dataset is missing, and zeros where an
external file is short, both without an error; so each file is looked up the way HDF5 does it, and
identified. Invariant: `external_files` names every file that HDF5 may read for a dataset, through
virtual datasets of virtual datasets too; they are the same in every process, or it is an error.
"""

import itertools
import math
import os
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py

from npdata.errors import ChangedFileError, ExternalDataError, FormatError, TruncatedError
from npdata.sources.file import FileIdentity
from npdata.sources.hdf5.file import H5PY_ERRORS, Hdf5Options, open_file

MOST_NESTED = 16
"""So many virtual datasets may lie over each other."""
ALLOWED = 'missing="fill" of from_hdf5 allows it, and gives fill values for its rows'


@dataclass(frozen=True, kw_only=True)
class ExternalFile:
    """A file beside the main one; `identity` is None where it was missing, as was allowed."""

    path: str
    identity: FileIdentity | None

    @classmethod
    def of(cls, path: str) -> "ExternalFile":
        """Identify the file at `path` as it is now."""
        there = Path(path).exists()
        return cls(path=path, identity=FileIdentity.of(path) if there else None)

    def check(self) -> None:
        """Raise `ChangedFileError` where it is no longer as it was, or there though it was not."""
        if self.identity is None:
            if Path(self.path).exists():
                raise ChangedFileError(
                    f"{self.path} was missing when the dataset over it was opened, and is there "
                    f"now; open the dataset again"
                )
            return
        try:
            now = FileIdentity.of(self.path)
        except FileNotFoundError:
            raise ChangedFileError(
                f"{self.path} is gone since the dataset over it was opened; open it again"
            ) from None
        self.identity.require(now, self.path)


def external_files(
    dataset: h5py.h5d.DatasetID, where: str, options: Hdf5Options
) -> tuple[ExternalFile, ...]:
    """Find all files that hold rows of an open dataset, besides its own.

    Raises `ExternalDataError` for what is missing and `TruncatedError` for what is too short,
    unless `missing="fill"` allows both.
    """
    with ExitStack() as opened:
        search = _Search(opened, options)
        search.add(dataset, where, 0)
        return tuple(search.found.values())


class _Search:
    """The files `found` so far by path, and those open on the way to them until `opened` ends."""

    def __init__(self, opened: ExitStack, options: Hdf5Options) -> None:
        self.found: dict[str, ExternalFile] = {}
        self._opened = opened
        self._locking = options.locking
        self._fill = options.missing == "fill"
        self._files: dict[str, h5py.File] = {}

    def add(self, dataset: h5py.h5d.DatasetID, where: str, depth: int) -> None:
        properties = dataset.get_create_plist()
        layout = properties.get_layout()
        if layout == h5py.h5d.VIRTUAL:
            if depth == MOST_NESTED:
                raise FormatError(f"{where}: more than {MOST_NESTED} virtual datasets are nested")
            for k in range(properties.get_virtual_count()):
                self._add_source(dataset, properties, k, where, depth)
        elif layout == h5py.h5d.CONTIGUOUS:
            self._add_raw(dataset, properties, where)

    def _add_source(
        self, dataset: h5py.h5d.DatasetID, properties: Any, k: int, where: str, depth: int
    ) -> None:
        main = h5py.File(h5py.h5i.get_file_id(dataset))
        prefix = dataset.get_access_plist().get_virtual_prefix()
        file_pattern = properties.get_virtual_filename(k)
        name_pattern = properties.get_virtual_dsetname(k)
        numbered = any("%b" in p.replace("%%", "") for p in (file_pattern, name_pattern))
        # Of a pattern HDF5 goes on until one is missing.
        for block in itertools.count() if numbered else (0,):
            file_name = _numbered(file_pattern, block)
            path = _source_path(file_name, main.filename, prefix)
            source = self._dataset(path, _numbered(name_pattern, block), main)
            if source is None:
                if not (numbered or self._fill):
                    raise ExternalDataError(
                        f"{where} is a virtual dataset, and its source {file_name}::{name_pattern} "
                        f"is missing (looked for at {path}); {ALLOWED}"
                    )
                return
            self._require_extent(source, properties, k, where, path)
            self.add(source, f"{path}::{name_pattern}", depth + 1)

    def _dataset(self, path: str, name: str, main: h5py.File) -> h5py.h5d.DatasetID | None:
        """Open a source and note its file, also where it is missing."""
        if path == str(Path(main.filename).absolute()):
            file = main
        else:
            self.found.setdefault(path, ExternalFile.of(path))
            if self.found[path].identity is None:
                return None
            if path not in self._files:
                self._files[path] = self._opened.enter_context(open_file(path, self._locking))
            file = self._files[path]
        try:
            found = file[name]
        except H5PY_ERRORS:
            return None
        if not isinstance(found, h5py.Dataset):
            return None
        own = str(Path(found.file.filename).absolute())
        if own != path:
            self.found.setdefault(own, ExternalFile.of(own))
        return found.id

    def _require_extent(
        self, source: h5py.h5d.DatasetID, properties: Any, k: int, where: str, path: str
    ) -> None:
        shape = source.get_space().get_simple_extent_dims()
        selected = properties.get_virtual_srcspace(k)
        if self._fill or _holds(shape, selected, properties.get_virtual_vspace(k)):
            return
        raise TruncatedError(
            f"{where} is a virtual dataset that takes more of its source in {path} than the shape "
            f"{shape} has: it was made shorter; {ALLOWED}"
        )

    def _add_raw(self, dataset: h5py.h5d.DatasetID, properties: Any, where: str) -> None:
        count = properties.get_external_count()
        prefix = dataset.get_access_plist().get_efile_prefix()
        main = h5py.h5f.get_name(h5py.h5i.get_file_id(dataset)) if count else b""
        rest = dataset.get_storage_size()
        for k in range(count):
            name, offset, size = properties.get_external(k)
            path = _raw_path(os.fsdecode(name), os.fsdecode(main), prefix)
            part = min(rest, size)
            rest -= part
            file = self.found.setdefault(path, ExternalFile.of(path))
            if file.identity is None:
                raise ExternalDataError(
                    f"{where} keeps its rows in {path}, which is missing; HDF5 reads none without "
                    f"it"
                )
            if file.identity.size < offset + part and not self._fill:
                raise TruncatedError(
                    f"{where} keeps {part} bytes of its rows in {path} from byte {offset} on, and "
                    f"that has {file.identity.size}: it was cut short; {ALLOWED}"
                )


def _numbered(pattern: str, block: int) -> str:
    return "%".join(part.replace("%b", str(block)) for part in pattern.split("%%"))


def _holds(shape: tuple[int, ...], selected: Any, virtual: Any) -> bool:
    """Tell whether a source of `shape` has what is selected, or whether all is taken there is."""
    try:
        if selected.get_select_type() == h5py.h5s.SEL_ALL:
            return math.prod(shape) >= int(virtual.get_select_npoints())
        last = selected.get_select_bounds()[1]
    except (ValueError, RuntimeError, OverflowError):
        return True  # a selection without an end
    return len(last) == len(shape) and all(n < have for n, have in zip(last, shape, strict=True))


def _source_path(name: str, main: str, prefix: str | bytes | None) -> str:
    """Give the path of a source file, looked for where HDF5 looks, in its order.

    What is nowhere has the path where most would put it: beside the main file.
    """
    if name == ".":
        return str(Path(main).absolute())
    beside = str(Path(main).absolute().parent)
    absolute = Path(name).is_absolute()
    short = Path(name).name if absolute else name
    environment = os.environ.get("HDF5_VDS_PREFIX", "").split(os.pathsep)
    folders = [folder for folder in (*environment, os.fsdecode(prefix or ""), beside) if folder]
    tried = [
        *([name] if absolute else []),
        *(str(Path(folder.replace("${ORIGIN}", beside)) / short) for folder in folders),
        short,
        str(Path(main).resolve().parent / short),
    ]
    found = next((path for path in tried if Path(path).is_file()), None)
    fallback = name if absolute else str(Path(beside) / name)
    return str(Path(fallback if found is None else found).absolute())


def _raw_path(name: str, main: str, prefix: str | bytes | None) -> str:
    """Give the path of an external file: HDF5 looks in the prefix, else in the current folder."""
    folder = os.environ.get("HDF5_EXTFILE_PREFIX") or os.fsdecode(prefix or "")
    folder = folder.replace("${ORIGIN}", str(Path(main).absolute().parent))
    return str((Path(folder) / name).absolute())
