"""Accelerate: accumulation, metrics and resumes count right; what cannot be exact is refused."""

import copy
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
from npdata.errors import LoaderError, SamplerError

pytest.importorskip("accelerate", reason="pip install 'npdata[integrations]'")

N = 203
pytestmark = pytest.mark.filterwarnings("ignore")


def accelerator(**more: Any) -> Any:
    from accelerate import Accelerator
    from accelerate.state import AcceleratorState, GradientState
    from accelerate.utils import DataLoaderConfiguration

    AcceleratorState._reset_state()
    GradientState._reset_state()
    steps = more.pop("gradient_accumulation_steps", 1)
    return Accelerator(
        cpu=True,
        gradient_accumulation_steps=steps,
        dataloader_config=DataLoaderConfiguration(**more),
    )


def data_loader(data: Any, sampler: Any) -> Any:
    return DataLoader(data, batch_sampler=sampler, collate_fn=npdata.collate)


def noisy(sample: torch.Tensor, rng: np.random.Generator) -> dict[str, Any]:
    return {"row": sample, "noise": rng.random()}


def train(rank: int, kind: str, stop: int | None, state: Any, steps: int, mode: Any = None) -> Any:
    """Train two epochs, or to step `stop` and give the state: weights, rows and updates."""
    tool = accelerator(gradient_accumulation_steps=steps, **(mode or {}))
    data = NumpyDataset(np.arange(N))
    sampler = BlockBatchSampler(data, 8, shuffle="full")
    loader = Loader(data, sampler=sampler, num_threads=2)
    if kind == "DataLoader":
        loader = data_loader(data, sampler)
    model = torch.nn.Linear(1, 1, dtype=torch.float64)
    torch.nn.init.zeros_(model.weight), torch.nn.init.zeros_(model.bias)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    model, optimizer, loader = tool.prepare(model, optimizer, loader)
    holder, first, updates, seen = sampler if kind == "DataLoader" else loader, 0, [], []
    if state is not None:
        saved, weights, momentum = copy.deepcopy(state)  # all ranks share the memory of one
        model.load_state_dict(weights), optimizer.load_state_dict(momentum)
        holder.load_state_dict(saved)
        first = saved["epoch"]
    total = 0
    for epoch in range(first, 2):
        if kind == "DataLoader":
            loader.set_epoch(epoch)
        for received, rows in enumerate(loader, 1):
            with tool.accumulate(model):
                loss = ((model(rows[:, None].double() / N) - 1) ** 2).mean()
                tool.backward(loss)
                optimizer.step()
                optimizer.zero_grad()
                updates.append(tool.sync_gradients)
            seen.append(rows.tolist())
            total += 1
            if total == stop:
                counted = {"consumed": received} if kind == "DataLoader" else {}
                kept = [{k: v.clone() for k, v in model.state_dict().items()}]
                saved = holder.state_dict(**counted) if tool.is_main_process else None
                return saved, kept[0], optimizer.state_dict()
    return [p.detach().clone() for p in model.parameters()], seen, updates


def registered(rank: int, folder: str, saves: bool) -> Any:
    """What is left of an epoch, and the next one, after a state is saved or loaded."""
    tool = accelerator()
    loader = tool.prepare(Loader(NumpyDataset(np.arange(N)), 8, shuffle=True))
    tool.register_for_checkpointing(loader)
    batches = iter(loader)
    if saves:
        for _ in range(5):
            next(batches)
        tool.save_state(folder)
    else:
        tool.load_state(folder)
    return [[rows.tolist() for rows in rest] for rest in (batches, loader)]


