"""How samples are divided among processes: which one this is, and what happens to those left over.

Idea: a rank is given, or asked of torch.distributed as an epoch begins, which starts after samplers
are made. Invariant: a worker of a DataLoader, which has no rank of its own, is refused.
"""

from dataclasses import dataclass
from typing import Self

import torch.distributed as dist
from torch.utils.data import get_worker_info

from npdata.arrays.flag import flag
from npdata.errors import SamplerError
from npdata.sampling.order.checks import whole_number, whole_or_none
from npdata.sampling.order.ranks import UNEVEN, Uneven


@dataclass(frozen=True, kw_only=True)
class Division:
    """`rank` of `world_size` (None: of torch.distributed); `masked` batches mark their padding.

    Examples:
        >>> Division.of(rank=None, world_size=None, uneven="mask", drop_last=True)
        Division(rank=None, world_size=None, uneven='drop', masked=True)
    """

    rank: int | None
    world_size: int | None
    uneven: Uneven
    masked: bool

    @classmethod
    def of(
        cls, *, rank: int | None, world_size: int | None, uneven: Uneven, drop_last: bool
    ) -> Self:
        """Check the arguments of a sampler; each fault is a SamplerError."""
        if uneven not in UNEVEN:
            raise SamplerError(f"uneven={uneven!r}: expected one of {', '.join(UNEVEN)}")
        if (rank is None) != (world_size is None):
            raise SamplerError(
                f"rank={rank} and world_size={world_size}: give both, or none to take them from "
                "torch.distributed"
            )
        drops = flag("drop_last", drop_last, SamplerError)
        return cls(
            rank=None if rank is None else whole_number("rank", rank, least=0),
            world_size=whole_or_none("world_size", world_size),
            uneven="drop" if drops else uneven,
            masked=uneven == "mask",
        )

    def here(self) -> tuple[int, int]:
        """Give the rank of this process and the number of ranks."""
        if self.rank is not None and self.world_size is not None:
            return self.rank, self.world_size
        worker = get_worker_info()
        if worker is not None:
            raise SamplerError(
                f"worker {worker.id} of {worker.num_workers} of a DataLoader iterates a "
                "BlockBatchSampler, or a Loader, and every worker would read all rows: give "
                "the sampler rank=info.id, world_size=info.num_workers, uneven='ragged', with "
                "info = torch.utils.data.get_worker_info(), or iterate in the main process"
            )
        present = dist.is_available() and dist.is_initialized()
        return (dist.get_rank(), dist.get_world_size()) if present else (0, 1)
