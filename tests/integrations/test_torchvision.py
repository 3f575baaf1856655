"""The page on images: torchvision's transforms draw the same numbers whoever makes the batches."""

import re
import runpy
from pathlib import Path

import numpy as np
import torch
from matrix import shows
from torch.utils.data import DataLoader
from torchvision_here import import_torchvision

import npdata
from npdata import BlockBatchSampler, Loader, NumpyDataset

PAGE = Path(__file__).parent.parent.parent / "docs" / "images.md"


@shows(
    "torchvision",
    "0.28",
    "transforms draw the same numbers on any number of workers",
    "[seed them from `rng`](images.md#torchvision)",
)
def test_the_page_repeats_exactly_on_workers_and_without(in_folder: Path) -> None:
    import_torchvision()
    rng = np.random.default_rng(0)
    np.save("images.npy", rng.integers(0, 256, (200, 3, 40, 40), np.uint8))
    np.save("labels.npy", rng.integers(0, 10, 200))
    (code,) = re.findall(
        r'```python title="train_torchvision.py"\n(.*?)```', PAGE.read_text(), re.S
    )
    Path("train.py").write_text(code)
    train: NumpyDataset = runpy.run_path("train.py")["train"]

    def epoch(**options: object) -> torch.Tensor:
        sampler = BlockBatchSampler(train, 64, shuffle="full", seed=1)
        if "num_threads" in options:
            batches = Loader(train, sampler=sampler, **options)
        else:
            loader = {"batch_sampler": sampler, "collate_fn": npdata.collate}
            batches = DataLoader(train, **loader, **options)
        return torch.cat([batch["image"] for batch in batches])

    found = [epoch(num_workers=0), epoch(num_workers=2), epoch(num_threads=0)]
    assert found[0].shape == (200, 3, 32, 32)
    assert torch.equal(found[0], found[1])
    assert torch.equal(found[0], found[2])
    assert len(found[0].unique(dim=0)) == 200
