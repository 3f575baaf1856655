"""NumPy array → tensor: share the memory where that is sound, copy where it is not, say why.

Idea: `decide` looks at dtype, shape, strides and flags alone and returns a frozen `Conversion`;
`apply` carries it out. `as_tensor`, `explain`, a dataset's samples and its `describe()` all use
that one decision. Invariant: no warning of torch ever reaches the user, and no tensor is ever
laid over memory that is read-only, misaligned or otherwise outside what torch promises. This
module reads no files and keeps no state.
"""

from dataclasses import dataclass, replace
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from npdata.arrays.cores import lost_threads
from npdata.arrays.dtypes import DType, DTypeRule, dtype_rule, no_imaginary_part
from npdata.arrays.gather import is_aligned
from npdata.arrays.values import copy_values, extremes
from npdata.errors import ConversionError, an
from npdata.runtime.lazy_torch import torch
from npdata.suggestions import explained

Tensors: TypeAlias = "torch.Tensor | dict[str, Tensors]"


@dataclass(frozen=True, kw_only=True)
class ArrayLayout:
    """All that a conversion depends on: strides in bytes, and flags.

    `aligned` is as torch wants it, which asks more of complex numbers than NumPy does. `fields`
    has the layout of each field of a structured dtype.
    """

    dtype: DType
    shape: tuple[int, ...]
    strides: tuple[int, ...]
    writeable: bool
    aligned: bool
    fields: tuple[tuple[str, "ArrayLayout"], ...] = ()

    @classmethod
    def of(cls, array: NDArray[Any]) -> "ArrayLayout":
        """Give the layout of `array`."""
        dtype = array.dtype
        # Not flags.writeable: NumPy warns when it is read of some broadcast arrays.
        _, read_only = array.__array_interface__["data"]
        return cls(
            dtype=dtype,
            shape=array.shape,
            strides=array.strides,
            writeable=not read_only,
            aligned=is_aligned(array),
            fields=tuple((name, cls.of(array[name])) for name in dtype.names or ()),
        )

    @property
    def row(self) -> "ArrayLayout":
        """The layout of one row: what an index along axis 0 selects."""
        return replace(
            self,
            shape=self.shape[1:],
            strides=self.strides[1:],
            fields=tuple((name, field.row) for name, field in self.fields),
        )

    @property
    def contiguous(self) -> bool:
        """Whether the elements lie in C order without gaps."""
        expected = self.dtype.itemsize
        for length, stride in zip(reversed(self.shape), reversed(self.strides), strict=True):
            if length != 1 and stride != expected and 0 not in self.shape:
                return False
            expected *= length
        return True


@dataclass(frozen=True, kw_only=True)
class Conversion:
    """What `as_tensor` does with an array, and why.

    `action` is "view" (the tensor shares the array's memory), "copy" (it is independent), "fields"
    (a structured array becomes a dict; `fields` has a conversion for each) or "refuse". `dtype` is
    the dtype of the tensor, None where there is no tensor.
    """

    action: str
    reason: str
    rule: DTypeRule | None = None
    fields: tuple[tuple[str, "Conversion"], ...] = ()

    @property
    def dtype(self) -> "torch.dtype | None":
        """The dtype of the tensor that comes out."""
        return self.rule.result if self.rule is not None else None

    @property
    def dtype_text(self) -> str | None:
        """The name of that dtype, such as "torch.float32"."""
        name = None if self.rule is None else self.rule.cast_name or self.rule.tensor_name
        return None if name is None else f"torch.{name}"

    def __repr__(self) -> str:
        """Give what `print` shows, behind the name of the class."""
        return f"<Conversion: {self}>"

    def __str__(self) -> str:
        """Give one line for people: the action, the dtype and the reason."""
        dtype = f" as {self.dtype_text}" if self.dtype_text is not None else ""
        parts = "".join(f"; {name}: {part}" for name, part in self.fields)
        return f"{self.action}{dtype}: {self.reason}{parts}"


_WORDS = {
    "device": "as_tensor(array).to(device) copies it there",
    "requires_grad": "as_tensor(array).requires_grad_() is its own step",
}
"""Arguments of `torch.as_tensor`, and what to write for them."""


