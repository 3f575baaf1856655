"""A warning names the line that called npdata, where the user can change something."""

from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import pytest
from torch.utils.data import DataLoader

from npdata import BlockBatchSampler, Loader, NumpyDataset
from npdata.errors import BordersWarning, RandomnessWarning, StateWarning, WindowWarning


@pytest.fixture
def chunks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> NumpyDataset:
    """Chunks of 2 KiB, of which memory holds 32."""
    monkeypatch.setenv("NPDATA_CACHE_BYTES", str(1 << 16))
    with h5py.File(tmp_path / "d.h5", "w") as file:
        file.create_dataset("x", data=np.zeros((6400, 64), "f4"), chunks=(8, 64), compression=1)
    return NumpyDataset(f"{tmp_path}/d.h5::x")


def _taken_ahead() -> None:
    sampler = BlockBatchSampler(range(40), 4)
    own = {"num_workers": 1, "multiprocessing_context": "forkserver"}  # Python warns of a fork
    next(iter(DataLoader(range(40), batch_sampler=sampler, **own)))
    sampler.state_dict()


def _nested() -> None:
    loader = Loader(NumpyDataset(np.arange(40)), 4)
    outer, inner = iter(loader), iter(loader)
    next(outer), next(inner)
    loader.state_dict()


def _set_epoch(loader: BlockBatchSampler | Loader) -> None:
    loader.load_state_dict({**loader.state_dict(), "epoch": 2})
    loader.set_epoch(1)


def test_of_a_window(chunks: NumpyDataset) -> None:
    with pytest.warns(WindowWarning) as found:
        BlockBatchSampler(chunks, 8, window_blocks=60)
    assert [each.filename for each in found] == [__file__]


@pytest.mark.parametrize("make", [BlockBatchSampler, Loader])
def test_of_an_epoch(make: type[BlockBatchSampler | Loader]) -> None:
    with pytest.warns(StateWarning) as found:
        _set_epoch(make(NumpyDataset(np.arange(40)), 4))
    assert [each.filename for each in found] == [__file__]


@pytest.mark.parametrize("ask", [_taken_ahead, _nested])
def test_of_a_state(ask: Callable[[], None]) -> None:
    with pytest.warns(StateWarning) as found:
        ask()
    assert [each.filename for each in found] == [__file__]


def test_of_borders_and_of_rows_without_a_seed() -> None:
    ds = NumpyDataset(np.arange(8), transform=lambda row, rng: row)
    with pytest.warns(BordersWarning) as found:
        ds.windows(2, borders=[1, 1, 6])
    assert found[0].filename == __file__
    with pytest.warns(RandomnessWarning) as found:
        ds.__getitems__([0])
    assert found[0].filename == __file__
