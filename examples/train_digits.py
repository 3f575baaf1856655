"""Train on the handwritten digits of scikit-learn from memory, .npy, .npz and HDF5.

The same 1,797 images of 8 x 8 pixels are written in every format and trained from each, in a
stock DataLoader with 0 and with 2 workers. The same seed gives the same accuracy everywhere,
because every source delivers the same rows. Prints a table and saves a picture with a batch, the
curve that all runs share and how fast each source was read to `out/train_digits.png` beside this
file, or to the folder given.
"""

import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import h5py
import matplotlib as mpl
import numpy as np
import torch
from matplotlib import pyplot as plt
from sklearn.datasets import load_digits
from torch import nn
from torch.utils.data import DataLoader, RandomSampler, Subset

import npdata

EPOCHS = 4
BATCH = 32
SEED = 0


@dataclass(frozen=True, kw_only=True)
class Run:
    """One training: accuracy after each epoch on the held-out digits, samples read a second."""

    source: str
    workers: int
    access: str
    rate: float
    curve: tuple[float, ...]


def write_digits(folder: Path) -> dict[str, npdata.NumpyDataset]:
    """Write the digits in every format, and open each as a dataset of dict samples."""
    digits = load_digits()
    image = (digits.images / 16).astype(np.float32)
    label = digits.target.astype(np.int64)
    np.save(folder / "image.npy", image)
    np.save(folder / "label.npy", label)
    np.savez(folder / "stored.npz", image=image, label=label)
    np.savez_compressed(folder / "compressed.npz", image=image, label=label)
    with h5py.File(folder / "digits.h5", "w") as file:
        file["image"], file["label"] = image, label
    with h5py.File(folder / "gzip.h5", "w") as file:
        file.create_dataset("image", data=image, chunks=(64, 8, 8), compression="gzip")
        file.create_dataset("label", data=label, chunks=(64,), compression="gzip")
    dataset = npdata.NumpyDataset
    return {
        "arrays in memory": dataset(image=image, label=label),
        ".npy": dataset.from_npy(image=folder / "image.npy", label=folder / "label.npy"),
        ".npz, stored": dataset.from_npz(folder / "stored.npz"),
        ".npz, compressed": dataset.from_npz(folder / "compressed.npz"),
        "HDF5": dataset.from_hdf5(folder / "digits.h5", image="image", label="label"),
        "HDF5, gzip": dataset.from_hdf5(folder / "gzip.h5", image="image", label="label"),
    }


def train(name: str, digits: npdata.NumpyDataset, workers: int) -> Run:
    """Train a small network on four fifths of the digits, and test it on the rest."""
    order = np.random.default_rng(SEED).permutation(len(digits))
    held_out = digits[order[: len(digits) // 5]]
    torch.manual_seed(SEED)
    network = nn.Sequential(
        nn.Unflatten(1, (1, 8)),
        nn.Conv2d(1, 16, 3, padding=1),
        nn.ReLU(),
        nn.Conv2d(16, 32, 3, stride=2, padding=1),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(512, 10),
    )
    optimizer = torch.optim.Adam(network.parameters(), lr=8e-3)
    train_on = Subset(digits, order[len(digits) // 5 :].tolist())
    loader = DataLoader(
        train_on,
        batch_size=BATCH,
        sampler=RandomSampler(train_on, generator=torch.Generator().manual_seed(SEED)),
        num_workers=workers,
        persistent_workers=workers > 0,
        collate_fn=npdata.collate,
    )
    curve = []
    for _ in range(EPOCHS):
        for batch in loader:
            loss = nn.functional.cross_entropy(network(batch["image"]), batch["label"])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        with torch.no_grad():
            right = network(held_out["image"]).argmax(1) == held_out["label"]
        curve.append(right.float().mean().item())
    start = time.perf_counter()
    read = sum(len(batch["label"]) for _ in range(5) for batch in loader)
    rate = read / (time.perf_counter() - start)
    access = digits.describe().fields[0].access
    return Run(source=name, workers=workers, access=access, rate=rate, curve=tuple(curve))


def table(runs: list[Run]) -> str:
    """Give the runs as a table for the terminal."""
    lines = [f"{'source':18} {'workers':>7}  {'access':8} {'samples/s':>10} {'accuracy':>9}"]
    lines += [
        f"{run.source:18} {run.workers:7}  {run.access:8} {run.rate:10,.0f} {run.curve[-1]:9.2%}"
        for run in runs
    ]
    return "\n".join(lines)


def picture(digits: npdata.NumpyDataset, runs: list[Run], path: Path) -> None:
    """Draw one batch, the learning curve of all runs, and the speed of each."""
    mpl.use("Agg")
    batch = digits[np.random.default_rng(SEED).integers(0, len(digits), BATCH)]
    figure, (left, middle, right) = plt.subplots(1, 3, figsize=(14, 4), layout="constrained")
    framed = nn.functional.pad(batch["image"], (1, 1, 1, 1))
    rows = framed.reshape(4, 8, 10, 10).permute(0, 2, 1, 3).reshape(40, 80)
    left.imshow(rows, cmap="gray_r")
    left.set_title("one batch of 32 digits")
    left.set_axis_off()
    curves = {run.curve for run in runs}
    for curve in curves:
        middle.plot(range(1, EPOCHS + 1), curve, marker="o", markersize=3)
    middle.set(xlabel="epoch", ylabel="accuracy on held-out digits", ylim=(0.85, 1))
    middle.set_xticks(range(1, EPOCHS + 1))
    middle.set_title(f"{len(runs)} runs, {len(curves)} learning curve{'s' * (len(curves) > 1)}")
    middle.grid(alpha=0.3)
    for shift, workers, color in ((-0.2, 0, "tab:blue"), (0.2, 2, "tab:orange")):
        rates = {run.source: run.rate / 1000 for run in runs if run.workers == workers}
        places = [k + shift for k in range(len(rates))]
        right.barh(places, list(rates.values()), 0.4, color=color, label=f"{workers} workers")
    right.set_yticks(range(len(rates)), list(rates))
    right.invert_yaxis()
    right.set(xlabel="thousand samples a second through a DataLoader")
    right.set_title("the same rows, read at different speeds")
    right.legend()
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=120)
    plt.close(figure)


def main(out: Path) -> list[Run]:
    """Train from every source, print the table, save the picture."""
    torch.set_num_threads(1)  # a network this small is slower on more
    with tempfile.TemporaryDirectory() as folder:
        sources = write_digits(Path(folder))
        runs = [
            train(name, digits, workers) for name, digits in sources.items() for workers in (0, 2)
        ]
        print(table(runs))
        picture(sources[".npy"], runs, out / "train_digits.png")
        print(f"picture: {out / 'train_digits.png'}")
        for digits in sources.values():
            digits.close()
    if len({run.curve for run in runs}) > 1 or min(run.curve[-1] for run in runs) < 0.95:
        raise SystemExit("the sources disagree, or an accuracy is under 95 %")
    return runs


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parent / "out")
