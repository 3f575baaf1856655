"""The one place where optional packages are looked for: a module, or None."""

import importlib
from typing import Any


def optional(name: str) -> Any:
    """Give the module `name`, or None where it is not installed.

    Examples:
        >>> optional("math").sqrt(4.0), optional("no_such_module")
        (2.0, None)
    """
    try:
        return importlib.import_module(name)
    except ImportError:
        return None


igzip_lib = optional("isal.igzip_lib")
libdeflate = optional("deflate")
blosc = optional("numcodecs.blosc")
lz4 = optional("numcodecs.lz4")
zstd = optional("numcodecs.zstd")

MISSING = "the package numcodecs: pip install 'npdata[codecs]'" if zstd is None else None
