"""What was measured: a figure for every method in every order, and what is known of the data.

Idea: frozen values between the measuring and all that is made of it: the table, the picture, JSON,
the advice. Invariant: a rate counts the rows after the first one of a pass, and is the median
over the passes; nothing here opens a file or reads a clock.
"""

import statistics
from dataclasses import asdict, dataclass
from typing import Any, Literal, TypeAlias

from npdata.dataset.describe import FieldDescription
from npdata.sampling.order.epoch_order import Shuffle

Kind: TypeAlias = Literal["plain", "h5py", "dataloader", "loader"]
OURS: tuple[Kind, ...] = ("dataloader", "loader")
"""Those that read by npdata."""
OrderName: TypeAlias = Literal["sequential", "block", "full"]

ORDERS: dict[OrderName, Shuffle] = {"sequential": False, "block": "block", "full": "full"}
TITLES: dict[OrderName, str] = {
    "sequential": "sequential",
    "block": "block shuffle",
    "full": "full shuffle",
}


@dataclass(frozen=True, kw_only=True)
class Conditions:
    """What is read, on which machine; known before anything is timed.

    Args:
        row_bytes: of a sample, decoded.
        fields: as in `describe()`; `hdf5` where all of them are HDF5.
        raw: the arguments that describe a raw file in code, None for other files.
        file_bytes: of all files; `memory_bytes` is the free memory.
        shared_bytes: free shared memory, None where there is none.
    """

    paths: tuple[str, ...]
    rows: int
    row_bytes: int
    batch_size: int
    block_rows: int
    fields: tuple[FieldDescription, ...]
    hdf5: bool
    raw: str | None
    file_bytes: int
    memory_bytes: int
    cores: int
    shared_bytes: int | None

    @property
    def batch_bytes(self) -> int:
        """The bytes of a whole batch."""
        return self.row_bytes * self.batch_size

    @property
    def fits_memory(self) -> bool:
        """Whether the page cache can hold the files, with room for the rest."""
        return self.file_bytes <= self.memory_bytes * 0.8


@dataclass(frozen=True, kw_only=True)
class Method:
    """A kind of reader; `helpers` are its worker processes or threads."""

    kind: Kind
    name: str
    helpers: int = 0


@dataclass(frozen=True, kw_only=True)
class Figure:
    """One method in one order: the rate of each pass in rows a second.

    `seconds_to_first_row` is the median over passes: opening files, starting processes. With
    `estimate` there is none: a batch takes too long to time, and the one rate is of a few rows.
    """

    order: OrderName
    method: Method
    passes: tuple[float, ...]
    seconds_to_first_row: float | None = None
    estimate: bool = False

    @property
    def rate(self) -> float:
        """Rows a second, the median."""
        return statistics.median(self.passes)

    @property
    def spread(self) -> float:
        """Half the range of the rates, as a part of the median."""
        return (max(self.passes) - min(self.passes)) / 2 / self.rate if self.rate else 0.0


@dataclass(frozen=True, kw_only=True)
class Report:
    """All figures of one run, of the first `rows_measured` rows.

    The methods took turns in so many `rounds`, each pass of `pass_seconds`. `not_measured` says
    which methods were left out, and why.
    """

    conditions: Conditions
    rows_measured: int
    rounds: int
    pass_seconds: float
    seconds: float
    figures: tuple[Figure, ...]
    not_measured: tuple[str, ...] = ()

    def of(self, order: OrderName) -> tuple[Figure, ...]:
        """Give the figures of an order, the fastest first."""
        found = (figure for figure in self.figures if figure.order == order)
        return tuple(sorted(found, key=lambda figure: -figure.rate))

    def best(self, order: OrderName) -> Figure:
        """Give the fastest method of npdata in an order."""
        return next(figure for figure in self.of(order) if figure.method.kind in OURS)

    def of_fastest(self, figure: Figure) -> float:
        """Give the rate of a figure as a part of the fastest of all methods and orders."""
        fastest = max(each.rate for each in self.figures)
        return figure.rate / fastest if fastest else 0.0

    def as_json(self) -> dict[str, Any]:
        """Give dicts, lists, strings and numbers, with what follows from them."""
        plain = asdict(self)
        for figure, values in zip(self.figures, plain["figures"], strict=True):
            values["rows_per_second"] = figure.rate
            values["bytes_per_second"] = figure.rate * self.conditions.row_bytes
            values["spread"] = figure.spread
            values["of_fastest"] = self.of_fastest(figure)
        return {**plain.pop("conditions"), **plain}
