"""Files that others wrote, converted to all that can hold them: equal to what h5py reads.

`make corpus` brings them.
"""

from pathlib import Path

import h5py
import numpy as np
import pytest
from conversions import assert_same, convert
from h5fuzz import same

from npdata.cli.convert.formats import NPY
from npdata.sources.hdf5.catalog import list_datasets
from npdata.sources.open import open_source

CORPUS = Path(__file__).parents[3] / ".corpus" / "files"
FILES = sorted(p for p in CORPUS.rglob("*") if p.is_file())

pytestmark = pytest.mark.skipif(not FILES, reason="`make corpus` brings the files")


def convertible(path: Path) -> list[str]:
    """Name the datasets with rows of a fixed size that can be read here."""
    return [
        listed.name
        for listed in list_datasets(str(path)).datasets
        if listed.examined is not None
        and not listed.examined.missing
        and not listed.examined.layout.dtype.hasobject
    ]


def npy_holds(path: Path, name: str) -> bool:
    """Tell whether the header of a .npy can say the dtype: fields in the order of their bytes."""
    return NPY.refusal(open_source(f"{path}::{name}").dtype) is None


def npdata_alone_reads(path: Path, name: str) -> bool:
    """Tell whether h5py has no filter for a dataset that npdata decodes."""
    with h5py.File(path) as file:
        properties = file[name].id.get_create_plist()
        filters = [properties.get_filter(k)[0] for k in range(properties.get_nfilters())]
    return not all(h5py.h5z.filter_avail(number) for number in filters)


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_every_array_of_a_file_arrives_in_every_format(
    path: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    names = convertible(path)
    npz, h5 = tmp_path / "all.npz", tmp_path / "all.h5"
    code = 0 if names else 1
    if not all(npy_holds(path, name) for name in names):
        assert convert(path, npz) == 1
        assert "does not fit .npz" in capsys.readouterr().err
        assert list(tmp_path.iterdir()) == []
        return
    assert convert(path, npz, "--verify") == code
    assert convert(path, h5, "--verify", "--compression", "gzip") == code
    said = capsys.readouterr().err
    for listed in list_datasets(str(path)).datasets:
        assert listed.name in names or f"{listed.name}: " in said
    if not names:
        assert list(tmp_path.iterdir()) == []
        return
    with h5py.File(path) as old, np.load(npz) as archive, h5py.File(h5) as new:
        assert sorted(archive.files) == sorted(names)
        for name in names:
            if not npdata_alone_reads(path, name):
                assert same(archive[name], old[name][...]), name
            assert_same(new[name][...], archive[name])
    name = names[0]
    assert convert(f"{path}::{name}", tmp_path / "one.npy", "--verify") == 0
    assert convert(f"{path}::{name}", tmp_path / "one.bin", "--verify") == 0
    one = np.load(tmp_path / "one.npy")
    assert one.tobytes() == (tmp_path / "one.bin").read_bytes()
    with np.load(npz) as archive:
        assert_same(one, archive[name])
