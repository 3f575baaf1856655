"""Files that others wrote: PyTables' and h5py's own test files, and an AnnData file.

`make corpus` brings them. Every dataset with numbers equals h5py's, under every access; everything
else is refused with a reason that says what it is.
"""

from collections import Counter
from pathlib import Path

import h5py
import numpy as np
import pytest
from h5fuzz import same

from npdata import NumpyDataset, errors
from npdata.sources.hdf5.file import Hdf5Options
from npdata.sources.hdf5.open import open_hdf5

pytest.importorskip("hdf5plugin")  # h5py reads what npdata reads with it

CORPUS = Path(__file__).parents[3] / ".corpus" / "files"
FILES = sorted(p for p in CORPUS.rglob("*") if p.is_file())

pytestmark = pytest.mark.skipif(not FILES, reason="`make corpus` brings the files")


def datasets(path: Path) -> list[str]:
    """Name every dataset of a file, also those that links inside it lead to."""
    names: list[str] = []
    with h5py.File(path) as file:
        file.visititems(lambda name, item: names.append(name) or None)
        file.visititems_links(lambda name, link: names.append(name) or None)
    return sorted(set(names))


def expected(path: Path, name: str) -> np.ndarray | str:
    """Give the rows by h5py, or why there are none: what kind of thing it is."""
    with h5py.File(path) as file:
        link = file.get(name, getlink=True)
        if isinstance(link, h5py.ExternalLink):
            return "in another file"
        if name not in file:
            return "has no dataset"
        item = file[name]
        if isinstance(item, h5py.Group):
            return "is a group"
        if not isinstance(item, h5py.Dataset):
            return "named type"
        if item.shape is None or item.shape == ():
            return "dataset and has no rows"
        try:
            if item.attrs.get("PSEUDOATOM") == b"vlunicode":
                return "text, as the numbers of its characters"
            base = h5py.check_vlen_dtype(item.dtype)
            if item.dtype.hasobject and getattr(base, "kind", "O") not in "biufc":
                return "Python objects|dtype=str|holds no text|of variable length"
            if item.dtype.hasobject and not base.isnative:
                return "another byte order"
        except (TypeError, ValueError):
            return "a type that NumPy has not"
        try:
            return item[...]
        except OSError:
            return "cannot be read"


def direct(path: Path, name: str) -> bool:
    """Tell whether npdata decodes a dataset itself."""
    try:
        return open_hdf5(str(path), name).access.kind == "decoded"
    except ValueError:
        return False


def first_row(path: Path, name: str, access: str) -> None:
    """Read a row: fails at opening, or where h5py has no filter for it, at the first read."""
    source = open_hdf5(str(path), name, Hdf5Options(access=access))
    if source.dtype.hasobject:
        NumpyDataset(source)
    source.read(np.zeros(1, np.int64), np.empty((1, *source.shape[1:]), source.dtype))


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_every_dataset_equals_h5pys_or_is_refused_with_a_reason(path: Path) -> None:
    seen: Counter[str] = Counter()
    for name in datasets(path):
        want = expected(path, name)
        for access in ("auto", "library"):
            if isinstance(want, str) and want == "cannot be read" and direct(path, name):
                seen["decoded, which h5py cannot without a plugin"] += 1
                continue
            if isinstance(want, str):
                with pytest.raises((ValueError, TypeError, KeyError), match=want):
                    first_row(path, name, access)
                seen[want] += 1
                continue
            source = open_hdf5(str(path), name, Hdf5Options(access=access))
            if want.dtype.hasobject:
                samples = NumpyDataset(source)
                assert len(samples) == len(want)
                assert all(same(np.asarray(samples[k]), want[k]) for k in range(len(want)))
                seen["samples of different lengths"] += 1
                continue
            rows = np.random.default_rng(0).permutation(len(source))
            out = np.empty((len(rows), *source.shape[1:]), source.dtype)
            source.read(rows, out)
            assert same(out, want[rows]), (name, source.access)
            seen[source.access.kind] += 1
            source.close()
    print(path.name, dict(seen))


def test_the_files_are_read_directly_where_they_can_be() -> None:
    kinds: Counter[str] = Counter()
    for path in FILES:
        for name in datasets(path):
            try:
                source = open_hdf5(str(path), name)
            except errors.SourceError:
                kinds["refused"] += 1
            else:
                kinds[source.access.kind] += 1
    print(dict(kinds))
    assert kinds["mapped"] > 20
    assert kinds["decoded"] > 10
