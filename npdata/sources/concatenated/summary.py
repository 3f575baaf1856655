"""How the parts of a source end to end are read, in a few words.

Idea: parts are counted by the kind of their access, so that the summary of a sum is made of those
of its terms, whatever their number of parts. Invariant: only kinds are kept, never parts.
"""

from collections.abc import Iterable
from typing import NamedTuple

from npdata.sources.base import Access, Source
from npdata.sources.cache.cache import Details

NO_ONE_FIELD = (
    "they make no one field; samples that a transform= brings to one form are joined by "
    "torch.utils.data.ConcatDataset, of a dataset for each, in a DataLoader"
)
"""What is said of rows that cannot lie end to end."""


class _Kind(NamedTuple):
    """So many parts and rows, with the access and the details of the first of them."""

    parts: int
    rows: int
    access: Access
    details: Details


class Summary(NamedTuple):
    """The name of the first part, and the parts by the kind of their access, in order."""

    first: str
    kinds: dict[str, _Kind]

    @classmethod
    def of(cls, source: Source) -> "Summary":
        """Summarise a source that is one part."""
        return cls.one(source.where, len(source), source.access, source.details)

    @classmethod
    def one(
        cls, where: str, rows: int, access: Access, details: Details = (), *, parts: int = 1
    ) -> "Summary":
        """Summarise parts of `rows` rows together, the first of which is `where`."""
        return cls(where, {access.kind: _Kind(parts, rows, access, details)})

    @classmethod
    def joined(cls, summaries: Iterable["Summary"]) -> "Summary":
        """Summarise the parts of all, at least one."""
        first, kinds = "", dict[str, _Kind]()
        for each in summaries:
            first = first or each.first
            for name, kind in each.kinds.items():
                known = kinds.get(name, kind._replace(parts=0, rows=0))
                parts, rows = known.parts + kind.parts, known.rows + kind.rows
                kinds[name] = known._replace(parts=parts, rows=rows)
        return cls(first, kinds)

    def described(self) -> tuple[str, Access, Details]:
        """Give the name, how most rows are read, and the details of those parts."""
        most = max(self.kinds.values(), key=lambda kind: kind.rows)
        parts = sum(kind.parts for kind in self.kinds.values())
        counts = ", ".join(f"{kind.parts} {name}" for name, kind in self.kinds.items())
        reason = f"{parts} sources end to end ({counts}): {most.access.reason}"
        access = Access(kind=most.access.kind, reason=reason)
        return and_more(self.first, parts), access, most.details


def and_more(first: str, count: int) -> str:
    """Name `count` things by the first of them."""
    return f"{first} and {count - 1} more" if count > 1 else first
