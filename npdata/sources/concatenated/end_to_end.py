"""Sources laid end to end, in the form that the rows of all of them have.

Idea: samples of different lengths stay so, and sparse rows stay sparse; all else is rows of one
shape. Invariant: a source end to end that is a part itself gives its own parts.
"""

from collections.abc import Sequence
from typing import Any

from npdata.sources.concatenated.base import EndToEnd
from npdata.sources.concatenated.concat import ConcatSource
from npdata.sources.concatenated.joined import RaggedParts, SparseParts
from npdata.sources.derived.base import origin
from npdata.sources.hdf5.anndata.genes import require_same_genes
from npdata.sources.ragged import RaggedSource
from npdata.sources.sparse import SparseSource

FORMS: tuple[tuple[type[Any], type[Any]], ...] = (
    (RaggedSource, RaggedParts),
    (SparseSource, SparseParts),
)
"""Sources of one kind, and what they are end to end."""


def end_to_end(parts: Sequence[Any], paths: Sequence[str] = ()) -> EndToEnd:
    """Lay `parts` end to end, of the files `paths`, one each, where they come from files.

    Raises `FieldError` for no part, and for parts whose rows, or genes of AnnData, differ.
    """
    made: EndToEnd | None = None
    for kind, joined in FORMS:
        if parts and all(isinstance(part, kind) for part in parts):
            inner = [part.parts if isinstance(part, joined) else (part,) for part in parts]
            made = joined(parts if paths else [each for some in inner for each in some], paths)
    if made is None:
        made = ConcatSource(parts, paths)
    require_same_genes(parts)
    made.tell(genes=origin(parts[0]).genes)
    return made
