"""Ray Train and Ray Data: workers and their ranks, a checkpoint and a resume."""

import json
import os
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from matrix import shows

pytest.importorskip("ray.train", reason="pip install 'npdata[integrations]'")

N, BATCH = 203, 8
pytestmark = pytest.mark.filterwarnings("ignore")


def loop(config: dict[str, Any]) -> None:
    """Train two epochs with a checkpoint of Ray's after 5 steps; resume from it if there is one."""
    import ray.train
    import torch

    from npdata import Loader, NumpyDataset

    context = ray.train.get_context()
    rank = context.get_world_rank()
    loader = Loader(NumpyDataset(np.arange(N)), BATCH, shuffle=True, num_threads=2)
    weight = torch.zeros(1, dtype=torch.float64, requires_grad=True)
    optimizer = torch.optim.SGD([weight], lr=0.1, momentum=0.9)
    steps, seen = 0, []
    checkpoint = ray.train.get_checkpoint() or config.get("checkpoint")
    if checkpoint is not None:
        with checkpoint.as_directory() as folder:
            kept = torch.load(Path(folder) / "state.pt")
        loader.load_state_dict(kept["loader"])
        optimizer.load_state_dict(kept["optimizer"])
        weight.data, steps = kept["weight"], kept["steps"]
    while steps < 2 * config["per_epoch"]:
        for rows in loader:
            loss = (weight - rows / N).square().mean()
            optimizer.zero_grad()
            loss.backward()
            if torch.distributed.is_initialized():  # not with one worker
                torch.distributed.all_reduce(weight.grad)
            optimizer.step()
            seen.append(rows.tolist())
            steps += 1
            if steps == 5:
                kept = {"loader": loader.state_dict(), "optimizer": optimizer.state_dict()}
                with tempfile.TemporaryDirectory() as folder:
                    if rank == 0:
                        kept |= {"weight": weight.detach(), "steps": steps}
                        torch.save(kept, Path(folder) / "state.pt")
                    made = ray.train.Checkpoint(folder) if rank == 0 else None
                    ray.train.report({"steps": steps}, checkpoint=made)
    if torch.distributed.is_initialized():
        assert context.get_world_size() == torch.distributed.get_world_size()
        assert rank == torch.distributed.get_rank()
    assert context.get_world_size() == config["workers"]
    (Path(config["folder"]) / f"{rank}.json").write_text(json.dumps([weight.item(), seen]))


def prepared(config: dict[str, Any]) -> None:
    """Write the rows of two epochs of each loader that `prepare_data_loader` was given."""
    import ray.train
    import ray.train.torch
    from torch.utils.data import DataLoader

    import npdata
    from npdata import BlockBatchSampler, Loader, NumpyDataset

    data = NumpyDataset(np.arange(N))
    sampler = BlockBatchSampler(data, BATCH, shuffle=True)
    stock = DataLoader(data, batch_sampler=sampler, collate_fn=npdata.collate)
    loader = Loader(data, BATCH, shuffle=True)
    found: dict[str, Any] = {}
    for name, given, options in (
        ("DataLoader", stock, {"add_dist_sampler": False}),
        ("wrapped", DataLoader(loader, batch_size=None), {}),
        ("refused", stock, {}),
        ("bare", loader, {}),
    ):
        try:
            made = ray.train.torch.prepare_data_loader(given, **options)
            found[name] = [[batch.tolist() for batch in made] for _ in range(2)]
        except Exception as error:
            found[name] = f"{type(error).__name__}: {error}"
    rank = ray.train.get_context().get_world_rank()
    (Path(config["folder"]) / f"{rank}.json").write_text(json.dumps(found))


def fit(function: Any, folder: Path, workers: int = 2, **more: Any) -> tuple[Any, list[Any]]:
    """Run `function` on so many workers; give Ray's result, and what each wrote."""
    import ray.train
    from ray.train.torch import TorchConfig, TorchTrainer

    made = TorchTrainer(
        function,
        train_loop_config={"folder": str(folder), "workers": workers, **more},
        scaling_config=ray.train.ScalingConfig(num_workers=workers, use_gpu=False),
        torch_config=TorchConfig(backend="gloo"),
        run_config=ray.train.RunConfig(storage_path=str(folder / "ray")),
    ).fit()
    return made, [json.loads((folder / f"{rank}.json").read_text()) for rank in range(workers)]


def require_each_row_once(parts: list[list[list[int]]]) -> None:
    rows = [row for part in parts for batch in part for row in batch]
    assert set(rows) == set(range(N))
    assert len(rows) - N < 2


@pytest.fixture(scope="module")
def _cluster() -> Iterator[None]:
    import ray

    root = Path(__file__).parent.parent.parent
    paths = os.pathsep.join([str(root), *sys.path])
    with tempfile.TemporaryDirectory(prefix="ray", dir="/tmp") as folder:
        ray.init(
            num_cpus=4,
            include_dashboard=False,
            log_to_driver=False,
            _temp_dir=folder,
            object_store_memory=100 << 20,
            runtime_env={"env_vars": {"PYTHONPATH": paths, "OMP_NUM_THREADS": "1"}},
        )
        yield
        ray.shutdown()


@pytest.mark.usefixtures("_cluster")
class TestTrain:
    @shows(
        "Ray",
        "ray",
        "each row once; a run resumed from a checkpoint of Ray ends with the same weights, bit "
        "for bit; 1 and 2 workers",
        "a `Loader` as it is; its ranks are those of `ray.train.get_context()`",
    )
    @pytest.mark.parametrize("workers", [1, 2])
    def test_rows_and_a_resume_from_a_checkpoint(self, tmp_path: Path, workers: int) -> None:
        options = {"workers": workers, "per_epoch": -(-N // (workers * BATCH))}
        result, whole = fit(loop, tmp_path, **options)
        _, rest = fit(loop, tmp_path, **options, checkpoint=result.checkpoint)
        for epoch in range(2):
            steps = slice(epoch * options["per_epoch"], (epoch + 1) * options["per_epoch"])
            require_each_row_once([seen[steps] for _, seen in whole])
        for (weight, seen), (again, left) in zip(whole, rest, strict=True):
            assert left == seen[5:]
            assert again == weight

    @shows(
        "Ray",
        "ray",
        "`prepare_data_loader` gives each row once; a batch sampler that it would replace is "
        "refused; 2 workers",
        "`add_dist_sampler=False` for a DataLoader; `DataLoader(loader, batch_size=None)` for "
        "a `Loader`",
    )
    def test_prepared_loaders(self, tmp_path: Path) -> None:
        _, ranks = fit(prepared, tmp_path)
        for name in ("DataLoader", "wrapped"):
            for epoch in range(2):
                require_each_row_once([rank[name][epoch] for rank in ranks])
        for rank in ranks:
            assert "add_dist_sampler=False" in rank["refused"]
            assert "DataLoader(loader, batch_size=None)" in rank["bare"]


@shows(
    "Ray",
    "ray",
    "rows of Ray Data",
    '`NumpyDataset(table.take_batch(n, batch_format="numpy"))`',
)
@pytest.mark.usefixtures("_cluster")
def test_rows_of_ray_data_in_one_line() -> None:
    import ray.data
    import torch

    from npdata import NumpyDataset

    table = ray.data.range(N)
    data = NumpyDataset(table.take_batch(N, batch_format="numpy"))
    assert torch.equal(data[:]["id"].sort().values, torch.arange(N))
