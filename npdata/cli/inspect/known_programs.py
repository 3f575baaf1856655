"""Files of well-known programs, recognised by the names of their arrays: the line to paste.

Idea: robomimic, Keras, AnnData, NWB and episodes as LeRobot takes them use names of their own.
Invariant: a line names arrays that were found, and is given for a file that fits as a whole. It
opens nothing.
"""

from collections.abc import Iterable, Sequence
from pathlib import PurePath

from npdata.sources.many_files.file_list import SEPARATOR

_MOST_LINES = 3


def recognised(arrays: Iterable[str]) -> tuple[str, ...]:
    """Say which files, by the names of their `arrays`, are of a known layout, and how to open each.

    Examples:
        >>> names = ("data/demo_0/actions", "data/demo_0/obs/eef_pos")
        >>> print(recognised([f"d.hdf5::{name}" for name in names])[0])
        robomimic demonstrations: npdata.NumpyDataset.from_hdf5('d.hdf5', actions='data/*/...
    """
    files: dict[str, list[str]] = {}
    for where in arrays:
        path, _, member = where.partition(SEPARATOR)
        files.setdefault(path, []).append(member.strip("/"))
    episodes = [
        path
        for path, names in files.items()
        if "action" in names and any(name.startswith("observations/") for name in names)
    ]
    lines = [_episodes(episodes, files[episodes[0]])] if episodes else []
    for path, names in files.items():
        lines += [line for rule in RULES if (line := rule(path, names))]
    return tuple(lines[:_MOST_LINES])


def _robomimic(path: str, names: Sequence[str]) -> str | None:
    split = [name.split("/", 2) for name in names]
    inner = [parts[2] for parts in split if parts[0] == "data" and len(parts) == 3]
    demos = {parts[1] for parts in split if parts[0] == "data" and len(parts) == 3}
    if len(inner) < len(names) or inner.count("actions") != len(demos):
        return None
    kept = [n for n in dict.fromkeys(inner) if inner.count(n) == len(demos) and _is_field(n)]
    fields = _fields((n.rpartition("/")[2], f"data/*/{n}") for n in kept)
    return f"robomimic demonstrations: npdata.NumpyDataset.from_hdf5({path!r}, {fields})"


def _is_field(name: str) -> bool:
    return name in ("actions", "rewards", "dones") or name.startswith("obs/")


def _keras(path: str, names: Sequence[str]) -> str | None:
    if {"x_train", "y_train"} <= set(names):
        fields = _fields((n[0], f"{path}{SEPARATOR}{n}") for n in ("x_train", "y_train"))
        return f"a data set as Keras has it: npdata.NumpyDataset({fields})"
    layers = [name.startswith(("model_weights/", "layers/", "_layer_checkpoint")) for name in names]
    if names and all(layers):
        return f"weights of a Keras model, which are no samples: keras.models.load_model({path!r})"
    return None


def _anndata(path: str, names: Sequence[str]) -> str | None:
    sparse = {"X/data", "X/indices", "X/indptr"} <= set(names)
    if not (sparse or "X" in names) or not any(name.startswith("obs/") for name in names):
        return None
    labels = [n.removesuffix("/codes") for n in names if n.startswith("obs/") and "/codes" in n]
    chosen = [("x", f"{path}{SEPARATOR}X")]
    chosen += [("label", f"{path}{SEPARATOR}{labels[0]}")] if labels else []
    return f"AnnData: npdata.NumpyDataset({_fields(chosen)})"


def _nwb(path: str, names: Sequence[str]) -> str | None:
    series = [n.removesuffix("/data") for n in names if n.endswith("/data")]
    timed = next((each for each in series if f"{each}/timestamps" in names), None)
    if timed is None or not timed.startswith(("acquisition/", "processing/", "stimulus/")):
        return None
    fields = _fields((n, f"{path}{SEPARATOR}{timed}/{n}") for n in ("data", "timestamps"))
    return f'NWB: npdata.NumpyDataset({fields}, decode={{"data": "nwb"}})'


RULES = (_robomimic, _keras, _anndata, _nwb)


def _episodes(paths: Sequence[str], names: Sequence[str]) -> str:
    where = paths[0]
    if len(paths) > 1:
        where = str(PurePath(where).with_name(f"*{PurePath(where).suffix}"))
    kept = [name for name in names if name == "action" or name.startswith("observations/")]
    fields = _fields((n.rpartition("/")[2], f"{where}{SEPARATOR}{n}") for n in kept)
    return f"one episode a file, as ALOHA and LeRobot have them: npdata.concatenate({fields})"


def _fields(chosen: Iterable[tuple[str, str]]) -> str:
    known: dict[str, str] = {}
    for name, where in chosen:
        if name.isidentifier():
            known.setdefault(name, where)
    return ", ".join(f"{name}={where!r}" for name, where in known.items())
