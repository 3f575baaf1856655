"""Windows of a dataset: from its fields and what the user asked for to fields of windows.

Idea: one plan numbers the windows of all fields. Invariant: what is asked for is checked here,
before a window is read.
"""

import operator
from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

import numpy as np

from npdata.arrays.dtypes import CLASS_NUMBERS
from npdata.arrays.flag import flag
from npdata.arrays.recordings import Recordings
from npdata.arrays.windows import EDGES, Edge, Windows, ends_of, step_of
from npdata.dataset.field import Field
from npdata.dataset.recordings import recordings_by
from npdata.dataset.rows_field import RowsField
from npdata.errors import FieldError
from npdata.sources.derived.anchor_rows import anchor_rows
from npdata.sources.derived.windows import PaddingSource, WindowSource
from npdata.sources.many_files.stack import RaggedStackSource

Offsets: TypeAlias = Sequence[int]

FARTHEST = 1 << 60
"""Offsets up to this far, added to any row number, are int64."""

_PAST_AND_FUTURE = (
    "what comes in and what follows are two fields over the same rows: NumpyDataset(x=a, y=a)"
    ".windows({'x': range(24), 'y': range(24, 32)})"
)

WORDS = {
    "size window window_size window_length offsets seq_len sequence_length context": "length",
    "block_size context_length": "length",
    "step shift hop hop_length hop_size window_stride sequence_stride": "stride",
    "group groups episode episodes episode_index recordings boundaries": "borders",
    "episode_ends ends by": "borders",
    "lengths episode_lengths": "write borders=np.cumsum(lengths)",
    "done dones terminal terminals timeouts": "write borders=np.flatnonzero(dones) + 1",
    "n_step n_steps nstep": (
        "fields have offsets by their names: windows({'reward': range(3), 'observation': [0, 3]})"
    ),
    "pad padding pad_mode padding_mode padding_value pad_value fill fill_value mode": (
        "write edge='zero' or edge='repeat', of which mask=True marks the rows"
    ),
    "return_mask return_padding is_pad": "mask",
    "drop_last": "write edge='drop', which is the default",
    "axis axes dim dims time_axis": (
        "windows are of rows, and NumpyDataset(x, axis=(0, 1)) makes rows of the steps of each "
        "trajectory"
    ),
    "label labels": (
        "a field that is not named keeps the row of offset 0: windows({'x': range(-23, 1)}) has "
        "the label of its last row"
    ),
    "lookback input_len history horizon pred_len label_len target targets future": _PAST_AND_FUTURE,
    "delta_timestamps delta_indices frame_stack obs observation action actions "
    "n_obs_steps obs_horizon action_horizon n_action_steps": (
        "fields have offsets by their names: windows({'observation': (-1, 0), 'action': range(16)})"
    ),
    "center": "write offsets: windows(range(-8, 9))",
    "start stop indices": "rows of windows are chosen later: Loader(windows, 64, indices=rows)",
    "transform": "the dataset has it: NumpyDataset(..., transform=f).windows(16)",
    "overlap": "write stride=, the rows from one window to the next",
    "dilation sampling_rate": "write offsets: windows(range(0, 48, 2))",
    "batch_size shuffle collate_fn num_workers": "that is for npdata.Loader(ds.windows(16), 32)",
}
"""Words of other libraries, and ours for them."""


def windowed(
    fields: Sequence[Field],
    asked: Any,
    *,
    stride: int,
    borders: Any,
    edge: Edge,
    mask: bool,
    named: bool,
) -> list[Field]:
    """Make fields of windows, which share a plan; see `NumpyDataset.windows`.

    `named` fields get masks with a name.
    """
    if not isinstance(edge, str) or edge not in EDGES:
        raise FieldError(
            f"edge={edge!r:.60}: expected one of 'drop' (whole windows only), 'repeat' (the nearest"
            " row stands in for one outside of the recording) and 'zero' (zeros do)"
        )
    if flag("mask", mask, FieldError) and edge == "drop":
        raise FieldError(
            "mask=True with edge='drop', which gives whole windows and pads none; leave mask out, "
            "or take edge='repeat' or 'zero'"
        )
    step = min(_whole("stride", stride), FARTHEST)
    offsets = _offsets_of(asked, fields)
    _require_rows(fields, offsets)
    recordings = recordings_by(fields, borders)
    anchor = [range(1)] if len(offsets) < len(fields) else []
    different = dict.fromkeys([*anchor, *offsets.values()])
    plan = Windows.of(recordings, *different, stride=step, edge=edge)
    if not len(plan) and edge == "drop":
        raise FieldError(_no_window_fits(plan, offsets, recordings, fields))
    made, masks = [], _masks(fields, offsets, plan, named) if mask else []
    for field in fields:
        if field.label in offsets:
            made.append(field.over(WindowSource(field.source, plan, offsets[field.label])))
        else:
            made.append(field.over(anchor_rows(field.source, plan)))
        made[-1].windows = plan.over(field.windows)
    return [*made, *masks]


def _no_window_fits(
    plan: Windows,
    offsets: Mapping[str | int, Offsets],
    recordings: Recordings,
    fields: Sequence[Field],
) -> str:
    """Say which fields ask for more rows than the longest recording has, and where that lies."""
    lengths = recordings.lengths
    k = int(lengths.argmax())
    first, stop = recordings.edges[k : k + 2].tolist()
    ends = {label: ends_of(each) for label, each in offsets.items()}
    asked = ", ".join(f"{low} to {high} of field {f!r}" for f, (low, high) in ends.items())
    needed = plan.before + plan.after + 1
    rows = [f.source.shape[1:] for f in fields if f.label in offsets and f.windows is None]
    held = next((shape for shape in rows if len(shape) > 1 and shape[0] >= needed), None)
    trajectories = (
        f"; where rows of shape {held} are trajectories, NumpyDataset(x, axis=(0, 1)) makes rows "
        "of their steps"
    )
    return (
        f"no window fits: one needs {needed} rows (offsets {asked:.200}), "
        f"and the longest of {len(recordings)} recordings has {stop - first}, from row {first} on; "
        f"take shorter windows, or edge='repeat' or 'zero'{trajectories if held else ''}"
    )


