"""HDF5 files as they are: contiguous, chunked and compressed, against h5py, scDataset, bare loops.

200,000 rows of 784 float32 in chunks of 256 rows, batches of 256, page cache warm, h5py's chunk
cache at its default. Every round times the candidates one after the other; all of them deliver
the same rows, which is checked first. An epoch that takes minutes is cut to its first batches, for
all candidates of the comparison alike.
"""

import os
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import deflate
import h5py
import numpy as np
import torch
from isal import igzip_lib
from scdataset import BlockShuffling, scDataset
from torch import Tensor

import npdata
from benchmarks.harness import Bench, Candidate, Timing, compare, of_seconds, ratio, table
from benchmarks.page_cache import warm
from benchmarks.report import Ratio, Section
from npdata.cli.bench.methods import sorted_read

ROWS, WIDTH, BATCH, CHUNK, WINDOW = 200_000, 784, 256, 256, 32
SLOW_BATCHES = 120
"""So many batches are timed where h5py takes minutes for an epoch."""
THREADS = 2
BARE_LOOP = "bare loop that decodes and gathers"


def write(folder: Path) -> Path:
    """Write the rows as .npy, contiguous, chunked, and gzip 4 + shuffle."""
    x = np.random.default_rng(0).integers(0, 256, (ROWS, WIDTH)).astype(np.float32) / 256
    np.save(folder / "x.npy", x)
    with h5py.File(folder / "x.h5", "w") as file:
        file["contiguous"] = x
        file.create_dataset("chunked", data=x, chunks=(CHUNK, WIDTH))
        file.create_dataset("gzip", data=x, chunks=(CHUNK, WIDTH), compression=4, shuffle=True)
    for name in ("x.npy", "x.h5"):
        warm(folder / name)
    return folder / "x.h5"


def batches_of(order: np.ndarray, count: int | None = None) -> list[np.ndarray]:
    return [order[k : k + BATCH] for k in range(0, len(order), BATCH)][:count]


def ours(dataset: npdata.NumpyDataset, batches: list[np.ndarray]) -> Iterator[Sequence[Tensor]]:
    for rows in batches:
        yield (dataset.__getitems__(rows).stacked,)


def fancy(path: Path, name: str, batches: list[np.ndarray]) -> Iterator[Sequence[Tensor]]:
    """Read by h5py's sorted fancy indexing, the advice that its documentation gives."""
    with h5py.File(path) as file:
        dataset = file[name]
        for rows in batches:
            yield (torch.from_numpy(sorted_read(dataset, rows)),)


def direct(path: Path, rounds: int) -> tuple[dict[str, Timing], dict[str, Timing]]:
    """Time random order over rows that lie uncompressed: whole epochs, then the first batches."""
    whole = batches_of(np.random.default_rng(1).permutation(ROWS))
    few = whole[:SLOW_BATCHES]
    sets = {".npy": npdata.NumpyDataset.from_npy(path.with_suffix(".npy"))}
    names = ("contiguous", "chunked")
    sets |= {name: npdata.NumpyDataset.from_hdf5(path, name) for name in names}

    def of_npdata(batches: list[np.ndarray]) -> list[Candidate]:
        return [
            Candidate(name=f"npdata, {name}", batches=lambda d=dataset: ours(d, batches))
            for name, dataset in sets.items()
        ]

    theirs = [
        Candidate(name=f"h5py, {name}", batches=lambda n=name: fancy(path, n, few))
        for name in names
    ]
    return compare(of_npdata(whole), rounds=rounds), compare(of_npdata(few) + theirs, rounds=rounds)


def h5py_chunks(path: Path) -> int:
    """Read every chunk once, in the order of the file."""
    total = 0
    with h5py.File(path) as file:
        dataset = file["gzip"]
        for k in range(0, ROWS, CHUNK):
            total += len(dataset[k : k + CHUNK])
    return total


def with_libdeflate(stored: bytes, out: np.ndarray) -> None:
    """Decode a chunk as fast as this is known to go: libdeflate, and torch's byte transpose."""
    columns = torch.frombuffer(deflate.zlib_decompress(stored, out.size), dtype=torch.uint8)
    pixel = columns.as_strided((1, out.size, 1, 1), (out.size, 1, out.size, out.size))
    out[:] = torch.channel_shuffle(pixel, 4).view(out.shape).numpy()


def with_isal(stored: bytes, out: np.ndarray) -> None:
    """Decode a chunk as one would by hand: isal, and the bytes put in place by NumPy."""
    decoder = igzip_lib.IgzipDecompressor(flag=igzip_lib.DECOMP_ZLIB)
    columns = np.frombuffer(decoder.decompress(stored, out.size + 1), np.uint8).reshape(4, -1)
    for byte in range(4):
        out[:, byte] = columns[byte]


