"""One rank: go through an epoch, meet the others at every step, write the rows that counted.

python rank_worker.py ROWS FOLDER, with the variables that torch.distributed reads.
"""

import sys
from pathlib import Path

import torch
import torch.distributed as dist

from npdata.sampling.sampler import BlockBatchSampler


def main() -> None:
    n, folder = int(sys.argv[1]), Path(sys.argv[2])
    mask = BlockBatchSampler(n, 16, block_rows=30, uneven="mask")
    pad = BlockBatchSampler(n, 16, block_rows=30, uneven="pad")
    dist.init_process_group("gloo")
    for name, sampler in (("mask", mask), ("pad", pad)):
        rows: list[int] = []
        for batch in sampler:
            met = torch.ones(1)
            dist.all_reduce(met)
            assert met.item() == dist.get_world_size()
            rows += batch.rows[batch.mask].tolist() if name == "mask" else batch.tolist()
        (folder / f"{name}-{dist.get_rank()}").write_text(" ".join(map(str, rows)))
    dist.destroy_process_group()


if __name__ == "__main__":
    main()
