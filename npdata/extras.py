"""Packages that only some parts need: imported when they are, or named as what to install.

Idea: the core needs numpy, torch and h5py; what else a part needs belongs to an extra of the
package. Invariant: without it the error names the extra. It imports nothing at import time.
"""

import importlib
from typing import Any

from npdata.errors import MissingExtraError


def require(module: str, *, extra: str, purpose: str) -> Any:
    """Import `module`, which belongs to `extra`; `purpose` begins the error's sentence.

    Raises `MissingExtraError` (an ImportError).

    Examples:
        >>> require("nowhere", extra="plot", purpose="--plot")
        Traceback (most recent call last):
        npdata.errors.MissingExtraError: --plot needs nowhere, ...: pip install 'npdata[plot]'
    """
    try:
        return importlib.import_module(module)
    except ImportError as error:
        package = module.partition(".")[0]
        raise MissingExtraError(
            f"{purpose} needs {package}, which is not installed: pip install 'npdata[{extra}]'"
        ) from error
