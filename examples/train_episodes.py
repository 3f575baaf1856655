"""Learn to steer from demonstrations, in a file laid out as robomimic's: one group an episode.

A point is steered to its goal by a controller; a network learns the controller's next eight actions
from the last two observations. `data/*/actions` is one field of all episodes, whose borders npdata
knows: windows never mix two episodes, what they lack at the edges is marked, and no episode is on
both sides of the split. Prints the error, and fails where it stays above `GOAL`.
"""

import tempfile
import time
from pathlib import Path

import h5py
import numpy as np
import torch
from torch import Tensor, nn

import npdata

EPISODES, HISTORY, CHUNK, BATCH, EPOCHS = 200, 2, 8, 256, 6
GOAL = 0.15
"""Of the variance of the actions, what may be left unexplained on episodes never seen."""


def demonstrate(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Steer a point from rest to its goal; give what was seen and done, step by step."""
    place, speed, goal = rng.uniform(-1, 1, 2), np.zeros(2), rng.uniform(-1, 1, 2)
    seen, done = [], []
    for _ in range(int(rng.integers(40, 80))):
        action = np.clip(6 * (goal - place) - 3 * speed, -1, 1)
        seen.append(np.concatenate([place, speed, goal]))
        done.append(action)
        speed = speed + 0.1 * action
        place = place + 0.1 * speed
    return np.array(seen, np.float32), np.array(done, np.float32)


def write(path: Path) -> None:
    """Write the demonstrations, compressed, as robomimic lays them out."""
    rng = np.random.default_rng(0)
    with h5py.File(path, "w") as file:
        for number in range(EPISODES):
            seen, done = demonstrate(rng)
            demo = file.create_group(f"data/demo_{number}")
            demo.attrs["num_samples"] = len(done)
            demo.create_dataset("obs/state", data=seen, chunks=True, compression="gzip")
            demo.create_dataset("actions", data=done, chunks=True, compression="gzip")


def squared_error(model: nn.Module, batch: dict[str, Tensor]) -> Tensor:
    """Give the mean squared error over actions that were really done."""
    predicted = model(batch["state"].flatten(1)).view_as(batch["actions"])
    real = ~batch["actions_is_pad"]
    return (predicted - batch["actions"])[real].square().mean()


def main() -> float:
    """Train, and give the share of the variance that is left."""
    torch.manual_seed(0)
    torch.set_num_threads(1)  # a network this small is slower on more
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "demo.hdf5"
        write(path)
        steps = npdata.NumpyDataset.from_hdf5(
            path, state="data/*/obs/state", actions="data/*/actions"
        )
        windows = steps.windows(
            {"state": range(1 - HISTORY, 1), "actions": range(CHUNK)}, edge="repeat", mask=True
        )
        print(windows.describe())
        train, held_out = windows.split(0.8, by="recording")
        model = nn.Sequential(
            nn.Linear(6 * HISTORY, 128),
            nn.ReLU(),
            nn.Linear(128, 128),
            nn.ReLU(),
            nn.Linear(128, 2 * CHUNK),
        )
        optimizer = torch.optim.Adam(model.parameters(), lr=2e-3)
        sampler = npdata.BlockBatchSampler(windows, BATCH, indices=train, seed=0)
        loader = npdata.Loader(windows, sampler=sampler)
        start = time.perf_counter()
        for epoch in range(EPOCHS):
            for batch in loader:
                loss = squared_error(model, batch)
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
            print(f"epoch {epoch}: {loss.item():.4f}")
        with torch.no_grad():
            batch = windows[held_out]
            left = squared_error(model, batch).item()
            left /= batch["actions"][~batch["actions_is_pad"]].var().item()
        print(f"{time.perf_counter() - start:.0f} s; {left:.1%} of the variance is left")
        windows.close()
    if left > GOAL:
        raise SystemExit(f"{left:.1%} of the variance is left, above {GOAL:.0%}")
    return left


if __name__ == "__main__":
    main()