@explained(_WORDS)
def as_tensor(
    array: NDArray[Any] | np.generic, *, dtype: object = None, copy: bool | None = None
) -> Tensors:
    """Turn a NumPy array of any shape into a tensor of the same shape and values.

    Args:
        array: an array or a NumPy scalar. A structured array becomes a dict of tensors.
        dtype: a dtype of torch or NumPy, or its name: casts. None: as it is (float64 stays so).
        copy: True always gives an independent copy (`torch.tensor`). False shares the memory
            (`torch.from_numpy`: a write to one shows in the other) or raises. None (the default)
            shares where the array is writable, C-contiguous and of a dtype that torch has, and
            copies otherwise.

    Raises:
        ConversionError: a TypeError and a ValueError, where no tensor can hold the array, where it
            cannot be shared as asked, and for what is no plain array; it gives `explain`'s reason.
            Also for NaN, infinities and floats out of range that are to become integers.

    Examples:
        >>> array = np.zeros((2, 3), np.float32)
        >>> tensor = npdata.as_tensor(array)
        >>> tensor[0, 0] = 7
        >>> float(array[0, 0])
        7.0
        >>> npdata.as_tensor(array.T).is_contiguous()
        True
    """
    conversion = explain(array, copy=copy, dtype=dtype)
    if conversion.action == "refuse":
        raise ConversionError(f"cannot turn {_shown(array)} into a tensor: {conversion.reason}")
    return apply(conversion, np.asarray(array))


@explained(_WORDS)
def explain(
    array: NDArray[Any] | np.generic, *, dtype: object = None, copy: bool | None = None
) -> Conversion:
    """Say what `as_tensor` would do, and why; converts nothing.

    Args:
        array: an array or a NumPy scalar.
        dtype: as in `as_tensor`.
        copy: as in `as_tensor`.

    Raises:
        TypeError: where `copy` or `dtype` is no value that `as_tensor` takes.

    Examples:
        >>> print(npdata.explain(np.zeros((2, 3), np.float32).T))
        copy as torch.float32: the array is not C-contiguous
    """
    if not any(copy is known for known in (None, True, False)):
        raise ConversionError(f"copy={copy!r}: expected None, True or False")
    if isinstance(array, np.generic):
        if copy is False:
            reason = "a NumPy scalar cannot be shared; use copy=None or copy=True for a copy"
            return Conversion(action="refuse", reason=reason)
        return decide(ArrayLayout.of(np.asarray(array)), copy=True, dtype=dtype)
    not_plain = refusal(array)
    if not_plain is not None:
        return Conversion(action="refuse", reason=not_plain)
    return decide(ArrayLayout.of(array), copy=copy, dtype=dtype)


def refusal(array: object) -> str | None:
    """Give the reason why `array` is not a plain array, or None where it is one.

    Examples:
        >>> refusal(np.zeros(3)) is None, refusal([1, 2])
        (True, 'a list is no NumPy array; pass np.asarray(...) of it')
    """
    kind = type(array)
    if kind in (np.ndarray, np.memmap, np.recarray):
        return None
    if isinstance(array, np.ma.MaskedArray):
        return (
            "a masked array's mask would be lost; pass array.filled(value), or two arrays, "
            "array.data and np.ma.getmaskarray(array)"
        )
    if isinstance(array, np.matrix):
        return "np.matrix is always two-dimensional, so its rows are no rows; pass np.asarray(...)"
    if isinstance(array, np.ndarray):
        return f"{kind.__name__} is a subclass whose meaning would be lost; pass np.asarray(...)"
    if hasattr(kind, "__getitems__"):
        return f"{an(kind.__name__)} is no NumPy array; ds[:] gives its rows as tensors"
    return f"{an(kind.__name__)} is no NumPy array; pass np.asarray(...) of it"


def decide(layout: ArrayLayout, *, copy: bool | None = None, dtype: object = None) -> Conversion:
    """Decide on a conversion from the layout alone: pure, the same answer every time."""
    rule = dtype_rule(layout.dtype, dtype)
    if rule.kind == "refused":
        return Conversion(action="refuse", reason=rule.reason)
    if rule.kind == "text":
        return Conversion(action="refuse", reason="a tensor holds no text")
    if rule.kind == "record":
        return _decide_fields(layout, rule, copy)
    if copy is True:
        return Conversion(action="copy", rule=rule, reason="an independent copy, as asked")
    obstacle = _obstacle(layout, rule)
    if obstacle is not None and copy is False:
        hint = "use copy=None or copy=True for a copy"
        return Conversion(action="refuse", reason=f"it cannot be shared, {obstacle}; {hint}")
    if obstacle is None and copy is None and not layout.contiguous:
        obstacle = "the array is not C-contiguous"
    if obstacle is not None:
        return Conversion(action="copy", rule=rule, reason=obstacle)
    return Conversion(
        action="view",
        rule=rule,
        reason=f"the memory is shared: writable, aligned, and {rule.reason}",
    )


def apply(conversion: Conversion, array: NDArray[Any]) -> Tensors:
    """Carry out a conversion that was decided for an array of this layout."""
    if conversion.action == "fields":
        return {name: apply(part, array[name]) for name, part in conversion.fields}
    rule = conversion.rule
    assert rule is not None  # as of all views and copies
    if conversion.action == "view":
        return _over(array, rule)
    layout = ArrayLayout.of(array)
    same = array.dtype == rule.carrier and array.dtype.num == rule.carrier.num
    if same and layout.contiguous and _hazard(layout) is None and not lost_threads():
        tensor = torch.tensor(array, device="cpu")
    else:
        native = np.array(array, dtype=array.dtype.newbyteorder("="), order="C", subok=False)
        tensor = _over(native, rule)
    return tensor if rule.cast is None else cast_to(tensor, rule.cast)


