"""Random HDF5 datasets, each made from one number: layouts, pipelines, histories of all kinds."""

import ctypes
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from npdata import open_source
from npdata.errors import FormatError

DTYPES = [
    np.dtype(name)
    for name in ("f4", "f8", ">f4", "i1", "u2", ">i2", "i8", ">u8", "f2", "c8", "S5", "bool")
] + [
    np.dtype([("a", "i2"), ("b", ">f8")]),
    np.dtype([("a", "i1"), ("b", "f8")], align=True),
    np.dtype(("f4", (3,))),
    h5py.enum_dtype({"A": 0, "B": 1}, "i2"),
]
LIBVERS = ["earliest", "latest", ("earliest", "v108"), ("v110", "latest"), ("v112", "v114")]
STEPS = ["shuffle", "deflate", "fletcher32", "lzf"]


@dataclass
class Tally:
    """What a run of many datasets has seen."""

    access: Counter[str]
    reasons: Counter[str]
    unreadable: int = 0
    unmade: int = 0


def check_many(seeds: range, folder: Path) -> Tally:
    """Check every dataset; AssertionError names the first seed that differs, to repeat it."""
    tally = Tally(access=Counter(), reasons=Counter())
    for seed in seeds:
        path = folder / f"{seed}.h5"
        try:
            written = make(path, np.random.default_rng(seed))
        except (RuntimeError, OSError):
            # HDF5 itself fails at some resizes of files that it wrote, and at some writes.
            tally.unmade += 1
            continue
        try:
            check(path, written, np.random.default_rng(seed + (1 << 32)), tally)
        except Exception as error:
            raise AssertionError(
                f"dataset {seed} is not read as h5py reads it ({type(error).__name__}: {error}); "
                f"repeat it with NPDATA_FUZZ_SEED={seed} pytest tests/sources/hdf5/test_fuzz.py"
            ) from error
        path.unlink()
    return tally


def check(path: Path, written: np.ndarray, rng: np.random.Generator, tally: Tally) -> None:
    """Compare all rows, and rows in random order with duplicates, with those of h5py."""
    with h5py.File(path) as file:
        try:
            expected = file["x"][...]
        except OSError:
            expected = None
    try:
        source = open_source(f"{path}::x")
    except FormatError:
        assert expected is None
        tally.unreadable += 1
        return
    tally.access[source.access.kind] += 1
    tally.reasons[source.access.reason] += 1
    for rows in (np.arange(len(source)), rng.integers(0, max(1, len(source)), 20)):
        rows = rows[rows < len(source)]
        out = np.empty((len(rows), *source.shape[1:]), source.dtype)
        out.reshape(-1).view(np.uint8)[...] = 0xA5
        try:
            source.read(rows, out)
        except FormatError:
            # LZF on chunks of a few bytes: HDF5 forgets the mask, and then reads other rows than
            # were written. A stream that is too short is an error here.
            lost = expected is not None and not same(expected, written)
            assert expected is None or lost, "npdata cannot read what h5py reads"
            tally.unreadable += 1
            return
        assert expected is not None, "npdata reads what h5py cannot read"
        assert same(out, expected[rows]), f"rows {rows.tolist()} differ ({source.access})"
    source.close()


def same(one: np.ndarray, other: np.ndarray) -> bool:
    """Compare shapes and the bits of all fields, but not what lies between them."""
    if one.shape != other.shape:
        return False
    if one.dtype.names is not None:
        return all(same(one[name], other[name]) for name in one.dtype.names)
    return one.tobytes() == other.astype(one.dtype).tobytes()


def make(path: Path, rng: np.random.Generator) -> np.ndarray:
    """Write one random dataset 'x' in a random history of writes and resizes; gives its rows."""
    rank = int(rng.integers(1, 4))
    shape = tuple(int(n) for n in rng.integers(1, 12, rank))
    if rng.random() < 0.03:
        shape = (0, *shape[1:])
    dtype = DTYPES[rng.integers(len(DTYPES))]
    libver = LIBVERS[rng.integers(len(LIBVERS))]
    user_block = int(rng.choice([0, 0, 0, 512, 2048]))
    chunked = rng.random() < 0.85
    with h5py.File(path, "w", libver=libver, userblock_size=user_block) as file:
        properties = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
        maxshape = shape
        if chunked:
            maxshape = tuple(_most(n, rng) for n in shape)
            properties.set_chunk(
                tuple(_chunk(n, m, rng) for n, m in zip(shape, maxshape, strict=True))
            )
            for step in rng.choice(STEPS, int(rng.choice([0, 1, 1, 2, 3, 4]))):
                _add(properties, str(step), dtype, rng)
            if rng.random() < 0.15 and libver != ("earliest", "v108"):
                dont_filter_partial_chunks(properties)
        _fill(properties, dtype, rng)
        _allocate(properties, chunked, rng)
        space = h5py.h5s.create_simple(
            shape, tuple(h5py.h5s.UNLIMITED if n is None else n for n in maxshape)
        )
        kind = h5py.h5t.py_create(dtype, logical=True)
        dataset = h5py.Dataset(h5py.h5d.create(file.id, b"x", kind, space, properties))
        _write(dataset, rng)
        if chunked and rng.random() < 0.4:
            for axis, most in enumerate(maxshape):
                if rng.random() < 0.6:
                    dataset.resize(int(rng.integers(1, 15 if most is None else most + 1)), axis)
            _write(dataset, rng)
        return dataset[...]


