"""Train a small causal model on real text, out of one file of tokens.

The text is the licences and documentation that installed packages carry; a token is a byte, kept as
uint16 as tokenizers do it. A sample is a window of 129 tokens that never crosses from one document
into the next, cast to int64 as it is gathered; `split(by="recording")` keeps whole documents for
the test. Prints the loss in nats a byte, and fails where it stays above `GOAL`.
"""

import importlib.metadata
import tempfile
import time
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

import npdata

CONTEXT, BATCH, STEPS, REACH = 128, 16, 200, 8
MOST_BYTES = 2_000_000
GOAL = 2.1
"""The text without context, byte by byte, has some 3.2 nats."""


def documents() -> list[bytes]:
    """Give the texts of installed packages, each once, in an order that stays the same."""
    found = {}
    for package in importlib.metadata.distributions():
        for file in package.files or ():
            if file.name.upper().startswith(("LICENSE", "COPYING", "NOTICE", "README", "AUTHORS")):
                path = Path(str(package.locate_file(file)))
                if path.is_file() and path.stat().st_size > 2 * CONTEXT:
                    found[path.read_bytes()] = str(file)
    return sorted(found, key=len)


def write(folder: Path) -> tuple[Path, np.ndarray]:
    """Write all documents end to end as uint16 tokens; give the file and where each begins."""
    kept, total = [], 0
    for text in documents():
        if total + len(text) > MOST_BYTES:
            break
        kept.append(np.frombuffer(text, np.uint8).astype(np.uint16))
        total += len(text)
    path = folder / "tokens.bin"
    np.concatenate(kept).tofile(path)
    return path, np.cumsum([0, *map(len, kept)])


class Model(nn.Module):
    """Predict each token from the seven before it and itself, by causal convolutions."""

    def __init__(self) -> None:
        super().__init__()
        self.token = nn.Embedding(256, 32)
        self.past = nn.Conv1d(32, 128, REACH)
        self.out = nn.Sequential(nn.ReLU(), nn.Conv1d(128, 256, 1))

    def forward(self, x: Tensor) -> Tensor:
        """Give the scores of the next token at each place: (n, 256, length)."""
        there = self.token(x).swapaxes(1, 2)
        return self.out(self.past(nn.functional.pad(there, (REACH - 1, 0))))


def loss_of(model: Model, window: Tensor) -> Tensor:
    """Give the mean loss over a batch of windows, in nats."""
    return nn.functional.cross_entropy(model(window[:, :-1]), window[:, 1:])


def main() -> float:
    """Train, and give the loss on documents that were not trained on."""
    torch.manual_seed(0)
    torch.set_num_threads(1)  # a network this small is slower on more
    with tempfile.TemporaryDirectory() as folder:
        path, begins = write(Path(folder))
        tokens = npdata.NumpyDataset(npdata.open_source(path, dtype="u2"), dtype=torch.int64)
        windows = tokens.windows(CONTEXT + 1, borders=begins)
        print(windows.describe())
        train, held_out = windows.split(0.9, by="recording")
        sampler = npdata.BlockBatchSampler(windows, BATCH, shuffle="full", indices=train)
        model = Model()
        optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2)
        schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 1e-2, total_steps=STEPS)
        start = time.perf_counter()
        for step, window in zip(
            range(1, STEPS + 1), npdata.Loader(windows, sampler=sampler), strict=False
        ):
            loss = loss_of(model, window)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
            if step % 50 == 0:
                print(f"step {step}: {loss.item():.2f} nats a byte")
        with torch.no_grad():
            some = held_out[:: max(1, len(held_out) // 256)]
            tested = loss_of(model, windows[some]).item()
        print(f"{time.perf_counter() - start:.0f} s; other documents: {tested:.2f} nats a byte")
        windows.close()
    if loss.item() > GOAL:
        raise SystemExit(f"the loss is {loss.item():.2f}, above {GOAL}")
    return tested


if __name__ == "__main__":
    main()
