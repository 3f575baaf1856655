"""Options that are True or False.

Idea: text such as "False", as a command line or a file of settings gives it, would count as True.
Invariant: nothing but a bool, Python's or NumPy's, is taken for one.
"""

import numpy as np

from npdata.errors import NpdataError


def flag(name: str, value: object, error: type[NpdataError], cure: str = "") -> bool:
    """Give `value` as a bool, or raise `error`, with a `cure` behind what was expected.

    Examples:
        >>> flag("drop_last", np.True_, npdata.errors.SamplerError)
        True
        >>> flag("drop_last", "False", npdata.errors.SamplerError)
        Traceback (most recent call last):
        npdata.errors.SamplerError: drop_last='False': expected True or False
    """
    if isinstance(value, bool | np.bool_):
        return bool(value)
    shown = " ".join(repr(value).split())
    raise error(f"{name}={shown:.60}: expected True or False{cure}")