def _most(length: int, rng: np.random.Generator) -> int | None:
    kind = rng.integers(4)
    return None if kind == 0 else length + int(rng.integers(1, 6)) if kind == 1 else max(1, length)


def _chunk(length: int, most: int | None, rng: np.random.Generator) -> int:
    return int(rng.integers(1, (length + 4 if most is None else most) + 1))


def _add(properties: Any, step: str, dtype: np.dtype, rng: np.random.Generator) -> None:
    if step == "shuffle":
        properties.set_shuffle()
    elif step == "deflate":
        properties.set_deflate(int(rng.integers(0, 10)))
    elif step == "fletcher32":
        properties.set_fletcher32()
    else:
        properties.set_filter(h5py.h5z.FILTER_LZF, h5py.h5z.FLAG_OPTIONAL)


def _fill(properties: Any, dtype: np.dtype, rng: np.random.Generator) -> None:
    properties.set_fill_time(
        int(rng.choice([h5py.h5d.FILL_TIME_ALLOC, h5py.h5d.FILL_TIME_NEVER, 2]))
    )
    if rng.random() < 0.5 and dtype.subdtype is None:
        properties.set_fill_value(_values(dtype, (), rng))


def _allocate(properties: Any, chunked: bool, rng: np.random.Generator) -> None:
    times = [h5py.h5d.ALLOC_TIME_EARLY, h5py.h5d.ALLOC_TIME_LATE, h5py.h5d.ALLOC_TIME_DEFAULT]
    if chunked:
        times.append(h5py.h5d.ALLOC_TIME_INCR)
    else:
        properties.set_layout(h5py.h5d.COMPACT if rng.random() < 0.1 else h5py.h5d.CONTIGUOUS)
        if properties.get_layout() == h5py.h5d.COMPACT:
            return
    properties.set_alloc_time(int(rng.choice(times)))


def _values(dtype: np.dtype, shape: tuple[int, ...], rng: np.random.Generator) -> np.ndarray:
    base = dtype.base if dtype.subdtype is not None else dtype
    inner = dtype.shape
    size = int(np.prod(shape + inner, dtype=int))
    if base.kind == "b":
        raw = rng.integers(0, 2, size * base.itemsize, dtype=np.uint8)
    elif rng.random() < 0.5:
        raw = rng.integers(0, 3, size * base.itemsize, dtype=np.uint8)
    else:
        raw = rng.integers(0, 256, size * base.itemsize, dtype=np.uint8)
    return np.frombuffer(raw.tobytes(), base).reshape(shape + inner)


def _write(dataset: h5py.Dataset, rng: np.random.Generator) -> None:
    for _ in range(rng.integers(0, 4)):
        starts = [int(rng.integers(0, n)) if n else 0 for n in dataset.shape]
        if rng.random() < 0.4:
            starts = [0] * len(starts)
        stops = [
            int(rng.integers(s, n + 1)) if rng.random() < 0.5 else n
            for s, n in zip(starts, dataset.shape, strict=True)
        ]
        cut = tuple(slice(a, b) for a, b in zip(starts, stops, strict=True))
        part = tuple(b - a for a, b in zip(starts, stops, strict=True))
        if 0 not in part:
            values = _values(dataset.dtype, part, rng)
            memory = h5py.h5s.create_simple(part)
            space = dataset.id.get_space()
            space.select_hyperslab(tuple(s.start for s in cut), part)
            kind = h5py.h5t.py_create(dataset.dtype, logical=True)
            dataset.id.write(memory, space, np.ascontiguousarray(values), kind)


def dont_filter_partial_chunks(properties: Any) -> bool:
    """Set an option that h5py has no function for; returns whether that was possible."""
    library = _hdf5()
    if library is None:
        return False
    library.H5Pset_chunk_opts.argtypes = [ctypes.c_int64, ctypes.c_uint]
    return library.H5Pset_chunk_opts(properties.id, 2) >= 0


def no_fill_value(properties: Any) -> bool:
    """Leave the fill value undefined, as C programs may; returns whether that was possible."""
    library = _hdf5()
    if library is None:
        return False
    library.H5Pset_fill_value.argtypes = [ctypes.c_int64, ctypes.c_int64, ctypes.c_void_p]
    return library.H5Pset_fill_value(properties.id, h5py.h5t.NATIVE_INT32.id, None) >= 0


def _hdf5() -> Any:
    maps = Path("/proc/self/maps")
    if not maps.exists():
        return None
    names = {line.split()[-1] for line in maps.read_text().splitlines() if "/libhdf5" in line}
    found = sorted(name for name in names if "_hl" not in name)
    # PyTables brings one of its own, which knows nothing of the objects of h5py.
    own = [name for name in found if "h5py" in name] or found
    return ctypes.CDLL(own[0]) if own else None