def require_apart(fields: Sequence[Field]) -> None:
    """Raise `FieldError` where windows share rows, which a split at random would leak."""
    plans = [field.windows for field in fields if field.windows is not None]
    windows = max(plans, key=lambda plan: plan.sharing, default=None)
    if windows is None or not windows.overlap:
        return
    span, step = windows.footprint
    if span <= step:
        raise FieldError(
            "windows of windows share rows where a recording of theirs begins inside a recording "
            "of the windows they are made of, and a split at random would put the same rows into "
            "several parts: split(..., by='recording') keeps those that share rows together"
        )
    apart = -(-span * windows.stride // step)
    raise FieldError(
        f"windows of {span} rows, every {step} rows, share rows, and a split at random would put "
        "the same rows into several parts: split(..., by='recording') keeps recordings whole; "
        f"windows(..., stride={apart}) share none; and of one recording, "
        "cut = int(0.8 * len(windows)) gives train, test = range(cut), "
        f"range(cut + {windows.sharing}, len(windows))"
    )


def _require_rows(fields: Sequence[Field], offsets: Mapping[str | int, Offsets]) -> None:
    """Raise `FieldError` for a windowed field of text, or of no rows of one shape."""
    named = [field for field in fields if field.label in offsets]
    fit = [f.label for f in named if isinstance(f, RowsField) and f.rule.kind != "text"]
    kept = {label: each for label, each in offsets.items() if label in fit}
    cure = "make windows of its values: NumpyDataset(values).windows(length, borders=offsets)"
    if kept:
        cure = f"fields that are not named keep their anchor row: windows({kept!r:.80})"
    for field in named:
        if not isinstance(field, RowsField):
            if isinstance(field.source, RaggedStackSource):
                cure = "npdata.concatenate(files).windows(length) gives those of each file"
            raise FieldError(
                f"field {field.label!r} ({field.where}) has no rows of one shape, and windows are "
                f"made of rows; {cure}"
            )
        if field.label not in fit:
            cure = cure if kept else f"give {CLASS_NUMBERS}"
            raise FieldError(f"field {field.label!r} is text, and windows are tensors; {cure}")


def _offsets_of(asked: Any, fields: Sequence[Field]) -> dict[str | int, Offsets]:
    labels = [field.label for field in fields]
    if not isinstance(asked, Mapping):
        return dict.fromkeys(labels, _offsets(asked, "a window"))
    unknown = [key for key in asked if key not in labels]
    if unknown:
        raise FieldError(
            f"windows of {unknown[0]!r}, which is no field; fields are {labels}; {_PAST_AND_FUTURE}"
        )
    if not asked:
        raise FieldError(f"windows of no field; name one of {labels} and its offsets")
    return {label: _offsets(each, f"field {label!r}") for label, each in asked.items()}


def _offsets(asked: Any, what: str) -> Offsets:
    """Give the offsets of a length or of a list of them: a range where they are even."""
    if isinstance(asked, slice):
        raise FieldError(f"{what}: write offsets as a range, range(16), in place of {asked}")
    if not isinstance(asked, str | bytes | range | list | tuple) and np.ndim(asked) == 0:
        asked = range(_whole(f"the length of {what}", asked))
    if isinstance(asked, range) and asked:
        _require_in_reach(what, asked)
        return asked
    try:
        array = np.asarray(asked)
    except ValueError:  # of several lengths
        array = np.zeros((0, 0))
    if array.ndim != 1 or array.size == 0 or array.dtype.kind not in "iu":
        by_field = (
            "" if array.ndim == 1 else "; fields have offsets by their names, {'x': range(16)}"
        )
        raise FieldError(
            f"{what}: expected a length, or offsets from the anchor row as (-1, 0) or range(16), "
            f"and got {asked!r:.80}{by_field}"
        )
    _require_in_reach(what, array.tolist())
    first, step = int(array[0]), step_of(array.astype(np.int64))
    return tuple(array.tolist()) if step is None else range(first, first + len(array) * step, step)


def _require_in_reach(what: str, offsets: Offsets) -> None:
    for offset in ends_of(offsets):
        if abs(offset) > FARTHEST:
            raise FieldError(f"{what}: an offset of {offset} rows leads out of any data")


def _whole(what: str, value: Any) -> int:
    try:
        number = operator.index(value)
    except TypeError:
        number = 0
    if number < 1 or isinstance(value, bool | np.bool_):
        alone = "; the anchor row itself is [0]" if value == 0 and what != "stride" else ""
        raise FieldError(f"{what} is {value!r}: expected a whole number of rows, at least 1{alone}")
    return number


def _masks(
    fields: Sequence[Field], offsets: Mapping[str | int, Offsets], plan: Windows, named: bool
) -> list[Field]:
    labels = [field.label for field in fields]
    masks: list[Field] = []
    for field in (field for field in fields if field.label in offsets):
        label = field.label
        name = f"{label}_is_pad" if named else len(fields) + len(masks)
        if name in labels:
            raise FieldError(
                f"mask=True adds a field {name!r}, and there is one already; give that another "
                "name, or of windows of windows mark the padding of one call alone"
            )
        masks.append(RowsField(name, PaddingSource(plan, offsets[label])))
        masks[-1].windows = plan.over(field.windows)
    return masks
