"""Lightning: the promised rows in every stage, and a resumed run ends with the same weights."""

import warnings
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from matrix import shows
from torch.utils.data import DataLoader
from trained_ranks import on_ranks

import npdata
from npdata import BlockBatchSampler, Loader, NumpyDataset
from npdata.errors import PaddingWarning, SamplerError, StateWarning

pytest.importorskip("lightning", reason="pip install 'npdata[integrations]'")

N, BATCH, EPOCHS = 203, 8, 3
pytestmark = pytest.mark.filterwarnings("ignore")


def module(log: list[tuple[str, int, list[int]]]) -> Any:
    import lightning

    class Model(lightning.LightningModule):
        """Its weight depends on every row and on their order."""

        def __init__(self) -> None:
            super().__init__()
            self.weight = torch.nn.Parameter(torch.zeros(1, dtype=torch.float64))

        def note(self, stage: str, rows: torch.Tensor) -> None:
            log.append((stage, self.current_epoch, rows.tolist()))

        def training_step(self, rows: torch.Tensor, index: int) -> torch.Tensor:
            self.note("fit", rows)
            return ((self.weight - rows / N) ** 2).mean()

        def validation_step(self, rows: torch.Tensor, index: int) -> None:
            self.note("sanity" if self.trainer.sanity_checking else "validate", rows)

        def test_step(self, rows: torch.Tensor, index: int) -> None:
            self.note("test", rows)

        def predict_step(self, rows: torch.Tensor, index: int) -> torch.Tensor:
            self.note("predict", rows)
            return rows

        def configure_optimizers(self) -> Any:
            return torch.optim.SGD(self.parameters(), lr=0.1, momentum=0.9)

    return Model()


def trainer(folder: str, world: int = 1, **more: Any) -> Any:
    import lightning

    options = {
        "accelerator": "cpu",
        "logger": False,
        "enable_progress_bar": False,
        "enable_model_summary": False,
        "enable_checkpointing": False,
        "default_root_dir": folder,
        "max_epochs": EPOCHS,
    }
    if world > 1:
        options.update(devices=world, strategy="ddp")
    return lightning.Trainer(**{**options, **more})


def loader_of(kind: str, shuffle: Any = True, **more: Any) -> Any:
    data = NumpyDataset(np.arange(N))
    if kind == "Loader":
        return Loader(data, BATCH, shuffle=shuffle, num_threads=2, **more)
    sampler = BlockBatchSampler(data, BATCH, shuffle=shuffle, **more)
    return DataLoader(data, batch_sampler=sampler, collate_fn=npdata.collate)


def rows_of(log: Any, stage: str, epoch: int | None = None) -> list[int]:
    return [row for s, e, rows in log if s == stage and epoch in (None, e) for row in rows]


def all_stages(rank: int, folder: str, kind: str, world: int, distributed: bool) -> Any:
    warnings.simplefilter("ignore")
    log: list[Any] = []
    options = {"use_distributed_sampler": distributed, "num_sanity_val_steps": 2}
    make = trainer(folder, world, **options)
    model = module(log)
    make.fit(model, loader_of(kind), loader_of(kind, shuffle="block"))
    for stage in ("validate", "test", "predict"):
        part: list[Any] = []
        again = trainer(folder, world, **options)
        of = module(part)
        result = getattr(again, stage)(of, loader_of(kind, shuffle=False))
        log += [("only " + s, e, rows) for s, e, rows in part]
        if stage == "predict":
            log.append(("predictions", 0, torch.cat(result).tolist()))
    return log


def predictions(rank: int, folder: str, uneven: str) -> Any:
    """The rows that a rank predicts with a Loader, and what it is warned of."""
    with warnings.catch_warnings(record=True) as found:
        warnings.simplefilter("always")
        loader = Loader(NumpyDataset(np.arange(N)), BATCH, uneven=uneven)
        parts = trainer(folder, 2).predict(module([]), loader)
    told = [str(each.message) for each in found if each.category is PaddingWarning]
    return torch.cat(parts).tolist(), told


KINDS = ["Loader", "DataLoader"]


