"""transformers' Trainer: the rows of each epoch, and a resumed run ends with the same weights."""

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

pytest.importorskip("transformers", reason="pip install 'npdata[integrations]'")

N, BATCH = 203, 8
pytestmark = pytest.mark.filterwarnings("ignore")


def trainer(folder: str, kind: str, seen: list[list[int]], **more: Any) -> Any:
    import transformers

    data = NumpyDataset(rows=np.arange(N))

    class Model(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.weight = torch.nn.Parameter(torch.zeros(1, dtype=torch.float64))

        def forward(self, rows: torch.Tensor) -> dict[str, torch.Tensor]:
            seen.append(rows.tolist())
            return {"loss": ((self.weight - rows / N) ** 2).mean()}

    class Trainer(transformers.Trainer):
        def get_train_dataloader(self) -> Any:
            sampler = BlockBatchSampler(data, BATCH, shuffle="full")
            if kind == "Loader":
                return Loader(data, sampler=sampler, num_threads=2)
            loader = DataLoader(data, batch_sampler=sampler, collate_fn=npdata.collate)
            return self.accelerator.prepare(loader) if kind == "prepared" else loader

    arguments = transformers.TrainingArguments(
        output_dir=folder,
        num_train_epochs=3,
        per_device_train_batch_size=BATCH,
        learning_rate=0.01,
        report_to=[],
        use_cpu=True,
        disable_tqdm=True,
        save_strategy="steps",
        logging_strategy="no",
        remove_unused_columns=False,
        **more,
    )
    return Trainer(model=Model(), args=arguments)


def run(rank: int, folder: str, kind: str, every: int) -> Any:
    seen: list[list[int]] = []
    whole = trainer(folder, kind, seen, save_steps=every)
    whole.train()
    found = {}
    for path in sorted(Path(folder).glob("checkpoint-*")):
        rest: list[list[int]] = []
        again = trainer(folder + "/again", kind, rest, save_steps=1000)
        again.train(resume_from_checkpoint=str(path))
        found[int(path.name.split("-")[1])] = (again.model.weight.item(), rest)
    return whole.model.weight.item(), seen, found


@shows(
    "transformers",
    "transformers",
    "each row once; a run resumed in mid-epoch or at an epoch's end ends with the same "
    "weights, bit for bit; 1 and 2 processes",
    "return a `Loader`, or a DataLoader with the sampler, from `get_train_dataloader`",
)
@pytest.mark.parametrize("world", [1, 2])
@pytest.mark.parametrize("kind", ["Loader", "DataLoader", "prepared"])
def test_rows_and_resumes(tmp_path: Path, kind: str, world: int) -> None:
    """Checkpoints in mid-epoch and at the end of one: 26 steps an epoch, or 13."""
    (tmp_path / "again").mkdir()
    ranks = on_ranks(tmp_path, run, str(tmp_path), kind, 13, world=world)
    steps = len(ranks[0][1]) // 3
    orders = []
    for epoch in range(3):
        parts = [seen[epoch * steps : (epoch + 1) * steps] for _, seen, _ in ranks]
        rows = [row for part in parts for batch in part for row in batch]
        assert set(rows) == set(range(N))
        assert len(rows) - N < world * (BATCH if kind == "prepared" else 1)
        orders.append(rows)
    assert orders[0] != orders[1] != orders[2]
    for weight, seen, found in ranks:
        assert len(found) >= 3
        for step, (again, rest) in found.items():
            assert rest == seen[step:], step
            assert again == weight, step
