"""The state of a sampler: integers that say where it goes on, for a sampler of the same order.

Idea: a position counts the samples that all ranks together have consumed, so it means the same for
any batch size, number of ranks and workers. Invariant: a state of another order is refused, naming
both values. Pure functions.
"""

from collections.abc import Mapping
from typing import Any

from npdata.errors import SamplerError, StateError
from npdata.sampling.epochs import Epochs, Start
from npdata.sampling.order.checks import whole_number
from npdata.sampling.order.recipe import shuffle_name

_SPLIT = (
    " (of the same indices= or Subset; random_split gives other rows in each run, unless it has "
    "generator=torch.Generator().manual_seed(0))"
)


def state_at(start: Start, epochs: Epochs, world_size: int) -> dict[str, int]:
    """Give the state from which an iteration goes on at `start`."""
    return {
        **epochs.identity,
        "epoch": start.epoch,
        "position": start.position,
        "batch_size": epochs.batch_size or 0,
        "world_size": world_size,
    }


def start_in(state: Any, epochs: Epochs) -> Start:
    """Give where a state says that the next iteration begins: at the next epoch if none is left.

    Raises `StateError` (a ValueError) for what is no state, or one of another order.
    """
    expected, names = epochs.identity, state_at(Start(0, 0), epochs, 1).keys()
    if not isinstance(state, Mapping) or set(state) != names:
        parts = state if isinstance(state, Mapping) else {}
        got = sorted(map(str, parts)) if isinstance(state, Mapping) else type(state).__name__
        within = [
            key for key, part in parts.items() if isinstance(part, Mapping) and "epoch" in part
        ]
        cure = f"; load its part {within[0]!r}" if within else ""
        raise StateError(f"the state has {got}: expected {sorted(names)}, as of state_dict(){cure}")
    try:  # torch and NumPy save numbers as their own
        found = {name: whole_number(name, value, least=0) for name, value in state.items()}
        whole_number("epoch", found["epoch"], least=0, below=1 << 64)
    except SamplerError as error:
        raise StateError(f"the state has {error}") from None
    for name, value in expected.items():
        if found[name] != value:
            show = shuffle_name if name == "shuffle" else repr
            split = _SPLIT if name == "indices_checksum" else ""
            raise StateError(
                f"the state is of {name}={show(found[name])}, this sampler of "
                f"{name}={show(value)}: a position in another order means other samples; make "
                f"the sampler as it was{split}, or begin an epoch without the state"
            )
    most = expected["samples"]
    if found["position"] > most and epochs.recipe.totals is None:  # draws have no end
        raise StateError(
            f"the state has position={found['position']} of {most} samples: "
            "expected no more than there are"
        )
    return epochs.or_next(Start(found["epoch"], found["position"]), epochs.ranks())


def state_within(state: Any) -> Any:
    """Give the sampler's part of a state of torchdata's StatefulDataLoader; others as they are.

    Raises `StateError` (a ValueError) for one that was not taken at its last step.

    Examples:
        >>> state_within({"_index_sampler_state": {"epoch": 1}})
        {'epoch': 1}
    """
    if not isinstance(state, Mapping):
        return state
    if state.get("_steps_since_snapshot"):
        raise StateError(
            f"the state of a StatefulDataLoader is {state['_steps_since_snapshot']} batches "
            "behind: make it with snapshot_every_n_steps=1"
        )
    snapshot = state.get("_snapshot")
    main = snapshot.get("_main_snapshot", state) if isinstance(snapshot, Mapping) else state
    return main.get("_index_sampler_state", state)
