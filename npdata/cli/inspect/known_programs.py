"""Files of well-known programs, recognised by the names of their arrays: the line to paste.

Idea: robomimic, Keras, AnnData, NWB, pandas and episodes as LeRobot takes them use names of their
own. Invariant: a line names arrays that were found, and is given for a file that fits as a whole.
It opens nothing.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from keyword import kwlist
from pathlib import PurePath
from typing import TypeAlias

from npdata.dataset.arguments import OPTIONS
from npdata.sources.many_files.file_list import SEPARATOR

_MOST_LINES = 3
_OF_ROBOMIMIC = ("actions", "rewards", "dones")
_OF_LABELS = ("type", "label", "class", "cluster", "leiden", "louvain")
"""Words in the names of columns that hold what is learned, rather than where a cell is from."""
_TAKEN = {*kwlist, *OPTIONS, "access", "allow_external", "missing", "locking", "groups"}
Shapes: TypeAlias = Mapping[str, tuple[int, ...]]
"""The arrays of a file by their names; an array that cannot be read has the shape ()."""


def recognised(arrays: Shapes) -> tuple[str, ...]:
    """Say which files a known program wrote, by names and shapes of `arrays`, and how to open them.

    Examples:
        >>> shapes = {"data/demo_0/actions": (9, 7), "data/demo_0/obs/eef_pos": (9, 3)}
        >>> print(recognised({f"d.hdf5::{name}": shape for name, shape in shapes.items()})[0])
        robomimic demonstrations: npdata.NumpyDataset.from_hdf5('d.hdf5', actions='data/*/...
    """
    files: dict[str, dict[str, tuple[int, ...]]] = {}
    for where, shape in arrays.items():
        path, _, member = where.partition(SEPARATOR)
        files.setdefault(path, {})[member.strip("/")] = shape
    episodes = [
        path
        for path, names in files.items()
        if "action" in names and any(name.startswith("observations/") for name in names)
    ]
    lines = [_episodes(episodes, tuple(files[episodes[0]]))] if episodes else []
    for path, shapes in files.items():
        lines += [line for rule in RULES if (line := rule(path, shapes))]
    return tuple(lines[:_MOST_LINES])


def _robomimic(path: str, shapes: Shapes) -> str | None:
    # mask/train holds the names of demonstrations.
    split = [name.split("/", 2) for name in shapes if not name.startswith("mask/")]
    if any(len(parts) < 3 or parts[0] != "data" for parts in split):
        return None
    demos, inner = {parts[1] for parts in split}, Counter(parts[2] for parts in split)
    if not demos or inner["actions"] != len(demos):
        return None
    everywhere = [name for name, count in inner.items() if count == len(demos)]
    kept = [n for n in everywhere if n in _OF_ROBOMIMIC or n.startswith("obs/")]
    fields = _fields((n.rpartition("/")[2], f"data/*/{n}") for n in kept)
    return f"robomimic demonstrations: npdata.NumpyDataset.from_hdf5({path!r}, {fields})"


def _keras(path: str, shapes: Shapes) -> str | None:
    if {"x_train", "y_train"} <= set(shapes):
        fields = _fields((n[0], f"{path}{SEPARATOR}{n}") for n in ("x_train", "y_train"))
        return f"a data set as Keras has it: npdata.NumpyDataset({fields})"
    tops = {name.partition("/")[0] for name in shapes}
    if "model_weights" in tops and tops <= {"model_weights", "optimizer_weights"}:
        return f"a Keras model, whose weights are no samples: keras.models.load_model({path!r})"
    inner = {"layers", "_layer_checkpoint_dependencies", "optimizer", "vars"}
    if tops - {"optimizer", "vars"} and (
        tops <= inner or all(name.endswith(":0") for name in shapes)
    ):
        return f"weights of a Keras model, which are no samples: model.load_weights({path!r})"
    return None


def _anndata(path: str, shapes: Shapes) -> str | None:
    sparse = {"X/data", "X/indices", "X/indptr"} <= set(shapes)
    obs = [name for name in shapes if name.startswith("obs/")]
    if not (sparse or "X" in shapes) or not obs:
        return None
    rows = {_rows(shapes[name]) for name in obs if not name.endswith("/categories")}
    if sparse and _rows(shapes["X/indptr"]) - 1 not in rows:
        return (
            "AnnData, whose X is stored by columns (CSC), so that no row lies together: write it "
            "once after adata.X = adata.X.tocsr()"
        )
    labels = [name.removesuffix("/codes") for name in obs if name.endswith("/codes")]
    labels.sort(key=lambda name: not any(word in name.lower() for word in _OF_LABELS))
    chosen = [("x", f"{path}{SEPARATOR}X")]
    chosen += [("label", f"{path}{SEPARATOR}{labels[0]}")] if labels else []
    others = f"  # other labels: {', '.join(labels[1:])}" if labels[1:] else ""
    return f"AnnData: npdata.NumpyDataset({_fields(chosen)}){others}"


def _pandas(path: str, shapes: Shapes) -> str | None:
    """Name the blocks of a frame in the fixed format: one for the columns of each dtype."""
    frames = [name.removesuffix("/block0_values") for name in shapes if "/block0_values" in name]
    if not frames or f"{frames[0]}/axis1" not in shapes:
        return None
    blocks = [name for name in shapes if name.startswith(f"{frames[0]}/block")]
    named = [name for name in blocks if name.endswith("_values") and len(shapes[name]) == 2]
    fields = _fields((n.rpartition("/")[2], f"{path}{SEPARATOR}{n}") for n in named)
    return f"a frame of pandas, columns of one dtype together: npdata.NumpyDataset({fields})"


def _nwb(path: str, shapes: Shapes) -> str | None:
    series = [n.removesuffix("/data") for n in shapes if n.endswith("/data")]
    timed = next((each for each in series if f"{each}/timestamps" in shapes), None)
    if timed is None or not timed.startswith(("acquisition/", "processing/", "stimulus/")):
        return None
    fields = _fields((n, f"{path}{SEPARATOR}{timed}/{n}") for n in ("data", "timestamps"))
    return f'NWB: npdata.NumpyDataset({fields}, decode={{"data": "nwb"}})'


def _matlab(path: str, shapes: Shapes) -> str | None:
    """Name the variables that most have their rows in common, which MATLAB stores last."""
    sizes = Counter(shape[-1] for name, shape in shapes.items() if _is_variable(name, shape))
    if not path.endswith(".mat") or not sizes:
        return None
    rows = max(sizes, key=lambda size: (sizes[size], size))
    named = [n for n, shape in shapes.items() if _is_variable(n, shape) and shape[-1] == rows]
    call = f"from_hdf5({path!r}, {_fields((name, name) for name in named)}, axis=-1)"
    return f"MATLAB, rows as it counts them: npdata.NumpyDataset.{call}"


def _is_variable(name: str, shape: tuple[int, ...]) -> bool:
    return len(shape) > 1 and name.isidentifier() and shape[-1] > 1


def _scipy(path: str, shapes: Shapes) -> str | None:
    if not path.endswith(".npz") or not {"data", "shape", "format"} <= set(shapes):
        return None
    return (
        f"a sparse matrix of scipy: m = scipy.sparse.load_npz({path!r}).tocsr(); "
        "npdata.NumpyDataset(npdata.csr(m.data, m.indices, m.indptr, m.shape))"
    )


RULES = (_robomimic, _keras, _anndata, _nwb, _pandas, _matlab, _scipy)


def _episodes(paths: Sequence[str], names: Sequence[str]) -> str:
    where = paths[0]
    if len(paths) > 1:
        where = str(PurePath(where).with_name(f"*{PurePath(where).suffix}"))
    kept = [name for name in names if name == "action" or name.startswith("observations/")]
    fields = _fields((n.rpartition("/")[2], f"{where}{SEPARATOR}{n}") for n in kept)
    return f"one episode a file, as ALOHA and LeRobot have them: npdata.concatenate({fields})"


def _rows(shape: tuple[int, ...]) -> int:
    return shape[0] if shape else -1


def _fields(chosen: Iterable[tuple[str, str]]) -> str:
    known: dict[str, str] = {}
    for name, where in chosen:
        if name.isidentifier():
            # No field can be given by the name of an option or a word of Python.
            known.setdefault(f"{name}_" if name in _TAKEN else name, where)
    return ", ".join(f"{name}={where!r}" for name, where in known.items())