def cast_to(tensor: "torch.Tensor", dtype: "torch.dtype") -> "torch.Tensor":
    """Give `tensor.to(dtype)`; `ConversionError` for floats that are no integers of `dtype`."""
    refuse_lost_numbers(tensor, dtype)
    if lost_threads() and tensor.device.type == "cpu" and tensor.is_contiguous():
        return copy_values(tensor, torch.empty(tensor.shape, dtype=dtype, device="cpu"))
    return tensor.to(dtype)


def refuse_lost_numbers(tensor: "torch.Tensor", dtype: "torch.dtype") -> None:
    """Raise `ConversionError` where a cast of floats to integers has no defined result.

    NumPy warns there, and torch gives any number: of NaN, of infinities and of what `dtype` cannot
    hold. Integers wrap around, as in NumPy, and a fraction is cut off. An imaginary part is not.

    Examples:
        >>> refuse_lost_numbers(torch.tensor([-0.9, 255.9]), torch.uint8)
        >>> refuse_lost_numbers(torch.tensor([1.0, torch.nan]), torch.int64)
        Traceback (most recent call last):
        npdata.errors.ConversionError: nan is no torch.int64 (-9223372036854775808 to ...
    """
    if tensor.is_complex() and not dtype.is_complex:
        raise ConversionError(no_imaginary_part(tensor.dtype, dtype))
    if not tensor.is_floating_point() or dtype.is_floating_point or dtype.is_complex:
        return
    values = _numbers_of(tensor)
    if dtype == torch.bool or not values.numel():
        return
    limits = torch.iinfo(dtype)
    for extreme in extremes(values.detach()):
        if not limits.min - 1 < extreme < limits.max + 1:
            raise ConversionError(
                f"{extreme} is no {dtype} ({limits.min} to {limits.max}): put a number in its "
                "place, leave such rows out, or keep floats"
            )


def _numbers_of(tensor: Any) -> "torch.Tensor":
    """Give the numbers that a tensor of any layout stores, without those between nested ones."""
    values: torch.Tensor = tensor
    if tensor.layout == torch.jagged and tensor.lengths() is not None:
        nothing = tensor.values()[:0].reshape(-1)
        values = torch.cat([nothing, *(part.reshape(-1) for part in tensor.unbind())])
    elif tensor.layout == torch.sparse_coo:
        values = tensor._values()
    elif tensor.is_nested or tensor.layout != torch.strided:
        values = tensor.values()
    return values


def stored_in(tensor: "torch.Tensor", rule: DTypeRule, dtype: DType) -> NDArray[Any]:
    """Give the memory of a tensor of numbers as an array of `dtype`, in native byte order.

    `rule` is how numbers of `dtype` become a tensor.
    """
    words = tensor if rule.carried in (None, rule.tensor) else tensor.view(rule.carried)
    return words.numpy().view(dtype.newbyteorder("="))


def _shown(array: object) -> str:
    if isinstance(array, np.ndarray):
        return f"an array of shape {array.shape} and dtype {array.dtype}"
    return an(type(array).__name__)


def _over(array: NDArray[Any], rule: DTypeRule) -> "torch.Tensor":
    if rule.carrier is not None and array.dtype.num == rule.carrier.num:
        return torch.from_numpy(array)
    tensor = torch.from_numpy(array.view(rule.carrier))
    return tensor if rule.tensor is None else tensor.view(rule.tensor)


def _obstacle(layout: ArrayLayout, rule: DTypeRule) -> str | None:
    if rule.cast is not None or rule.swapped:
        return rule.reason
    if not layout.writeable:
        return "the array is read-only, and a tensor is always writable"
    return _hazard(layout)


def _hazard(layout: ArrayLayout) -> str | None:
    """Say what keeps torch from reading this memory at all."""
    if any(stride < 0 for stride in layout.strides):
        return "a stride is negative, and torch has no negative strides"
    if any(n > 1 and stride == 0 for n, stride in zip(layout.shape, layout.strides, strict=True)):
        return "a stride is zero, so that elements share their memory"
    if any(stride % max(1, layout.dtype.itemsize) for stride in layout.strides):
        return "a stride is no multiple of the item size"
    if not layout.aligned:
        return "the elements are not aligned in memory"
    return None


def _decide_fields(layout: ArrayLayout, rule: DTypeRule, copy: bool | None) -> Conversion:
    parts = tuple((name, decide(field, copy=copy)) for name, field in layout.fields)
    for name, part in parts:
        if part.action == "refuse":
            return Conversion(action="refuse", reason=f"its field {name!r}: {part.reason}")
    return Conversion(action="fields", reason=rule.reason, fields=parts)
