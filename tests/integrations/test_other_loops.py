"""Keras, ignite, skorch, torchdata, torch's distributed checkpoints and FSDP2: the same rows."""

import gc
import importlib.util
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from matrix import shows
from torch.utils.data import DataLoader
from torchvision_here import import_torchvision
from trained_ranks import on_ranks

import npdata
from npdata import BlockBatchSampler, Loader, NumpyDataset

N, BATCH = 203, 8
pytestmark = pytest.mark.filterwarnings("ignore")
WHY = "pip install 'npdata[integrations]'"


def order(epochs: int) -> list[list[int]]:
    sampler = BlockBatchSampler(N, BATCH, shuffle="full")
    return [batch.tolist() for _ in range(epochs) for batch in sampler]


@shows(
    "ignite",
    "pytorch-ignite",
    "each iteration is the next epoch",
    "`engine.run(loader, max_epochs=3)`",
)
def test_ignite() -> None:
    pytest.importorskip("ignite", reason=WHY)
    from ignite.engine import Engine

    seen: list[list[int]] = []
    engine = Engine(lambda _, batch: seen.append(batch.tolist()))
    engine.run(Loader(NumpyDataset(np.arange(N)), BATCH, shuffle=True), max_epochs=3)
    assert seen == order(3)


@shows(
    "ignite",
    "pytorch-ignite",
    "a run resumed from its own checkpoint in mid-epoch has the rows that were left",
    '`Checkpoint({"trainer": engine, "loader": loader}, ...)`; with `DeterministicEngine`, which '
    "skips batches itself, `loader.set_epoch(epoch)` in place of the state",
)
@pytest.mark.parametrize("deterministic", [False, True])
def test_ignite_resumed(tmp_path: Path, deterministic: bool) -> None:
    pytest.importorskip("ignite", reason=WHY)
    from ignite.engine import DeterministicEngine, Engine, Events
    from ignite.handlers import Checkpoint, DiskSaver

    def new(seen: list[list[int]]) -> tuple[Any, Loader]:
        kind = DeterministicEngine if deterministic else Engine
        loader = Loader(NumpyDataset(np.arange(N)), BATCH, shuffle=True)
        return kind(lambda _, batch: seen.append(batch.tolist())), loader

    engine, loader = new([])
    states = {"trainer": engine, "loader": loader}
    save = Checkpoint(states, DiskSaver(str(tmp_path)))
    stop = len(loader) + 5
    engine.add_event_handler(Events.ITERATION_COMPLETED(once=stop), save)
    engine.run(loader, max_epochs=3)
    (path,) = tmp_path.iterdir()

    seen: list[list[int]] = []
    engine, loader = new(seen)
    states = {"trainer": engine} if deterministic else {"trainer": engine, "loader": loader}
    Checkpoint.load_objects(states, torch.load(path, weights_only=not deterministic))
    if deterministic:
        loader.set_epoch(1)
    engine.run(loader, max_epochs=3)
    assert seen == order(3)[stop:]


def keras_rows(rank: int) -> Any:
    os.environ["KERAS_BACKEND"] = "torch"
    import keras

    seen: list[list[float]] = []

    class Model(keras.Model):
        def train_step(self, data: Any) -> dict[str, Any]:
            seen.append(data[0][:, 0].tolist())
            return {"loss": 0.0}

        def test_step(self, data: Any) -> dict[str, Any]:
            return self.train_step(data)

        def call(self, x: Any) -> Any:
            return x

    model = Model()
    model.compile(run_eagerly=True)
    x = np.arange(N, dtype=np.float32)[:, None]
    loader = Loader(NumpyDataset(x, x), BATCH, shuffle=True)
    model.fit(DataLoader(loader, batch_size=None), epochs=3, verbose=0)
    trained = list(seen)
    seen.clear()
    sampler = BlockBatchSampler(N, BATCH, shuffle=True)
    stock = DataLoader(NumpyDataset(x, x), batch_sampler=sampler, collate_fn=npdata.collate)
    model.fit(stock, epochs=3, verbose=0)
    plain = list(seen)
    seen.clear()
    loader = Loader(NumpyDataset(x, x), BATCH)
    model.evaluate(DataLoader(loader, batch_size=None), verbose=0)
    return trained, plain, [row for rows in seen for row in rows]


