"""The rights of another user, whom root may be."""

import contextlib
import os
from collections.abc import Iterator

IS_ROOT = hasattr(os, "geteuid") and os.geteuid() == 0


@contextlib.contextmanager
def another_user() -> Iterator[None]:
    """Be another user than root for a while."""
    os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(0)
