"""The packages of the extra `codecs`, which decode: each a module, or None without it."""

import importlib
from typing import Any


def optional(name: str, *needs: str) -> Any:
    """Give the module `name`, or None where it is not installed, or lacks one of `needs`.

    Examples:
        >>> optional("math", "sqrt").sqrt(4.0), optional("math", "zlib"), optional("no_such_module")
        (2.0, None, None)
    """
    try:
        module = importlib.import_module(name)
    except ImportError:
        return None
    return module if all(hasattr(module, need) for need in needs) else None


igzip_lib = optional("isal.igzip_lib")
libdeflate = optional("deflate", "zlib_decompress", "DeflateError")
blosc = optional("numcodecs.blosc")
lz4 = optional("numcodecs.lz4")
zstd = optional("numcodecs.zstd")

NO_NUMCODECS = "the package numcodecs: pip install 'npdata[codecs]'" if zstd is None else None
"""What to install for the filters that numcodecs decodes, None where it is there."""
