"""Arguments that mean nothing, or another thing than was meant, are named before anything opens."""

import re
from pathlib import Path

import h5py
import numpy as np
import pytest

from npdata import NumpyDataset, as_tensor, errors
from npdata.dataset import open_field

X = np.arange(12, dtype=np.float32).reshape(4, 3)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    with h5py.File(tmp_path / "d.h5", "w") as file:
        file["x"] = X
        for k in range(50):
            file[f"images/{k:02}"] = np.zeros((k % 7 + 1, 3))
    np.savez(tmp_path / "d.npz", x=X)
    return tmp_path / "d.h5"


@pytest.mark.parametrize(
    ("names", "options", "message"),
    [
        ((), {"num_workers": 2}, "write DataLoader(dataset, num_workers=2, ...)"),
        (("x",), {"num_workers": 2}, "num_workers= is for what reads the dataset"),
        (("x",), {"shuffle": True}, "write npdata.Loader(dataset, shuffle=True, ...)"),
        (("x",), {"colour": 3}, "colour=3 is no option of from_"),
        ((), {"colour": 3}, "as a field it needs the name of a dataset as text"),
        (("x",), {"mode": "r"}, "mode='r' is no option of from_"),
        ((), {"label_from": len}, "concatenate take it: npdata.concatenate("),
        ((3,), {}, "takes names of datasets, and 3 is none"),
    ],
)
def test_an_option_that_is_not_there_is_named(
    path: Path, names: tuple[object, ...], options: dict[str, object], message: str
) -> None:
    with pytest.raises(errors.FieldError, match=re.escape(message)):
        NumpyDataset.from_hdf5(path, *names, **options)
    with pytest.raises(errors.FieldError, match=re.escape(message)):
        NumpyDataset.from_npz(path.with_suffix(".npz"), *names, **options)


@pytest.mark.parametrize("given", [len, "(cat|dog)/"], ids=["function", "text"])
def test_an_option_of_stack_that_cannot_be_opened_as_a_field_is_named(given: object) -> None:
    with pytest.raises((TypeError, OSError)) as caught:
        NumpyDataset(x=X, label_from=given)
    (note,) = caught.value.__notes__
    assert "'label_from'; stack and concatenate take it: npdata.concatenate(" in note
    with pytest.raises(OSError, match="first use") as caught:
        NumpyDataset(x=X, check="first use")
    assert "npdata.stack takes it" in caught.value.__notes__[0]


def test_a_group_of_images_of_many_lengths_is_refused_before_one_is_opened(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(open_field, "open_source", lambda source: pytest.fail("it was opened"))
    with (
        h5py.File(path) as file,
        pytest.raises(errors.FieldError, match=r"field '00' has 1 rows, field '01' has 2.*Group"),
    ):
        NumpyDataset(file["images"])


def test_a_group_among_the_fields_lists_what_it_has(path: Path) -> None:
    with (
        h5py.File(path) as file,
        pytest.raises(errors.UnsupportedSourceError, match=r"/images is a group.*it has '00', "),
    ):
        NumpyDataset({"image": file["images"]})


@pytest.mark.parametrize("kind", [TypeError, ValueError])
def test_what_cannot_be_shared_raises_what_numpy_and_torch_do(kind: type[Exception]) -> None:
    with pytest.raises(kind, match="it cannot be shared"):
        as_tensor(X[:, ::-1], copy=False)
