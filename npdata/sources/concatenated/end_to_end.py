"""Sources laid end to end, in the form that the rows of all of them have.

Idea: samples of different lengths stay so, and sparse rows stay sparse; all else is rows of one
shape (`concat`), or of different ones (`varied`). What does not depend on the form is in `joined`.
Invariant: row i is the one that the parts, in their order, have at place i; parts of other rows, of
another dtype or packing are refused. A source end to end that is a part itself gives its own parts.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from npdata.arrays.convert import ArrayLayout
from npdata.arrays.dtypes import Ints
from npdata.arrays.runs import rows_of_runs
from npdata.errors import FieldError
from npdata.runtime.made_once import made_once
from npdata.sources.base import matlab_of
from npdata.sources.concatenated.base import EndToEnd
from npdata.sources.concatenated.concat import ConcatSource
from npdata.sources.concatenated.in_place import read_parts
from npdata.sources.concatenated.joined import Joined, JoinedPieces, packed
from npdata.sources.concatenated.parts import Held
from npdata.sources.concatenated.varied import varied_parts
from npdata.sources.derived.base import origin
from npdata.sources.hdf5.anndata.genes import same_genes
from npdata.sources.ragged import RaggedSource
from npdata.sources.sparse import Entries, SparseSource


class RaggedParts(JoinedPieces, RaggedSource):
    """The samples of all `parts`, one part after the other."""

    parts: tuple[RaggedSource, ...]

    def __init__(self, parts: Sequence[RaggedSource], paths: Sequence[str] = ()) -> None:
        super().__init__(parts, paths, [*map(_samples, parts)])
        first = parts[0]
        self.row_shape, self.values_dtype = first.row_shape, first.values_dtype
        self.categories = first.categories
        other = next((part for part in parts if part.categories != first.categories), None)
        if other is not None:
            raise FieldError(
                f"the numbers of {first.where} and of {other.where} stand for different names; lay "
                "their values end to end, which gives them one code: "
                "npdata.ragged(npdata.concatenate([values, others]), lengths=...)"
            )

    @made_once
    def _copies(self) -> bool:
        """Whether pieces are copied: where not those of all parts are views of one kind."""
        seen = [part.pieces_layout for part in self.parts if len(part)]
        return len({None if e is None else (e.writeable, e.aligned, e.strides) for e in seen}) > 1

    @property
    def pieces_layout(self) -> ArrayLayout | None:
        """The layout of a piece where all parts have views of one kind."""
        full = (part for part in self.parts if len(part))
        return None if self._copies else next(full, self.parts[0]).pieces_layout

    def check(self) -> None:
        """Look at the files of which pieces are views: others are looked at as they are read."""
        for owner, part in enumerate(self.parts):
            if part.pieces_layout is not None:
                self._opened(owner).check()

    def lengths(self) -> Ints:
        """Give the lengths of all samples."""
        return np.concatenate([part.lengths() for part in self.parts])

    def _pieces_of(self, part: RaggedSource, inside: Ints) -> list[NDArray[Any]]:
        pieces = part.pieces(inside)
        return [piece.copy() for piece in pieces] if self._copies else pieces


class SparseParts(Joined, SparseSource):
    """The sparse rows of all `parts`, one part after the other."""

    parts: tuple[SparseSource, ...]

    def __init__(self, parts: Sequence[SparseSource], paths: Sequence[str] = ()) -> None:
        super().__init__(parts, paths, [*map(_rows, parts)])
        first = parts[0]
        self.shape = (int(self.edges.starts[-1]), *first.shape[1:])
        self.dtype = first.dtype
        self.layout = first.layout if len({part.layout for part in parts}) == 1 else None

    def entries(self, rows: Ints) -> Entries:
        """Read the values of rows, out of each part those that it has."""
        read: list[tuple[Ints, Entries]] = [
            (places, self._opened(owner).entries(inside))
            for owner, places, inside in self.edges.split(rows, self.edges.owners(rows))
        ]
        if len(read) == 1:
            return read[0][1]
        counts = np.zeros(len(rows), np.int64)
        for places, entries in read:
            counts[places] = entries.counts
        firsts, total = np.cumsum(counts) - counts, int(counts.sum())
        numbers = np.result_type(np.int32, *(entries.columns.dtype for _, entries in read))
        columns = np.empty(total, numbers)
        values = np.empty(total, self.dtype)
        for places, entries in read:
            at = rows_of_runs(firsts[places], firsts[places] + entries.counts)
            columns[at], values[at] = entries.columns, entries.values
        return Entries(counts=counts, columns=columns, values=values)

    def read(self, indices: Ints, out: NDArray[Any]) -> None:
        """Write dense rows, of each part those that it has."""
        read_parts(self.edges, indices, self.edges.owners(indices), out, self._opened)


def _samples(part: RaggedSource) -> Held:
    return Held(str(part.values_dtype), f"samples of rows of {part.row_shape}", packed(part))


def _rows(part: SparseSource) -> Held:
    return Held.rows(part.shape[1:], part.dtype)._replace(packed=packed(part))


FORMS: tuple[tuple[type[Any], type[Any]], ...] = (
    (RaggedSource, RaggedParts),
    (SparseSource, SparseParts),
)
"""Sources of one kind, and what they are end to end."""


def end_to_end(parts: Sequence[Any], paths: Sequence[str] = ()) -> EndToEnd:
    """Lay `parts`, at least one, end to end, of the files `paths`, one each, where these are known.

    Raises `FieldError` for parts whose rows, or genes of AnnData, differ.
    """
    genes = same_genes(parts)
    made: EndToEnd | None = varied_parts(parts, paths)
    for kind, joined in FORMS:
        if made is None and all(isinstance(part, kind) for part in parts):
            inner = [part.parts if isinstance(part, joined) else (part,) for part in parts]
            made = joined(parts if paths else [each for some in inner for each in some], paths)
    if made is None:
        made = ConcatSource(parts, paths)
    coded = tuple(dict.fromkeys(each for part in parts for each in origin(part).coded))
    made.tell(genes=genes, coded=coded, matlab=matlab_of(part.matlab for part in parts))
    return made