def bare_decode(path: Path, decode: Callable[[bytes, np.ndarray], None]) -> int:
    """Read and decode every chunk once on `THREADS` threads, and do nothing with it."""
    with h5py.File(path) as file:
        infos: list[object] = []
        file["gzip"].id.chunk_iter(infos.append)
    queue, done = deque(infos), []

    def work() -> None:
        with path.open("rb", buffering=0) as stream:
            out = np.empty((CHUNK * WIDTH, 4), np.uint8)
            while queue:
                try:
                    info = queue.popleft()
                except IndexError:
                    return
                stream.seek(info.byte_offset)
                decode(stream.read(info.size), out)
                done.append(len(out))

    threads = [threading.Thread(target=work) for _ in range(THREADS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return len(done)


def bare_loop(path: Path, batches: Iterable[np.ndarray]) -> Iterator[Sequence[Tensor]]:
    """Decode the chunks that a batch lacks on `THREADS` threads, then gather its rows by one call.

    Chunks lie side by side in a buffer of two windows; the one that was decoded first goes first.
    """
    with h5py.File(path) as file:
        infos: list[h5py.h5d.StoreInfo] = []
        file["gzip"].id.chunk_iter(infos.append)
    stored = {info.chunk_offset[0] // CHUNK: info for info in infos}
    buffer = np.empty((2 * WINDOW, CHUNK, WIDTH), np.float32)
    rows_of = torch.from_numpy(buffer.reshape(-1, WIDTH))
    slots = np.full(len(infos), -1)
    there: deque[int] = deque()

    with path.open("rb", buffering=0) as stream, ThreadPoolExecutor(THREADS) as pool:

        def fill(number: int) -> None:
            info, out = stored[number], buffer[slots[number]]
            data = os.pread(stream.fileno(), info.size, info.byte_offset)
            with_libdeflate(data, out.view(np.uint8).reshape(-1, 4))

        for rows in batches:
            chunks, within = np.divmod(rows, CHUNK)
            missing = [k for k in np.unique(chunks).tolist() if slots[k] < 0]
            for number in missing:
                slots[number] = len(there)
                if len(there) == len(buffer):
                    oldest = there.popleft()
                    slots[number], slots[oldest] = slots[oldest], -1
                there.append(number)
            list(pool.map(fill, missing))
            yield (rows_of[torch.from_numpy(slots[chunks] * CHUNK + within)],)


def require_equal(path: Path, decoders: Iterable[Callable[[bytes, np.ndarray], None]]) -> None:
    """Raise AssertionError unless each decodes the first chunk as h5py does."""
    with h5py.File(path) as file:
        stored = file["gzip"].id.read_direct_chunk((0, 0))[1]
        chunk = file["gzip"][:CHUNK]
    for decode in decoders:
        out = np.empty((CHUNK * WIDTH, 4), np.uint8)
        decode(stored, out)
        assert np.array_equal(out.view(np.float32).reshape(CHUNK, WIDTH), chunk)


def in_turn(
    dataset: npdata.NumpyDataset, sampler: npdata.BlockBatchSampler
) -> Iterator[Sequence[Tensor]]:
    """Read batch after batch; what a batch lacks is decoded on `THREADS` threads."""
    for rows in sampler:
        yield (dataset.__getitems__(rows).stacked,)


def epoch(
    batches: Callable[[npdata.BlockBatchSampler], Iterable[Sequence[Tensor]]],
    sampler: npdata.BlockBatchSampler,
    source: npdata.Source,
) -> int:
    """Read the first epoch; gives how many chunks were decoded."""
    sampler.set_epoch(0)
    before = source.decoded_chunks
    rows = sum(len(batch[0]) for batch in batches(sampler))
    assert rows == ROWS
    return source.decoded_chunks - before


def sc_dataset(path: Path, count: int) -> int:
    """Read `count` batches by scDataset, block_size 256 and fetch_factor 16."""
    with h5py.File(path) as file:
        dataset = scDataset(
            file["gzip"], BlockShuffling(block_size=CHUNK), batch_size=BATCH, fetch_factor=16
        )
        rows = 0
        for batch in dataset:
            rows += len(batch)
            if rows >= count * BATCH:
                break
    return rows


def seconds(work: object, *args: object) -> tuple[float, object]:
    start = time.perf_counter()
    result = work(*args)  # type: ignore[operator]
    return time.perf_counter() - start, result


def compressed(path: Path, rounds: int) -> Section:
    """Time gzip 4 + shuffle, blocks shuffled in windows.

    The source stays open, as over the epochs of a training; the order is the same in each, so that
    the chunk cache has dropped a chunk before it is needed again.
    """
    source = npdata.open_source(f"{path}::gzip")
    dataset = npdata.NumpyDataset(source)
    sampler = npdata.BlockBatchSampler(dataset, BATCH, shuffle="block", window_blocks=WINDOW)
    loading = npdata.Loader(dataset, sampler=sampler)
    readers = {
        "npdata": lambda order: in_turn(dataset, order),
        "npdata, Loader": lambda _: ((batch,) for batch in loading),
    }
    with h5py.File(path) as file:
        for batches in readers.values():
            sampler.set_epoch(0)
            order = list(sampler)
            sampler.set_epoch(0)
            for number, (batch, rows) in enumerate(zip(batches(sampler), order, strict=True)):
                if number % 20 == 0:
                    assert np.array_equal(batch[0].numpy(), sorted_read(file["gzip"], rows))
    sampler.set_epoch(0)
    for batch, (other,) in zip(loading, bare_loop(path, order), strict=True):
        assert torch.equal(batch, other)
    bare = {
        "bare read and decode": with_libdeflate,
        "bare read and decode, isal and NumPy": with_isal,
    }
    require_equal(path, bare.values())
    chunks = -(-ROWS // CHUNK)
    times: dict[str, list[float]] = {}
    decoded = set()
    for _ in range(rounds):
        for name, batches in readers.items():
            spent, count = seconds(epoch, batches, sampler, source)
            decoded.add(count)
            times.setdefault(name, []).append(spent)
        for name, decode in bare.items():
            spent, count = seconds(bare_decode, path, decode)
            assert count == chunks
            times.setdefault(name, []).append(spent)
        spent, count = seconds(lambda: sum(len(rows) for (rows,) in bare_loop(path, order)))
        assert count == ROWS
        times.setdefault(BARE_LOOP, []).append(spent)
        spent, count = seconds(h5py_chunks, path)
        assert count == ROWS
        times.setdefault("h5py, chunks in file order", []).append(spent)
        spent, count = seconds(sc_dataset, path, 16 * 8)
        times.setdefault("scDataset", []).append(spent * ROWS / float(str(count)))
    timings = {name: of_seconds(name, ROWS, each) for name, each in times.items()}
    goals = {
        "bare read and decode": 0.85,
        "bare read and decode, isal and NumPy": None,
        "h5py, chunks in file order": 3,
        "scDataset": 10,
    }
    return Section(
        name="hdf5-gzip",
        title="HDF5, gzip 4 + shuffle, blocks shuffled in windows of 32",
        note=f"Chunks decoded per epoch: {', '.join(map(str, sorted(decoded)))} of {chunks}.",
        table=table(timings, WIDTH * 4),
        ratios=(
            *(
                Ratio(
                    what=f"speed over {name}",
                    value=ratio(timings["npdata"], timings[name]),
                    goal=goal,
                )
                for name, goal in goals.items()
            ),
            _times(timings, "npdata, Loader", BARE_LOOP, 0.8),
            _times(timings, "npdata", BARE_LOOP, None),
        ),
    )


def opening(folder: Path, rounds: int) -> Section:
    """Time opening a file of 100,000 chunks against one `chunk_iter` over it."""
    path = folder / "many.h5"
    with h5py.File(path, "w") as file:
        dataset = file.create_dataset("x", (100_000, 4), "f4", chunks=(1, 4), compression="lzf")
        for k in range(100_000):
            dataset.id.write_direct_chunk((k, 0), bytes(16), 1)
    ours_, theirs = [], []
    for _ in range(rounds):
        with h5py.File(path) as file:
            infos: list[object] = []
            theirs.append(seconds(file["x"].id.chunk_iter, infos.append)[0])
        ours_.append(seconds(npdata.open_source, f"{path}::x")[0])
    a, b = float(np.median(ours_)), float(np.median(theirs))
    return Section(
        name="hdf5-open",
        title="Opening 100,000 chunks",
        note=f"Open: {a * 1e3:.0f} ms, `chunk_iter`: {b * 1e3:.0f} ms.",
        ratios=(Ratio(what="time over chunk_iter", value=a / b, goal=2, most=True),),
    )


def run(bench: Bench) -> list[Section]:
    """Measure, and give the sections of the report."""
    path = write(bench.folder)
    whole, few = direct(path, bench.rounds)
    return [
        Section(
            name="hdf5-h5py",
            title="HDF5, random order, against h5py's sorted fancy batches",
            table=table(few, WIDTH * 4),
            ratios=(
                _times(few, "npdata, contiguous", "h5py, contiguous", 30),
                _times(few, "npdata, chunked", "h5py, chunked", 300),
            ),
        ),
        Section(
            name="hdf5-npy",
            title="HDF5, random order, against the .npy",
            table=table(whole, WIDTH * 4),
            ratios=(
                _times(whole, "npdata, contiguous", "npdata, .npy", 0.9),
                _times(whole, "npdata, chunked", "npdata, .npy", 0.8),
            ),
        ),
        compressed(path, bench.rounds),
        opening(bench.folder, bench.rounds),
    ]


def _times(timings: dict[str, Timing], ours: str, other: str, goal: float | None) -> Ratio:
    value = ratio(timings[ours], timings[other])
    return Ratio(what=f"speed of {ours} over {other}", value=value, goal=goal)
