"""Fields with other numbers of rows are refused, with where else these may lie."""

from pathlib import Path

import h5py
import numpy as np
import pytest
from torch.utils.data import Subset

from npdata import NumpyDataset
from npdata.errors import FieldError


def test_datasets_of_files_with_other_numbers_of_rows_say_where_else_rows_may_lie(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("a.h5", "b.h5"):
        with h5py.File(name, "w") as file:
            file["x"], file["turned"], file["y"] = np.zeros((3, 4)), np.zeros((5, 3)), np.zeros(2)
    files = ["a.h5", "b.h5"]
    with pytest.raises(FieldError, match=r"3 rows of 'x' and 2 of 'y': .* belong together$"):
        NumpyDataset.from_hdf5(files, "x", "y")
    cure = r"field 'turned' has as many along its axis 1: give axis=\{'turned': 1\}"
    with pytest.raises(FieldError, match=cure):
        NumpyDataset.from_hdf5(files, x="x", turned="turned")
    assert len(NumpyDataset.from_hdf5(files, x="x", turned="turned", axis={"turned": 1})) == 6


def test_a_row_for_each_of_several_rows_is_repeated_as_the_error_says() -> None:
    days, hours = np.arange(5.0), np.arange(20)
    for fields in ({"day": days, "hour": hours}, {"hour": hours, "day": days}):
        with pytest.raises(FieldError, match=r"'day' goes with 4 rows of field 'hour', give .*"):
            NumpyDataset(**fields)
    ds = NumpyDataset(day=Subset(NumpyDataset(days), np.arange(20) // 4), hour=hours)
    assert ds[:]["day"].tolist() == [k // 4 for k in range(20)]
    for other in (days[:1], days[:3], days[:0]):
        with pytest.raises(FieldError, match=r"all fields need the same number$"):
            NumpyDataset(day=other, hour=hours)