@shows(
    "Keras on torch",
    "keras",
    "each row once in `fit` and `evaluate`",
    "`model.fit(DataLoader(loader, batch_size=None))`",
)
def test_keras(tmp_path: Path) -> None:
    if importlib.util.find_spec("keras") is None:  # its import looks for a backend
        pytest.skip(WHY)
    ((loader, stock, evaluated),) = on_ranks(tmp_path, keras_rows, world=1)
    for name, rows in (("Loader", loader), ("DataLoader", stock)):
        per = len(rows) // 3
        assert per == -(-N // BATCH), name
        epochs = [[row for b in rows[k * per : (k + 1) * per] for row in b] for k in range(3)]
        for epoch in epochs:
            assert sorted(epoch) == list(range(N)), name
        assert epochs[0] != epochs[1] != epochs[2], name
    assert evaluated == list(range(N))


@shows(
    "skorch",
    "skorch",
    "each iteration is the next epoch",
    "`NeuralNet(..., iterator_train=npdata.Loader, iterator_train__shuffle=True)`",
)
def test_skorch() -> None:
    skorch = pytest.importorskip("skorch", reason=WHY)
    seen: list[int] = []

    class Model(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = torch.nn.Linear(1, 1)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            if self.training:
                seen.extend(x[:, 0].int().tolist())
            return self.layer(x)

    x = np.arange(N, dtype=np.float32)[:, None]
    net = skorch.NeuralNetRegressor(
        Model, max_epochs=2, batch_size=BATCH, train_split=None, verbose=0, iterator_train=Loader
    )
    net.set_params(iterator_train__shuffle=True)
    net.fit(NumpyDataset(x, x), None)
    assert sorted(seen[:N]) == sorted(seen[N:]) == list(range(N))
    assert seen == [row for batch in order(2) for row in batch]
    assert len(net.predict(NumpyDataset(x, x))) == N


@shows(
    "fastai",
    "2.8",
    "each row once in `fit` and `get_preds`",
    "`get_preds(dl=loader)`",
)
def test_fastai() -> None:
    """Its extra would bring spaCy along: it is run where it is installed."""
    pytest.importorskip("fastcore", reason="pip install fastai")
    import_torchvision()
    learner = pytest.importorskip("fastai.learner")
    from fastai.callback.core import Callback
    from fastai.data.core import DataLoaders
    from fastai.optimizer import SGD

    seen: list[list[int]] = []

    class Note(Callback):
        def before_batch(self) -> None:
            seen.append(self.learn.xb[0][:, 0].int().tolist())

    x = np.arange(N, dtype=np.float32)[:, None]
    ds = NumpyDataset(x, x)
    loaders = DataLoaders(Loader(ds, BATCH, shuffle=True), Loader(ds, BATCH))
    model, loss = torch.nn.Linear(1, 1), torch.nn.MSELoss()
    learn = learner.Learner(loaders, model, loss_func=loss, opt_func=SGD, cbs=Note())
    learn.fit(1, lr=1e-6)
    flat = [row for rows in seen for row in rows]
    assert sorted(flat[:N]) == flat[N:] == list(range(N))
    seen.clear()
    predicted, _ = learn.get_preds(dl=Loader(ds, BATCH))
    assert [row for rows in seen for row in rows] == list(range(N))
    assert torch.allclose(predicted, model(torch.from_numpy(x)))
    with pytest.raises(AttributeError, match=r"get_preds\(dl=loader\)"):
        learn.get_preds()


@shows(
    "torchdata",
    "torchdata",
    "the state of a StatefulDataLoader on another number of workers",
    "`sampler.load_state_dict(state)`",
)
@pytest.mark.parametrize("before, after", [(0, 2), (2, 0), (2, 3)])
def test_torchdata_with_another_number_of_workers(before: int, after: int) -> None:
    stateful = pytest.importorskip("torchdata.stateful_dataloader", reason=WHY)
    data = NumpyDataset(np.arange(N))

    def make(workers: int) -> tuple[Any, Any]:
        sampler = BlockBatchSampler(data, BATCH, shuffle="full")
        loader = stateful.StatefulDataLoader(
            data, batch_sampler=sampler, collate_fn=npdata.collate, num_workers=workers
        )
        return loader, sampler

    loader, _ = make(before)
    iterator = iter(loader)
    rows = [next(iterator).tolist() for _ in range(7)]
    state = loader.state_dict()
    del iterator
    again, sampler = make(after)
    sampler.load_state_dict(state)  # the loader itself would refuse another number of workers
    rows += [batch.tolist() for batch in again]
    assert rows == order(1)


def shards(rank: int, folder: str, resume: bool) -> Any:
    """Train a step sharded by FSDP2, save it with the loader's state, and go on."""
    import torch.distributed as dist

    dist.init_process_group("gloo")
    result = _step_and_save(folder, resume)
    gc.collect()  # the model goes before its group, or the process may abort
    dist.destroy_process_group()
    return result


def _step_and_save(folder: str, resume: bool) -> Any:
    import torch.distributed.checkpoint as dcp
    from torch.distributed.checkpoint.state_dict import get_model_state_dict, set_model_state_dict
    from torch.distributed.fsdp import fully_shard

    model = torch.nn.Linear(1, 4)
    torch.nn.init.zeros_(model.weight), torch.nn.init.zeros_(model.bias)
    fully_shard(model)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    loader = Loader(NumpyDataset(np.arange(N, dtype=np.float32)[:, None]), BATCH, shuffle=True)
    seen = []
    if resume:
        kept = {"model": get_model_state_dict(model), "loader": loader.state_dict()}
        dcp.load(kept, checkpoint_id=folder)
        set_model_state_dict(model, kept["model"])
        loader.load_state_dict(kept["loader"])
    for step, batch in enumerate(loader, 1):
        loss = (model(batch / N) - 1).square().mean()
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        seen.append(batch[:, 0].int().tolist())
        if step == 5 and not resume:
            kept = {"model": get_model_state_dict(model), "loader": loader.state_dict()}
            dcp.save(kept, checkpoint_id=folder)
    weights = [p.full_tensor().tolist() for p in model.parameters()]
    return weights, seen


@shows(
    "FSDP2 and torch's distributed checkpoints",
    "torch",
    "a resumed run ends with the same weights, bit for bit; 2 processes",
    '`dcp.save({"model": ..., "loader": loader.state_dict()})`',
)
def test_fsdp_and_distributed_checkpoints(tmp_path: Path) -> None:
    folder = str(tmp_path / "checkpoint")
    whole = on_ranks(tmp_path, shards, folder, False)
    rest = on_ranks(tmp_path, shards, folder, True)
    rows = [row for _, seen in whole for batch in seen for row in batch]
    assert set(rows) == set(range(N))
    assert len(rows) - N < 2
    for (weights, seen), (again, left) in zip(whole, rest, strict=True):
        assert left == seen[5:]
        assert again == weights
