"""What the tests of `npdata inspect` share: an array, as stored."""

from dataclasses import replace

import numpy as np
import torch

from npdata.cli.inspect.report import Sample, Stored
from npdata.sources.base import Access


def stored(**changes: object) -> Stored:
    """A million images of 784 bytes, in one piece, but for the changes."""
    plain = Stored(
        shape=(1_000_000, 28, 28),
        dtype=np.dtype("u1"),
        stored_bytes=784_000_000,
        layout="contiguous",
        access=Access(kind="mapped", reason=""),
        sample=Sample(kind="view", reason="", dtype=torch.uint8),
    )
    if "access" in changes:
        changes["access"] = Access(kind=changes["access"], reason="")
    return replace(plain, **changes)
