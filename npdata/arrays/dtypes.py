"""The one table of dtypes: which tensor dtype holds which NumPy dtype, and why not where none does.

Idea: a tensor can hold a NumPy dtype exactly when torch has a dtype whose elements are the same
bits. Invariant: nothing is narrowed or reinterpreted by itself; datetimes become integers and
strings become Python objects only when asked for. This module looks at dtypes alone, never at
data, and converts nothing.
"""

import functools
from dataclasses import dataclass, replace
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from npdata.runtime.lazy_torch import torch
from npdata.runtime.made_once import made_once

DType: TypeAlias = np.dtype[Any]
Ints: TypeAlias = NDArray[np.int64]
"""Row numbers, places and counts."""

CLASS_NUMBERS = "np.unique(x, return_inverse=True)[1] for the numbers of its classes"
"""What to write for texts that are labels."""

NATIVE = (
    "bool", "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64",
    "float16", "float32", "float64", "complex64", "complex128",
)  # fmt: skip
"""Dtypes that NumPy and torch have in common, under the same names."""
ML_DTYPES = (
    "bfloat16", "float8_e4m3fn", "float8_e4m3fnuz", "float8_e5m2", "float8_e5m2fnuz",
    "float8_e8m0fnu",
)  # fmt: skip
"""Those of ml_dtypes; an older torch lacks some."""


@dataclass(frozen=True, kw_only=True)
class DTypeRule:
    """How the elements of one NumPy dtype become tensor elements.

    `kind` is "number", "record", "text" or "refused". `carrier` is the NumPy dtype, in native byte
    order, that torch can share memory with; `swapped` says that the bytes must be swapped first.
    Names are those of torch's dtypes.
    """

    kind: str
    reason: str
    tensor_name: str | None = None
    carrier: DType | None = None
    swapped: bool = False
    cast_name: str | None = None

    @made_once
    def tensor(self) -> "torch.dtype | None":
        """The torch dtype with the same bits, None where there is none."""
        return _named(self.tensor_name)

    @made_once
    def carried(self) -> "torch.dtype | None":
        """The torch dtype like `carrier`."""
        return None if self.carrier is None else _named(self.carrier.name)

    @made_once
    def cast(self) -> "torch.dtype | None":
        """The dtype asked for, None where it is `tensor`."""
        return _named(self.cast_name)

    @property
    def result(self) -> "torch.dtype | None":
        """The dtype of the tensor that comes out."""
        return self.cast or self.tensor


def _named(name: str | None) -> "torch.dtype | None":
    return None if name is None else getattr(torch, name)


def torch_dtype(asked: object) -> "torch.dtype":
    """Give the torch dtype that `asked` names: a torch dtype, a NumPy dtype or its name.

    Raises TypeError for anything else, such as quantized dtypes, to which torch casts no numbers.

    Examples:
        >>> torch_dtype("float32"), torch_dtype(np.int64), torch_dtype(torch.bfloat16)
        (torch.float32, torch.int64, torch.bfloat16)
    """
    if isinstance(asked, torch.dtype) and _name(asked) in (*NATIVE, *ML_DTYPES, "complex32"):
        return asked
    try:
        named = isinstance(asked, str) and asked in ML_DTYPES
        name: Any = asked if named else np.dtype(asked).name  # type: ignore[call-overload]
        known = name in NATIVE or name in ML_DTYPES
        found: torch.dtype | None = getattr(torch, name, None) if known else None
    except (TypeError, ValueError):  # a ValueError for what has a `dtype` that is none of NumPy
        found = None
    if found is None:
        which = " that numbers are cast to" if isinstance(asked, torch.dtype) else ""
        raise TypeError(
            f"dtype={asked!r} names no tensor dtype{which}; give a torch dtype such as "
            f"torch.float32, or str or bytes for text"
        )
    return found


@functools.cache
def numpy_name(dtype: "torch.dtype") -> str | None:
    """Give the name of the NumPy dtype like a torch dtype, None where NumPy has none."""
    return _name(dtype) if _name(dtype) in NATIVE else None


def dtype_rule(dtype: DType, asked: object = None) -> DTypeRule:
    """Decide how `dtype` becomes a tensor dtype, with `asked` as the dtype wanted (None: as is).

    Returns a rule of kind "refused" with the reason where that cannot be done; raises TypeError
    only where `asked` itself is no dtype.
    """
    text = asked is str or asked is bytes
    want = None if asked is None or text else _name(torch_dtype(asked))
    # Two object dtypes are equal even if h5py's metadata marks only one of them as text.
    rule = _rule if dtype.hasobject else _remembered_rule
    return rule(dtype, want, text)


def _name(dtype: "torch.dtype") -> str:
    return str(dtype).removeprefix("torch.")


def _rule(dtype: DType, want: str | None, text: bool) -> DTypeRule:
    if text:
        return _text(dtype)
    rule = _number(dtype, want)
    if want is None or rule.kind == "refused":
        return rule
    if rule.kind == "record":
        return _refuse("a structured dtype takes no dtype=; cast the fields of the dict one by one")
    if rule.tensor_name == want:
        return rule
    if dtype.kind == "c" and not want.startswith("complex"):
        return _refuse(no_imaginary_part(dtype, f"torch.{want}"))
    reason = f"cast from {dtype} to torch.{want}, as asked"
    return replace(rule, reason=reason, cast_name=want)


def no_imaginary_part(dtype: object, want: object) -> str:
    """Say why complex numbers do not become real ones."""
    return (
        f"a cast from {dtype} to {want} would discard the imaginary part; take .real or .abs() of "
        "the array first"
    )


