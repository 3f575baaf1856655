"""Peers beside each other: the same rows for all, checked, then timed in turns.

Idea: each peer is a candidate over the same epoch. Invariant: no peer is timed before it was shown
to give the same rows: in the same batches where it takes an order, as the same set where it
shuffles by itself. A pass that ends has ended its processes and threads, so none of them runs
beside the next peer's.
"""

import time
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import torch

from benchmarks.harness import Candidate, Timing, rates
from benchmarks.peers.peer import Data, Epoch, Peer
from benchmarks.report import Chart, Column, Measured, Section, Table
from benchmarks.timing import in_turns
from npdata.cli.bench.candidate import RowsDifferError, leaves, require_same


def convert(peers: Sequence[Peer], data: Data) -> dict[str, float]:
    """Let the peers that need it write their own form; give the seconds of each."""
    seconds = {}
    for peer in peers:
        if peer.convert:
            start = time.perf_counter()
            peer.convert(data)
            seconds[peer.name] = time.perf_counter() - start
    return seconds


def candidates(peers: Sequence[Peer], data: Data, epoch: Epoch) -> dict[Peer, Candidate]:
    """Give the peers that can have so many workers, opened."""
    return {
        peer: Candidate(name=peer.name, batches=_pass(peer, peer.open(data), epoch))
        for peer in peers
        if peer.takes(epoch.workers)
    }


def _pass(peer: Peer, opened: Any, epoch: Epoch) -> Any:
    return lambda: peer.batches(opened, epoch)


def compare_peers(
    peers: Sequence[Peer], data: Data, epoch: Epoch, *, rounds: int
) -> dict[str, Timing]:
    """Check that all give the same rows, then time `rounds` passes of each, in turns.

    The first of the peers takes an order. Raises `RowsDifferError` if one gives other rows.
    """
    entered = candidates(peers, data, epoch)
    ordered = [each for peer, each in entered.items() if not peer.own_order]
    require_same(ordered)
    for peer, each in entered.items():
        if peer.own_order:
            require_same_set(ordered[0], each)
    return in_turns(list(entered.values()), rounds=rounds)


def require_same_set(one: Candidate, other: Candidate) -> None:
    """Raise `RowsDifferError` unless both give the same rows, in whatever order."""
    expected, got = row_hashes(one.batches()), row_hashes(other.batches())
    if len(expected) != len(got):
        raise RowsDifferError(
            f"{other.name} gives {len(got)} rows, {one.name} gives {len(expected)}"
        )
    if wrong := int((expected != got).sum()):
        raise RowsDifferError(
            f"{other.name} gives other rows than {one.name}: {wrong} of {len(got)}, sorted, differ"
        )


def row_hashes(batches: Iterable[Any]) -> np.ndarray:
    """Give a 64-bit number for each row, of every byte of its fields, sorted."""
    found = []
    for batch in batches:
        total = np.zeros(1, np.uint64)
        for number, leaf in enumerate(leaves(batch)):
            flat = leaf.contiguous().reshape(len(leaf), -1).view(torch.uint8).numpy()
            weights = np.random.default_rng(number).integers(
                0, 1 << 63, flat.shape[1], np.uint64, endpoint=True
            )
            total = total + flat.astype(np.uint64) @ (weights | np.uint64(1))
        found.append(total)
    return np.sort(np.concatenate(found))


def growth(
    peers: Sequence[Peer],
    points: Iterable[tuple[float, Data, Epoch]],
    *,
    name: str,
    title: str,
    note: str,
    x: str,
    rounds: int,
) -> Section:
    """Give GB/s of whole passes, a row for each point and a line for each peer."""
    rows = []
    for place, data, epoch in points:
        convert(peers, data)
        timings = compare_peers(peers, data, epoch, rounds=rounds)
        cells: list[Measured | None] = [
            rates(timings[peer.name]).scaled(data.row_bytes / 1e9) if peer.name in timings else None
            for peer in peers
        ]
        rows.append((place, *cells))
    names = tuple(peer.name for peer in peers)
    columns = (Column(name=x, format=",.0f"), *(Column(name=each) for each in names))
    return Section(
        name=name,
        title=title,
        note=f"GB/s of whole passes; {note}",
        table=Table(columns=columns, rows=tuple(rows)),
        charts=(Chart(kind="lines", file=f"bench-{name}.svg", x=x, y="GB/s", series=names),),
    )
