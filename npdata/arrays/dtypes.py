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
import torch

DType: TypeAlias = np.dtype[Any]

NATIVE: dict[str, torch.dtype] = {
    "bool": torch.bool,
    "int8": torch.int8,
    "int16": torch.int16,
    "int32": torch.int32,
    "int64": torch.int64,
    "uint8": torch.uint8,
    "uint16": torch.uint16,
    "uint32": torch.uint32,
    "uint64": torch.uint64,
    "float16": torch.float16,
    "float32": torch.float32,
    "float64": torch.float64,
    "complex64": torch.complex64,
    "complex128": torch.complex128,
}

NAMES = {dtype: name for name, dtype in NATIVE.items()}
"""The dtype of NumPy for each of torch that it has."""

_ML_NAMES = (
    "bfloat16",
    "float8_e4m3fn",
    "float8_e4m3fnuz",
    "float8_e5m2",
    "float8_e5m2fnuz",
    "float8_e8m0fnu",
)
ML_DTYPES: dict[str, torch.dtype] = {
    name: getattr(torch, name) for name in _ML_NAMES if hasattr(torch, name)
}

BITS: dict[int, tuple[DType, torch.dtype]] = {
    1: (np.dtype(np.uint8), torch.uint8),
    2: (np.dtype(np.uint16), torch.uint16),
}


@dataclass(frozen=True, kw_only=True)
class DTypeRule:
    """How the elements of one NumPy dtype become tensor elements.

    `tensor` is the torch dtype with the same bits, or None where there is none; `carrier` is the
    NumPy dtype, in native byte order, that torch can share memory with and `carried` its torch
    twin; `swapped` says that the bytes must be swapped first; `cast` is the dtype asked for,
    where it differs. `kind` is "number", "record", "text" or "refused".
    """

    kind: str
    reason: str
    tensor: torch.dtype | None = None
    carrier: DType | None = None
    carried: torch.dtype | None = None
    swapped: bool = False
    cast: torch.dtype | None = None

    @property
    def result(self) -> torch.dtype | None:
        """The dtype of the tensor that comes out."""
        return self.cast or self.tensor


def torch_dtype(asked: object) -> torch.dtype:
    """Give the torch dtype that `asked` names: a torch dtype, a NumPy dtype or its name.

    Raises TypeError for anything else.

    Examples:
        >>> torch_dtype("float32"), torch_dtype(np.int64), torch_dtype(torch.bfloat16)
        (torch.float32, torch.int64, torch.bfloat16)
    """
    if isinstance(asked, torch.dtype):
        return asked
    if isinstance(asked, str) and asked in ML_DTYPES:
        return ML_DTYPES[asked]
    try:
        return (NATIVE | ML_DTYPES)[np.dtype(asked).name]  # type: ignore[call-overload]
    except (TypeError, KeyError):
        raise TypeError(
            f"dtype={asked!r} names no tensor dtype; give a torch dtype such as torch.float32, "
            f"or str or bytes for text"
        ) from None


def dtype_rule(dtype: DType, asked: object = None) -> DTypeRule:
    """Decide how `dtype` becomes a tensor dtype, with `asked` as the dtype wanted (None: as is).

    Returns a rule of kind "refused" with the reason where that cannot be done; raises TypeError
    only where `asked` itself is no dtype.

    Examples:
        >>> dtype_rule(np.dtype(">f4")).tensor, dtype_rule(np.dtype(">f4")).swapped
        (torch.float32, True)
        >>> dtype_rule(np.dtype("O")).kind
        'refused'
    """
    if asked is not None and asked is not str and asked is not bytes:
        asked = torch_dtype(asked)
    # Two object dtypes are equal even if h5py's metadata marks only one of them as text.
    return _rule(dtype, asked) if dtype.hasobject else _remembered_rule(dtype, asked)


def _rule(dtype: DType, asked: object) -> DTypeRule:
    if asked is str or asked is bytes:
        return _text(dtype)
    want = asked if isinstance(asked, torch.dtype) else None
    rule = _number(dtype, want)
    if want is None or rule.kind == "refused":
        return rule
    if rule.kind == "record":
        return _refuse("a structured dtype takes no dtype=; cast the fields of the dict one by one")
    if rule.tensor == want:
        return rule
    if dtype.kind == "c" and not want.is_complex:
        return _refuse(
            f"a cast from {dtype} to {want} would discard the imaginary part; "
            f"take .real or .abs() of the array first"
        )
    return replace(rule, reason=f"cast from {dtype} to {want}, as asked", cast=want)


