"""How random windows are and what they make a reader read, as a table and a picture.

python benchmarks/shuffle_quality.py

The file is a million rows of 3 KiB, sorted by label, 10 labels, in blocks of 1 MiB. The bytes read
are counted for a reader that reads whole blocks and keeps the 64 it used last, over one epoch in
batches of 256, and without keeping any between batches. The picture is written to
docs/img/shuffle-quality.png.
"""

from collections import OrderedDict
from pathlib import Path

import matplotlib

matplotlib.use("Agg")

import matplotlib.pyplot as plt
import numpy as np

from npdata.arrays.blocks import Blocks
from npdata.sampling.order.block_layout import BlockLayout
from npdata.sampling.order.epoch_order import plan_order
from npdata.sampling.order.window import WINDOW_BLOCKS
from npdata.sampling.quality import shuffle_quality

BATCH, BLOCK_ROWS, BLOCKS, KEPT = 256, 341, 3000, 64
WINDOWS = (1, 4, 16, 32, 64, 128, 256, 1024, 3000)


def blocks_read(rows: np.ndarray, kept: int) -> int:
    """Count the blocks that a reader reads which keeps so many of those used last."""
    held: OrderedDict[int, None] = OrderedDict()
    read = 0
    for start in range(0, len(rows), BATCH):
        batch = np.unique(rows[start : start + BATCH] // BLOCK_ROWS).tolist()
        for block in batch:
            if block in held:
                held.move_to_end(block)
            else:
                read += 1
                held[block] = None
        while len(held) > kept:
            held.popitem(last=False)
    return read


def main() -> None:
    n = BLOCK_ROWS * BLOCKS
    labels = np.arange(n) * 10 // n
    layout = BlockLayout.of(Blocks.uniform(n, BLOCK_ROWS))
    print("window   label entropy   neighbours   read, 64 blocks kept   read, none kept")
    found = []
    for window in WINDOWS:
        order = plan_order(n, shuffle="block", seed=0, epoch=0, layout=layout, window_blocks=window)
        rows = order(np.arange(n))
        quality = shuffle_quality(rows, labels, batch_size=BATCH)
        keeping, forgetting = (blocks_read(rows, kept) / BLOCKS for kept in (KEPT, 0))
        found.append((quality.label_entropy, keeping, forgetting))
        print(
            f"{window:6}{quality.label_entropy:16.3f}{quality.neighbours:13.3f}"
            f"{keeping:22.1f}x{forgetting:17.1f}x"
        )
    entropy, keeping, forgetting = zip(*found, strict=True)
    figure, (left, right) = plt.subplots(1, 2, figsize=(9, 3.6), layout="constrained")
    left.plot(WINDOWS, entropy, "o-", color="tab:blue")
    left.set(ylabel="label entropy of batches (full shuffle = 1)", ylim=(0, 1.05))
    right.plot(WINDOWS, keeping, "o-", color="tab:orange", label="keeps 64 blocks")
    right.plot(WINDOWS, forgetting, "s--", color="tab:gray", label="keeps none between batches")
    right.set(ylabel="bytes read in an epoch (file = 1)", yscale="log")
    right.legend(loc="upper left", fontsize=8)
    for axes in (left, right):
        axes.set(xlabel="window, in blocks of 1 MiB", xscale="log")
        axes.set_xticks(WINDOWS[::2], [str(window) for window in WINDOWS[::2]])
        axes.minorticks_off()
        axes.axvline(WINDOW_BLOCKS, color="tab:red", linewidth=1, linestyle=":")
        axes.grid(alpha=0.3)
    left.annotate("default", (WINDOW_BLOCKS, 0.1), (WINDOW_BLOCKS * 1.15, 0.1), color="tab:red")
    figure.savefig(Path(__file__).parent.parent / "docs" / "img" / "shuffle-quality.png", dpi=110)


if __name__ == "__main__":
    main()