_remembered_rule = functools.lru_cache(maxsize=256)(_rule)


def _number(dtype: DType, want: str | None) -> DTypeRule:
    if dtype.names is not None:
        return DTypeRule(kind="record", reason="a structured dtype becomes a dict of its fields")
    if dtype.name in ML_DTYPES and hasattr(torch, dtype.name):
        return _bits(dtype, dtype.name)
    if _is_void(dtype) and want in ML_DTYPES:
        same = _ml_bytes(want) == dtype.itemsize
        return _bits(dtype, want) if same else _refuse(_why_not(dtype))
    if dtype.kind in "mM":
        if want != "int64":
            return _refuse(
                f"torch has no {dtype}; ask for dtype=torch.int64 to get the integer ticks "
                f"(NaT becomes the smallest int64)"
            )
        return _plain(np.dtype(np.int64), not dtype.isnative, f"{dtype} as its int64 ticks")
    if dtype.kind in "biufc" and dtype.name in NATIVE:
        return _plain(np.dtype(dtype.name), not dtype.isnative, f"{dtype} is native to torch")
    return _refuse(_why_not(dtype))


def _ml_bytes(name: str) -> int:
    return 2 if name == "bfloat16" else 1


def _bits(dtype: DType, name: str) -> DTypeRule:
    return DTypeRule(
        kind="number",
        reason=f"{dtype.name} has the bits of torch.{name}",
        tensor_name=name,
        carrier=np.dtype(f"u{dtype.itemsize}"),
    )


def _is_void(dtype: DType) -> bool:
    """Tell whether elements are bytes without a meaning, as files keep those of ml_dtypes."""
    return dtype.type is np.void and dtype.names is None and dtype.subdtype is None


def _plain(carrier: DType, swapped: bool, reason: str) -> DTypeRule:
    if swapped:
        reason = "the bytes are not in native order, and are swapped in the copy"
    return DTypeRule(
        kind="number", reason=reason, tensor_name=carrier.name, carrier=carrier, swapped=swapped
    )


def _text(dtype: DType) -> DTypeRule:
    if dtype.kind in "UST" or is_variable_text(dtype):
        return DTypeRule(kind="text", reason=f"{dtype} is kept as Python text, as asked")
    if dtype.names is not None:
        return _refuse("a structured dtype takes no dtype=; columns= keeps its text columns as str")
    cure = "name those that hold some, as dtype={'name': str}"
    if dtype.kind == "O":
        cure = "x.astype(str) makes text of Python objects"
    return _refuse(f"{dtype} is no text; dtype=str and dtype=bytes are for strings; {cure}")


def is_variable_text(dtype: DType) -> bool:
    """Tell whether `dtype` is HDF5's variable-length text, as h5py marks it."""
    metadata: dict[str, object] = dict(dtype.metadata or {})
    return dtype.kind == "O" and metadata.get("vlen") in (str, bytes)


def _why_not(dtype: DType) -> str:
    if dtype.kind in "UST" or is_variable_text(dtype):
        return (
            "a tensor holds no text; give the field dtype=str (or bytes) to keep Python strings, "
            f"or {CLASS_NUMBERS}"
        )
    metadata: dict[str, Any] = dict(dtype.metadata or {})
    if dtype.kind == "O" and metadata.get("ref") is not None:
        return (
            "the elements are references of HDF5 to other objects or regions, and no numbers; "
            "file[reference].name of h5py names what each of a cell array leads to, and "
            "npdata.stack([f'{path}::{name}' for name in names]) makes each a sample"
        )
    of = metadata.get("vlen")
    if isinstance(of, np.dtype) and not of.isnative:
        return (
            f"h5py reads numbers of variable length in another byte order ({of.str}) wrongly, as "
            "if it were the native one; write them again in that"
        )
    if dtype.kind == "O" and of is not None:
        return (
            f"the elements are of variable length (HDF5's vlen of {of}); store them "
            f"padded with their lengths, or as one run of values with the first of each"
        )
    if dtype.kind == "O":
        return (
            "the elements are Python objects; give x.astype('float32') where all are numbers, of "
            "rows of different lengths npdata.ragged(np.concatenate(x), lengths=[len(row) for row "
            "in x]), of text x.astype(str)"
        )
    if dtype.kind in "fc":
        return f"torch has no {dtype.name}; convert with array.astype('float64' or 'complex128')"
    if _is_void(dtype):
        return _why_no_void(dtype)
    if dtype.kind == "V" and dtype.subdtype is None:
        return f"torch has no {dtype.name}; convert with array.astype('float32'), which holds it"
    return f"torch has no dtype with the bits of {dtype}; view the array as integers of that size"


def _why_no_void(dtype: DType) -> str:
    known = [name for name in ML_DTYPES if _ml_bytes(name) == dtype.itemsize]
    stored = [name for name in known if hasattr(torch, name)]
    if not stored:
        return (
            f"torch has no dtype with the bits of {dtype}; give the bytes of each element as an "
            f"axis: array.view(('u1', {dtype.itemsize}))"
        )
    names = " or ".join(f"torch.{name}" for name in stored)
    return (
        f"{dtype} says nothing of what its bits mean; files keep {stored[0].partition('_')[0]} so: "
        f"ask for dtype={names}, whichever was stored, and cast the tensor after that. Bits of "
        f"integers: array.view('u{dtype.itemsize}')"
    )


def _refuse(reason: str) -> DTypeRule:
    return DTypeRule(kind="refused", reason=reason)