class TestTraining:
    @shows(
        "Accelerate",
        "accelerate",
        "a resumed run ends with the same weights, bit for bit; 1 and 2 processes",
        "`loader.state_dict()`; of a DataLoader `sampler.state_dict(consumed=steps)`",
    )
    @pytest.mark.parametrize(
        "kind, mode, world",
        [
            ("Loader", {}, 1),
            ("Loader", {}, 2),
            ("DataLoader", {}, 1),
            ("DataLoader", {}, 2),
            ("DataLoader", {"dispatch_batches": True}, 2),
            ("DataLoader", {"dispatch_batches": True, "split_batches": True}, 2),
            ("DataLoader", {"even_batches": True, "split_batches": True}, 2),
        ],
    )
    def test_resumed_ends_with_the_same_weights(
        self, tmp_path: Path, kind: str, mode: dict[str, Any], world: int
    ) -> None:
        whole = on_ranks(tmp_path, train, kind, None, None, 1, mode, world=world)
        per_epoch = len(whole[0][1]) // 2
        for stop in (5, per_epoch):
            state = on_ranks(tmp_path, train, kind, stop, None, 1, mode, world=world)[0]
            rest = on_ranks(tmp_path, train, kind, None, state, 1, mode, world=world)
            for (weights, seen, _), (again, left, _) in zip(whole, rest, strict=True):
                assert seen[stop:] == left
                assert all(map(torch.equal, weights, again))

    @shows(
        "Accelerate",
        "accelerate",
        "`save_state` and `load_state` keep the position in an epoch; 1 and 2 processes",
        "`accelerator.register_for_checkpointing(loader)`, of a `Loader`",
    )
    @pytest.mark.parametrize("world", [1, 2])
    def test_a_registered_loader_is_saved(self, tmp_path: Path, world: int) -> None:
        folder = str(tmp_path / "state")
        saved = on_ranks(tmp_path, registered, folder, True, world=world)
        assert on_ranks(tmp_path, registered, folder, False, world=world) == saved

    @shows(
        "Accelerate",
        "accelerate",
        "`accumulate` steps at the end of each epoch",
        "the same as with any loader",
    )
    @pytest.mark.parametrize("kind", ["Loader", "DataLoader"])
    def test_accumulation_steps_at_the_end_of_each_epoch(self, tmp_path: Path, kind: str) -> None:
        for _, _, updates in on_ranks(tmp_path, train, kind, None, None, 4):
            assert updates == ([False, False, False, True] * 3 + [True]) * 2


def metrics(rank: int, kind: str, options: dict[str, Any], mode: dict[str, Any]) -> Any:
    tool = accelerator(**mode)
    data = NumpyDataset(np.arange(N))
    sampler = BlockBatchSampler(data, 8, shuffle=False, **options)
    loader = Loader(data, sampler=sampler, num_threads=2)
    if kind == "DataLoader":
        loader = data_loader(data, sampler)
    loader = tool.prepare(loader)
    rows = torch.cat([tool.gather_for_metrics(batch) for batch in loader]).tolist()
    skipped = tool.skip_first_batches(loader, 3)
    return rows, [batch.tolist() for batch in skipped], [batch.tolist() for batch in loader]


def metrics_by_size(rank: int, kind: str) -> list[int]:
    tool = accelerator()
    data = NumpyDataset(npdata.ragged(np.arange(2 * N), lengths=np.full(N, 2)), np.arange(N))
    sampler = BlockBatchSampler(data, max_rows=16, shuffle=False)
    loader = Loader(data, sampler=sampler) if kind == "Loader" else data_loader(data, sampler)
    batches = tool.prepare(loader)
    return torch.cat([tool.gather_for_metrics(numbers) for _, numbers in batches]).tolist()


class TestMetrics:
    @shows(
        "Accelerate",
        "accelerate",
        "`gather_for_metrics` counts each row once, `skip_first_batches` skips batches; 2 and "
        "3 processes",
        "the same as with any loader",
    )
    @pytest.mark.parametrize("world", [2, 3])
    @pytest.mark.parametrize("options", [{}, {"drop_last": True}, {"indices": np.arange(5, 90)}])
    @pytest.mark.parametrize("kind", ["Loader", "DataLoader"])
    def test_count_each_row_once(
        self, tmp_path: Path, kind: str, options: dict[str, Any], world: int
    ) -> None:
        expected = options.get("indices", np.arange(N)).tolist()
        if "drop_last" in options:
            expected = expected[: N - N % (8 * world)]
        for rows, skipped, whole in on_ranks(tmp_path, metrics, kind, options, {}, world=world):
            assert rows == expected
            assert skipped == whole[3:]

    @shows(
        "Accelerate",
        "accelerate",
        "`gather_for_metrics` counts all of the last batch of `max_rows=`; one process",
        "the same as with any loader",
    )
    @pytest.mark.parametrize("kind", ["Loader", "DataLoader"])
    def test_count_all_of_a_last_batch_by_size(self, tmp_path: Path, kind: str) -> None:
        (rows,) = on_ranks(tmp_path, metrics_by_size, kind, world=1)
        assert rows == list(range(N))


def refused(rank: int, options: dict[str, Any], mode: dict[str, Any]) -> str:
    """Give the error that each process raises: none may wait for another."""
    tool = accelerator(**mode)
    pairs = npdata.ragged(np.arange(2 * N), lengths=np.full(N, 2))
    data = NumpyDataset(pairs if "max_rows" in options else np.arange(N))
    try:
        sampler = BlockBatchSampler(data, **{"batch_size": 8, **options})
        next(iter(tool.prepare(data_loader(data, sampler))))
    except SamplerError as error:
        return str(error)
    return ""


