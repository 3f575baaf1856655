"""Train for two epochs with a checkpoint every 5 batches; killed before batch `kill_at + 1`.

python train_worker.py FOLDER DataLoader|StatefulDataLoader WORKERS KILL_AT
"""

import json
import os
import signal
import sys
from pathlib import Path
from typing import Any

import torch
from torch.utils.data import DataLoader, TensorDataset

from npdata.sampling.sampler import BlockBatchSampler


def main() -> None:
    folder, name = Path(sys.argv[1]), sys.argv[2]
    num_workers, kill_at = int(sys.argv[3]), int(sys.argv[4])
    data = TensorDataset(torch.arange(403))
    sampler = BlockBatchSampler(data, 8, block_rows=20, window_blocks=3)
    loader: Any
    if name == "DataLoader":
        loader, holder = DataLoader(data, batch_sampler=sampler, num_workers=num_workers), sampler
    else:
        from torchdata.stateful_dataloader import StatefulDataLoader

        loader = StatefulDataLoader(data, batch_sampler=sampler, num_workers=num_workers)
        holder = loader
    checkpoint = folder / "checkpoint.pt"
    run = len(list(folder.glob("*.log")))
    first_epoch = 0
    if checkpoint.exists():
        saved = torch.load(checkpoint)
        first_epoch = saved["epoch"]
        holder.load_state_dict(saved["state"])
    batches = 0
    with (folder / f"{run}.log").open("w") as log:
        for epoch in range(first_epoch, 2):
            for received, (rows,) in enumerate(loader, 1):
                batches += 1
                log.write(json.dumps([epoch, rows.tolist()]) + "\n")
                log.flush()
                if batches % 5 == 0:
                    counted = {"consumed": received} if holder is sampler else {}
                    state = holder.state_dict(**counted)
                    torch.save({"state": state, "epoch": epoch}, folder / "new.pt")
                    (folder / "new.pt").rename(checkpoint)
                if batches == kill_at:
                    os.kill(os.getpid(), signal.SIGKILL)


if __name__ == "__main__":
    main()