class TestRows:
    @shows(
        "Lightning",
        "lightning",
        "each row once in `fit`, `validate`, `test` and `predict`, with "
        "`use_distributed_sampler` True and False; the sanity check uses up no epoch; 1 and 2 "
        "processes",
        "`trainer.fit(model, loader)`",
    )
    @pytest.mark.parametrize("world, distributed", [(1, True), (2, True), (2, False)])
    @pytest.mark.parametrize("kind", KINDS)
    def test_of_every_stage(self, tmp_path: Path, kind: str, world: int, distributed: bool) -> None:
        logs = on_ranks(tmp_path, all_stages, str(tmp_path), kind, world, distributed, world=world)
        one = [[e for log in logs for e in rows_of(log, "fit", k)] for k in range(EPOCHS)]
        for rows in one:
            once(rows, world)
        assert one[0] != one[1] != one[2]
        for k in range(EPOCHS):
            once([e for log in logs for e in rows_of(log, "validate", k)], world)
        sanity = [rows_of(log, "sanity") for log in logs]
        first = [rows_of(log, "validate", 0)[: 2 * BATCH] for log in logs]
        assert sanity == first
        for stage in ("only validate", "only test"):
            once([e for log in logs for e in rows_of(log, stage)], world)
        exact = world == 1 or kind == "DataLoader"
        for stage in ("only predict", "predictions"):
            rows = [e for log in logs for e in rows_of(log, stage)]
            once(rows, 1 if exact else world)

    @shows(
        "Lightning",
        "lightning",
        "rows that `predict` of a `Loader` repeats on 2 processes are warned of",
        '`uneven="ragged"` repeats none',
    )
    def test_predictions_of_a_loader_on_ranks(self, tmp_path: Path) -> None:
        for uneven, warned in (("pad", 1), ("ragged", 0)):
            ranks = on_ranks(tmp_path, predictions, str(tmp_path), uneven)
            rows = [row for part, _ in ranks for row in part]
            assert set(rows) == set(range(N))
            assert len(rows) - N == warned
            for _, told in ranks:
                assert len(told) == warned
                assert all('make the loader with uneven="ragged"' in text for text in told)

    @shows(
        "Lightning",
        "lightning",
        "`limit_train_batches` and `overfit_batches`",
        "`shuffle=False` for `overfit_batches`",
    )
    @pytest.mark.parametrize("kind", KINDS)
    def test_limits_and_overfitting(self, tmp_path: Path, kind: str) -> None:
        log: list[Any] = []
        trainer(str(tmp_path), limit_train_batches=5).fit(module(log), loader_of(kind))
        plain = BlockBatchSampler(N, BATCH, shuffle=True)
        for epoch in range(EPOCHS):
            want = [row for batch in list(plain)[:5] for row in batch.tolist()]
            assert rows_of(log, "fit", epoch) == want
        log.clear()
        trainer(str(tmp_path), overfit_batches=3).fit(module(log), loader_of(kind, shuffle=False))
        for epoch in range(EPOCHS):
            assert rows_of(log, "fit", epoch) == list(range(3 * BATCH))
        with pytest.raises(SamplerError, match=r"overfit_batches=3.*make it with shuffle=False"):
            trainer(str(tmp_path), overfit_batches=3).fit(module(log), loader_of(kind))


def with_fabric(rank: int, world: int, kind: str) -> Any:
    """The rows of two epochs of a loader that Fabric sets up."""
    from lightning.fabric import Fabric

    warnings.simplefilter("ignore")
    fabric = Fabric(accelerator="cpu", devices=world, strategy="ddp" if world > 1 else "auto")
    fabric.launch()
    loader = loader_of(kind)
    given = DataLoader(loader, batch_size=None) if kind == "Loader" else loader
    loader = fabric.setup_dataloaders(given)
    return [[row for batch in loader for row in batch.tolist()] for _ in range(2)]


@shows(
    "Lightning",
    "lightning",
    "each row once, in a new order in each epoch, with Fabric; 1 and 2 processes",
    "`fabric.setup_dataloaders(DataLoader(loader, batch_size=None))`",
)
@pytest.mark.parametrize("world", [1, 2])
@pytest.mark.parametrize("kind", KINDS)
def test_fabric(tmp_path: Path, kind: str, world: int) -> None:
    ranks = on_ranks(tmp_path, with_fabric, world, kind, world=world)
    epochs = [[row for rank in ranks for row in rank[epoch]] for epoch in range(2)]
    for rows in epochs:
        once(rows, world)
    assert epochs[0] != epochs[1]


def once(rows: list[int], world: int) -> None:
    counts = Counter(rows)
    assert set(counts) == set(range(N))
    assert len(rows) - N < world


def train(rank: int, folder: str, world: int, every: dict[str, Any], more: dict[str, Any]) -> Any:
    """Train to the end with checkpoints; then resume from each of them. Give all weights."""
    from lightning.pytorch.callbacks import ModelCheckpoint

    warnings.simplefilter("ignore")
    keep = ModelCheckpoint(Path(folder) / "kept", save_top_k=-1, filename="{step}", **every)
    log: list[Any] = []
    model = module(log)
    trainer(folder, world, enable_checkpointing=True, callbacks=[keep], **more).fit(
        model, loader_of("Loader")
    )
    found = {}
    paths = sorted((Path(folder) / "kept").glob("*.ckpt"))
    for path in paths:
        part: list[Any] = []
        again = module(part)
        trainer(folder, world, **more).fit(again, loader_of("Loader"), ckpt_path=str(path))
        found[path.stem] = (again.weight.item(), [rows for _, _, rows in part])
    return model.weight.item(), [rows for _, _, rows in log], found


