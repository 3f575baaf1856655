"""Rows decoded by the conventions of their files, as part of reading them.

Idea: the stored rows of a batch are gathered as ever, and then decoded by a few vectorised steps.
Invariant: each row is decoded as its own file says. Where nothing is packed, rows stay as they are.
"""

from typing import Any, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from npdata.arrays.dtypes import Ints, torch_dtype
from npdata.errors import FieldError, FormatError
from npdata.sources.base import MIXED, Source, with_detail, without
from npdata.sources.derived.base import ConvertedSource
from npdata.sources.derived.windows import padded_by_zeros
from npdata.sources.packed.packing import Packing, Packings
from npdata.sources.packed.times import MISSING_TIME, clock
from npdata.sources.packed.unpack import unpack
from npdata.sources.sparse import SparseSource

Decode: TypeAlias = Literal["cf", "nwb", "matlab"]

BLOCK_BYTES = 1 << 20
"""So many bytes are decoded at a time; 40 MB at once took 2.2 times as long."""


_MATLAB = {"logical": "bool", "char": "text, kept with dtype=str"}
"""What rows of each class of MATLAB become."""


class UnpackedSource(ConvertedSource):
    """The rows of a source in the units that its attributes give them."""

    def __init__(self, rows: Source, packings: Packings, *, floats: bool = False) -> None:
        """Decode `rows`, packed as `packings` say; `floats` makes ticks float64, NaN if missing.

        Raises `FieldError` for times that NumPy has not, and where some rows are times and others
        numbers; `FormatError` for attributes that say nothing sound.
        """
        super().__init__(rows)
        self._packings = packings
        kinds = [kind for kind in packings.kinds if kind is not None]
        for kind in kinds:
            if kind.fault is not None:
                raise FormatError(f"{rows.where} cannot be decoded: {kind.fault}")
            if kind.since is not None:
                clock(kind.since, kind.calendar)
        what = ["numbers" if kind is None else kind.what for kind in packings.kinds]
        if len(set(what)) > 1:
            raise FieldError(
                f"some rows of {rows.where} are {', others '.join(dict.fromkeys(what))}; leave "
                f"this field out of decode=, or read the files as fields of two datasets"
            )
        plain = [rows.dtype] if None in packings.kinds else []
        self.dtype = np.result_type(*plain, *(kind.result(rows.dtype) for kind in kinds))
        shown = str(kinds[0]) if len(packings.kinds) == 1 else f"{len(packings.kinds)} ways"
        if kinds[0].since is not None:
            self.dtype = np.dtype(np.float64 if floats else np.int64)
            self.missing = None if floats else MISSING_TIME
            since = " since 1970-01-01" if what[0] == "times" else ""
            missing = "NaN" if floats else MISSING_TIME
            shown += f"; {self.dtype} nanoseconds{since}, {missing} if missing"
        about = ("decoded", f"{kinds[0].convention}: {shown}")
        self.details = (*without(rows.details, "packing"), about)

    @property
    def one_packing(self) -> Packing | None:
        """The way in which all rows are packed; None where there are several."""
        return self._packings.kinds[0] if len(self._packings.kinds) == 1 else None

    def _convert(self, stored: NDArray[Any], indices: Ints, out: NDArray[Any]) -> None:
        kinds = self._packings.kinds
        if len(kinds) > 1:
            codes = self._packings.of_rows(indices)
            for code in np.unique(codes).tolist():
                places = codes == code
                some, kind = stored[places], kinds[code]
                if kind is None:
                    out[places] = some
                    continue
                decoded = np.empty(some.shape, self.dtype)
                unpack(kind, some, decoded)
                out[places] = decoded
            return
        kind = kinds[0]
        assert kind is not None
        step = max(1, BLOCK_BYTES // max(1, self.row_bytes))
        for at in range(0, len(out), step):
            unpack(kind, stored[at : at + step], out[at : at + step])


class MatlabSource(ConvertedSource):
    """Rows of MATLAB's class "logical" as bool, and of "char" as strings, with its padding."""

    def __init__(self, rows: Source, kind: str) -> None:
        """Take rows of 0 and 1, or rows of characters, of the class `kind`."""
        super().__init__(rows)
        self._kind = kind
        self.details = with_detail(rows.details, "matlab", f"{kind} as {_MATLAB[kind]}")
        if kind == "logical":
            self.dtype = np.dtype(bool)
        elif len(rows.shape) != 2 or rows.dtype.kind != "u":
            raise FieldError(
                f"{rows.where} is MATLAB text of shape {rows.shape}, expected two axes"
            )
        else:
            self.shape = rows.shape[:1]
            self.dtype = np.dtype(f"U{max(1, rows.shape[1])}")

    def _convert(self, stored: NDArray[Any], _: object, out: NDArray[Any]) -> None:
        if self._kind == "logical":
            np.not_equal(stored, 0, out=out)
        else:
            out.view(np.uint32).reshape(len(out), -1)[...] = stored


def decoded(source: Source, asked: object, dtype: object = None) -> Source:
    """Decode the rows of a source as asked: "cf", "nwb", "matlab", or None for as they are stored.

    `dtype` is what they are cast to afterwards: as floats, times have NaN.

    Raises `FieldError` for anything else, and where rows as they are stored would mix several
    packings: the same number would mean different things in them.
    """
    if asked not in (None, "cf", "nwb", "matlab"):
        raise FieldError(
            f"decode={asked!r:.60}: expected 'cf', 'nwb' or 'matlab', or None for numbers as they "
            f"are stored; a field of that name goes into a mapping: NumpyDataset({{'decode': ...}})"
        )
    if asked == "matlab" and source.matlab is not None:
        return _decoded_matlab(source, source.matlab)
    packings = source.packings
    if asked in ("cf", "nwb") and packings.kinds != (None,):
        others = {kind.convention for kind in packings.kinds if kind is not None} - {asked}
        if others:
            raise FieldError(
                f"{source.where} is packed by the convention {others.pop()!r}, and {asked!r} was "
                f"asked for; a mapping from field to convention decodes each by its own"
            )
        if _by_samples(source):
            raise FieldError(
                f"{source.where} is packed ({packings.kinds[0]}), and decode= is for rows of one "
                f"shape; decode its batches in batch_transform="
            )
        if padded_by_zeros(source):
            raise FieldError(
                f"windows of {source.where} have zeros around their recordings, which decode= "
                f"would take for stored numbers: decode before, NumpyDataset(..., decode={asked!r})"
                ".windows(...)"
            )
        floats = dtype not in (None, str, bytes) and torch_dtype(dtype).is_floating_point
        return UnpackedSource(source, packings, floats=floats)
    require_one_packing(source)
    return source


def _decoded_matlab(source: Source, kind: str) -> Source:
    """Decode rows of the class `kind` of MATLAB; raises as `decoded`."""
    if kind == "empty":
        raise FormatError(
            f"{source.where} is an empty array of MATLAB: what is stored is its size, and it "
            f"has no rows; leave it out"
        )
    if kind == MIXED:
        raise FieldError(
            f"some parts of {source.where} are logical or char arrays of MATLAB, and not all are "
            "the same; leave this field out of decode=, or read the files as fields of two datasets"
        )
    if _by_samples(source):
        raise FieldError(
            f"{source.where} is {kind} of MATLAB, and decode= is for rows of one shape; decode its "
            "batches in batch_transform="
        )
    return MatlabSource(source, kind)


def _by_samples(source: Source) -> bool:
    """Whether its rows are of different lengths or sparse, and so are decoded by whoever reads."""
    return source.dtype.hasobject or isinstance(source, SparseSource)


def require_one_packing(source: Source) -> None:
    """Raise `FieldError` where a number means different things in different rows."""
    packings = source.packings
    if len(packings.kinds) > 1:
        first, other = packings.kinds[:2]
        row = int(packings.starts[packings.codes == 1][0])
        convention = next(kind.convention for kind in packings.kinds if kind is not None)
        cure = f'decode="{convention}" gives the values that they stand for'
        if _by_samples(source):
            cure = "decode= is for rows of one shape, so write them decoded"
        raise FieldError(
            f"{source.where}: rows are packed in different ways ({first or 'not at all'}; from row "
            f"{row} on: {other or 'not at all'}), so the same number means different things; "
            f"{cure}"
        )