@shows(
    "Accelerate",
    "accelerate",
    '`uneven="mask"`, `lanes=`, `rank=`, `max_rows=` of a prepared DataLoader are refused',
    "a `Loader`, which divides the rows itself",
)
@pytest.mark.parametrize(
    "options, message",
    [
        ({"uneven": "mask"}, 'uneven="mask" marks the padding'),
        ({"uneven": "ragged"}, "unless even_batches=False"),
        ({"lanes": 2, "block_rows": 4}, "lanes=2 gives each process lanes"),
        ({"rank": 1, "world_size": 2}, "rank= and world_size= divide the rows"),
        ({"batch_size": None, "max_rows": 8}, "max_rows= gives processes batches"),
    ],
)
@pytest.mark.parametrize("dispatch", [False, True])
def test_options_that_the_division_voids_are_refused(
    tmp_path: Path, options: dict[str, Any], message: str, dispatch: bool
) -> None:
    for text in on_ranks(tmp_path, refused, options, {"dispatch_batches": dispatch}):
        assert message in text
        assert "accelerator.prepare() the model without the DataLoader" in text


@shows(
    "Accelerate",
    "accelerate",
    "what loses rows or steps with `dispatch_batches=True` is refused: `split_batches` of batches "
    "of one row, `use_stateful_dataloader`, `skip_first_batches`",
    "a `Loader`, or a state of the sampler",
)
@pytest.mark.parametrize(
    "options, mode, message",
    [
        ({"batch_size": 1}, {"split_batches": True}, "cut each batch of 1 for 2 processes"),
        ({}, {"use_stateful_dataloader": True}, "dispatch_batches=True and use_stateful_dataload"),
    ],
)
def test_modes_that_lose_rows_are_refused(
    tmp_path: Path, options: dict[str, Any], mode: dict[str, Any], message: str
) -> None:
    for text in on_ranks(tmp_path, refused, options, {"dispatch_batches": True, **mode}):
        assert message in text


def skipping(rank: int) -> str:
    tool = accelerator(dispatch_batches=True)
    data = NumpyDataset(np.arange(N))
    loader = tool.prepare(data_loader(data, BlockBatchSampler(data, 8)))
    try:
        len(tool.skip_first_batches(loader, 3))
        if rank == 0:  # who alone reads
            next(iter(tool.skip_first_batches(loader, 3).batch_sampler))
    except SamplerError as error:
        return str(error)
    return ""


@shows(
    "Accelerate",
    "accelerate",
    "`skip_first_batches` of a DataLoader with `dispatch_batches=True`, which skips batches of all "
    "processes, is refused",
    "`sampler.load_state_dict(state)`",
)
def test_skipping_of_dispatched_batches_is_refused(tmp_path: Path) -> None:
    for text in on_ranks(tmp_path, skipping):
        assert "load a state of sampler.state_dict(consumed=steps)" in text


def wrapped(rank: int, mode: dict[str, Any]) -> Any:
    loader = DataLoader(Loader(NumpyDataset(np.arange(N)), 8), batch_size=None)
    try:
        return [row for batch in accelerator(**mode).prepare(loader) for row in batch.tolist()]
    except LoaderError as error:
        return str(error)


@shows(
    "Accelerate",
    "accelerate",
    "a DataLoader over a `Loader` is refused on several processes, where it would read a share of "
    "the rows of each",
    "`prepare(loader)`",
)
@pytest.mark.parametrize("mode", [{}, {"dispatch_batches": False}])
def test_a_data_loader_over_a_loader(tmp_path: Path, mode: dict[str, Any]) -> None:
    assert on_ranks(tmp_path, wrapped, mode, world=1) == [list(range(N))]
    for text in on_ranks(tmp_path, wrapped, mode):
        assert "write accelerator.prepare(loader), of the Loader itself" in text


def seeded(rank: int) -> Any:
    tool = accelerator()
    data = NumpyDataset(np.arange(N), transform=noisy)
    loader = tool.prepare(data_loader(data, BlockBatchSampler(data, 8)))
    return [dict(zip(b["row"].tolist(), b["noise"].tolist(), strict=True)) for b in loader]


@shows(
    "Accelerate",
    "accelerate",
    "transforms draw what one process draws",
    "`def transform(sample, rng)`",
)
def test_random_transforms_draw_what_one_process_draws(tmp_path: Path) -> None:
    data = NumpyDataset(np.arange(N), transform=noisy)
    alone = {}
    for b in Loader(data, 8, shuffle="block"):
        alone.update(zip(b["row"].tolist(), b["noise"].tolist(), strict=True))
    assert len(set(alone.values())) == N
    for rank in on_ranks(tmp_path, seeded):
        for batch in rank:
            assert batch.items() <= alone.items()