_remembered_rule = functools.lru_cache(maxsize=256)(_rule)


def _number(dtype: DType, want: torch.dtype | None) -> DTypeRule:
    if dtype.names is not None:
        return DTypeRule(kind="record", reason="a structured dtype becomes a dict of its fields")
    if dtype.name in ML_DTYPES:
        return _bits(dtype, ML_DTYPES[dtype.name])
    if _is_void(dtype) and want is not None and want in ML_DTYPES.values():
        return _bits(dtype, want) if want.itemsize == dtype.itemsize else _refuse(_why_not(dtype))
    if dtype.kind in "mM":
        if want != torch.int64:
            return _refuse(
                f"torch has no {dtype}; ask for dtype=torch.int64 to get the integer ticks "
                f"(NaT becomes the smallest int64)"
            )
        return _plain(np.dtype(np.int64), not dtype.isnative, f"{dtype} as its int64 ticks")
    if dtype.kind in "biufc" and dtype.name in NATIVE:
        return _plain(np.dtype(dtype.name), not dtype.isnative, f"{dtype} is native to torch")
    return _refuse(_why_not(dtype))


def _bits(dtype: DType, tensor: torch.dtype) -> DTypeRule:
    carrier, carried = BITS[dtype.itemsize]
    return DTypeRule(
        kind="number",
        reason=f"{dtype.name} has the bits of {tensor}",
        tensor=tensor,
        carrier=carrier,
        carried=carried,
    )


def _is_void(dtype: DType) -> bool:
    """Tell whether elements are bytes without a meaning, as files keep those of ml_dtypes."""
    return dtype.type is np.void and dtype.names is None and dtype.subdtype is None


def _plain(carrier: DType, swapped: bool, reason: str) -> DTypeRule:
    tensor = NATIVE[carrier.name]
    if swapped:
        reason = "the bytes are not in native order, and are swapped in the copy"
    return DTypeRule(
        kind="number",
        reason=reason,
        tensor=tensor,
        carrier=carrier,
        carried=tensor,
        swapped=swapped,
    )


def _text(dtype: DType) -> DTypeRule:
    if dtype.kind in "UST" or is_variable_text(dtype):
        return DTypeRule(kind="text", reason=f"{dtype} is kept as Python text, as asked")
    return _refuse(f"{dtype} is no text; dtype=str and dtype=bytes are for strings")


def is_variable_text(dtype: DType) -> bool:
    """Tell whether `dtype` is HDF5's variable-length text, as h5py marks it."""
    metadata: dict[str, object] = dict(dtype.metadata or {})
    return dtype.kind == "O" and metadata.get("vlen") in (str, bytes)


def _why_not(dtype: DType) -> str:
    if dtype.kind in "UST" or is_variable_text(dtype):
        return (
            "a tensor holds no text; give the field dtype=str (or bytes) to keep Python strings, "
            "or encode the strings as integers"
        )
    metadata: dict[str, Any] = dict(dtype.metadata or {})
    if dtype.kind == "O" and metadata.get("ref") is not None:
        return (
            "the elements are references of HDF5 to other objects or regions, and no numbers; "
            "follow them with h5py, file[reference], and store what they lead to"
        )
    if dtype.kind == "O" and metadata.get("vlen") is not None:
        return (
            f"the elements are of variable length (HDF5's vlen of {metadata['vlen']}); store them "
            f"padded with their lengths, or as one run of values with the first of each"
        )
    if dtype.kind == "O":
        return (
            "the elements are Python objects; give numbers of one fixed dtype, in rows of one "
            "shape, padded where they differ"
        )
    if dtype.kind in "fc":
        return f"torch has no {dtype.name}; convert with array.astype('float64' or 'complex128')"
    if _is_void(dtype):
        return _why_no_void(dtype)
    return f"torch has no dtype with the bits of {dtype}; view the array as integers of that size"


def _why_no_void(dtype: DType) -> str:
    stored = [name for name, tensor in ML_DTYPES.items() if tensor.itemsize == dtype.itemsize]
    if not stored:
        return f"torch has no dtype with the bits of {dtype}; view the array as uint8"
    names = " or ".join(f"torch.{name}" for name in stored)
    return (
        f"{dtype} says nothing of what its bits mean; files keep {stored[0].partition('_')[0]} so: "
        f"ask for dtype={names}, whichever was stored, and cast the tensor after that. Bits of "
        f"integers: array.view('u{dtype.itemsize}')"
    )


def _refuse(reason: str) -> DTypeRule:
    return DTypeRule(kind="refused", reason=reason)