class TestResume:
    """26 steps an epoch on one process, 13 on two."""

    @shows(
        "Lightning",
        "lightning",
        "a run resumed in mid-epoch or at an epoch's end ends with the same weights, bit for "
        "bit; 1 and 2 processes",
        "a `Loader` in mid-epoch; of a DataLoader Lightning saves no position inside an epoch",
    )
    @pytest.mark.parametrize("world", [1, 2])
    @pytest.mark.parametrize(
        "every, more",
        [
            ({"every_n_train_steps": 13}, {}),
            ({"every_n_epochs": 1}, {}),
            ({"every_n_train_steps": 4}, {"limit_train_batches": 10}),
            ({"every_n_train_steps": 5}, {"limit_train_batches": 10}),
        ],
    )
    def test_ends_with_the_same_weights(
        self, tmp_path: Path, world: int, every: dict[str, Any], more: dict[str, Any]
    ) -> None:
        for weight, log, found in on_ranks(
            tmp_path, train, str(tmp_path), world, every, more, world=world
        ):
            assert len(found) >= 2
            for name, (again, rest) in found.items():
                assert rest == log[len(log) - len(rest) :], name
                step = int(name.split("=")[1])
                assert len(rest) == len(log) - step, name
                assert again == weight, name

    @shows(
        "Lightning",
        "lightning",
        "a run resumed in mid-epoch has the rows that were left: of a loader of torchdata with "
        "workers, and of a shorter loader that comes again beside a longer one",
        'a `StatefulDataLoader`; `{"a": loader, "b": shorter}`',
    )
    @pytest.mark.parametrize("kind", ["workers", "cycle"])
    def test_of_other_loaders(self, tmp_path: Path, kind: str) -> None:
        def loaders() -> Any:
            if kind == "cycle":
                short = Loader(NumpyDataset(np.arange(50)), BATCH, shuffle=True)
                return {"a": loader_of("Loader"), "b": short}
            from torchdata.stateful_dataloader import StatefulDataLoader

            data = NumpyDataset(np.arange(N))
            sampler = BlockBatchSampler(data, BATCH, shuffle=True)
            return StatefulDataLoader(
                data, batch_sampler=sampler, collate_fn=npdata.collate, num_workers=2
            )

        whole, saved = fit_and_save(tmp_path, loaders(), 9)
        for step, path in saved.items():
            rest: list[Any] = []
            with warnings.catch_warnings():
                warnings.simplefilter("error", StateWarning)
                trainer(str(tmp_path)).fit(both(rest), loaders(), ckpt_path=path)
            assert rest == whole[step:], step

    @shows(
        "Lightning",
        "lightning",
        "a run resumed in mid-epoch with another batch size, which leaves rows out, is warned of",
        "the `batch_size` and the ranks of the checkpoint",
    )
    def test_an_epoch_of_other_steps_is_warned_of(self, tmp_path: Path) -> None:
        """Lightning counts batches, and takes as many as a whole epoch has now."""
        data = NumpyDataset(np.arange(N))
        _, saved = fit_and_save(tmp_path, Loader(data, BATCH, shuffle=True), 10)
        for size, read, said in (
            (16, 48, "which has 13, and 8 are left .*, of which it reads 3; resume"),
            (4, 123, "which has 51, and 31 are left .* ends without what"),
        ):
            log: list[Any] = []
            with pytest.warns(StateWarning, match=f"counted 10 batches .*, {said}"):
                trainer(str(tmp_path)).fit(
                    module(log), Loader(data, size, shuffle=True), ckpt_path=saved[10]
                )
            assert len(rows_of(log, "fit", 0)) == read


def both(log: list[Any]) -> Any:
    """A model of one batch or of a dict of them."""

    class Both(type(module(log))):  # type: ignore[misc]
        def training_step(self, batch: Any, index: int) -> torch.Tensor:
            parts = batch.values() if isinstance(batch, dict) else [batch]
            log.append([rows.tolist() for rows in parts])
            return sum(((self.weight - rows / N) ** 2).mean() for rows in parts)

    return Both()


def fit_and_save(folder: Path, loaders: Any, every: int) -> tuple[list[Any], dict[int, str]]:
    """Give the batches of a run, and its checkpoints by their steps."""
    from lightning.pytorch.callbacks import ModelCheckpoint

    keep = ModelCheckpoint(
        folder / "kept", save_top_k=-1, filename="{step}", every_n_train_steps=every
    )
    log: list[Any] = []
    trainer(str(folder), enable_checkpointing=True, callbacks=[keep]).fit(both(log), loaders)
    paths = (folder / "kept").glob("*.ckpt")
    return log, {int(path.stem.split("=")[1]): str(path) for path in paths}
