"""`npdata convert`: from the arguments to a file that is whole, and a line for each array.

Idea: open, plan, write, sync, verify, publish, in that order. Invariant: whatever fails, and
wherever, nothing is under the final name that was not there before. It starts over each time:
there is nothing to resume from.
"""

import argparse
import os
import shutil
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from dataclasses import replace
from pathlib import Path

from npdata.cli.arguments import add_raw_arguments, byte_size, raw_format, typed
from npdata.cli.console import (
    SUCCESS,
    UsageError,
    bytes_text,
    count_text,
    printable,
    shape_text,
    status_line,
)
from npdata.cli.convert.formats import NPY, NPZ, RAW, Array, ConvertError, Format
from npdata.cli.convert.hdf5 import FASTEST, HDF5, chunk_shape, parse_chunks
from npdata.cli.convert.inputs import Inputs, open_inputs
from npdata.cli.convert.transfer import MEMORY, Pace, pace, verify_array, write_array
from npdata.cli.output_file import Output, new_output, target_of
from npdata.runtime.machine import cores, used_by_process
from npdata.sources.hdf5.chunks.budget import BUDGET_VARIABLE, asked_budget
from npdata.sources.names import some_of

FORMATS = (NPY, NPZ, HDF5, RAW)
LEVELS = {"none": None, "gzip": FASTEST, **{f"gzip:{level}": level for level in range(1, 10)}}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the command."""
    parser.add_argument(
        "sources",
        metavar="SRC",
        nargs="+",
        help="a .npy, .npz, HDF5 or raw file; all its arrays, or the one in SRC::NAME; or, with "
        "--files, a folder, or a glob in quotes",
    )
    parser.add_argument(
        "target",
        metavar="DST",
        help="what to write: .npy, .npz, .h5 or .hdf5, or raw as .bin, .raw or .dat",
    )
    parser.add_argument(
        "--files",
        choices=("stack", "concatenate"),
        help="make one array of the files of a folder or a glob: each file a row (stack), or their "
        "rows end to end (concatenate)",
    )
    parser.add_argument(
        "--chunks",
        type=typed(
            parse_chunks,
            "shape of chunks",
            "rows (256), sizes along every axis (256,28,28), auto or none",
        ),
        metavar="ROWS",
        help="chunks of HDF5: rows (256), sizes along every axis (256,28,28), none for one piece, "
        "or auto: about 1 MiB of whole rows (the default)",
    )
    parser.add_argument(
        "--compression",
        choices=tuple(LEVELS),
        default="none",
        metavar="HOW",
        help="of HDF5 and .npz: gzip, gzip:1 to gzip:9, or none (the default)",
    )
    parser.add_argument(
        "--memory",
        type=byte_size,
        metavar="SIZE",
        help=f"most memory to take (default {bytes_text(MEMORY)} beside Python and torch, or what "
        "one row, chunk or compressed member needs)",
    )
    parser.add_argument(
        "--verify", action="store_true", help="read the file back and compare every row"
    )
    parser.add_argument("--force", action="store_true", help="replace DST if it is there")
    add_raw_arguments(parser)


def run(arguments: argparse.Namespace) -> int:
    """Convert and print what was written; gives the exit code."""
    kind = _format(Path(arguments.target))
    inputs = open_inputs(arguments.sources, raw_format(arguments), arguments.files)
    with ExitStack() as opened:
        for array in inputs.arrays:
            opened.enter_context(closing(array.source))
        target = target_of(Path(arguments.target), inputs.files, force=arguments.force)
        level = LEVELS[arguments.compression]
        arrays = planned(inputs.arrays, kind, chunks=arguments.chunks, level=level)
        if level is None:
            _require_room(target, sum(array.nbytes for array in arrays))
        how = pace(
            arrays,
            kind,
            memory=arguments.memory,
            runtime=used_by_process(),
            verify=arguments.verify,
            cores=cores(),
        )
        started = time.monotonic()
        with _small_cache(how.cache_bytes), new_output(target) as output:
            _write(arrays, output, kind, how)
            if arguments.verify:
                _verify(arrays, output, kind, how)
            size = output.path.stat().st_size
            output.publish(force=arguments.force)
        seconds = time.monotonic() - started
    _report(inputs, arrays, arguments, size, seconds)
    return SUCCESS


def _require_room(target: Path, nbytes: int) -> None:
    free = shutil.disk_usage(target.parent).free
    if nbytes > free:
        raise ConvertError(
            f"the rows take {bytes_text(nbytes)}, and the disk has {bytes_text(free)} free"
        )


def _write(arrays: Sequence[Array], output: Output, kind: Format, how: Pace) -> None:
    """Write all arrays, and have the file on the disk."""
    with _meter("write", arrays) as done, kind.opened(output.path) as write:

        def wrote(count: int) -> None:
            done(count)
            output.leave_cache()

        for array in arrays:
            write_array(array, kind, write, how, wrote)
    output.sync()


def _verify(arrays: Sequence[Array], output: Output, kind: Format, how: Pace) -> None:
    """Compare all arrays with what was written of them."""
    with _meter("verify", arrays) as compared:
        for array in arrays:
            verify_array(array, output.path, kind, how, compared)


def planned(
    arrays: Sequence[Array],
    kind: Format,
    *,
    chunks: tuple[int, ...] | None = None,
    level: int | None = None,
) -> list[Array]:
    """Give the arrays as they will be stored; `chunks` as for `chunk_shape`.

    Raises `UsageError` for options and names that do not fit this kind of file, and `ConvertError`
    for a dtype that it cannot hold.
    """
    _require_options(kind, chunks, level)
    _require_names(arrays, kind)
    stored = []
    for array in arrays:
        source, why = array.source, kind.refusal(array.source.dtype)
        if why is not None:
            raise ConvertError(f"{source.where} ({source.dtype}) does not fit {kind.name}: {why}")
        shape = None
        if kind is HDF5:
            shape = chunk_shape(chunks, array.name, source.shape, source.dtype.itemsize)
        stored.append(replace(array, level=level, chunk_shape=shape))
    return stored


def _require_options(kind: Format, chunks: tuple[int, ...] | None, level: int | None) -> None:
    if chunks is not None and kind is not HDF5:
        raise UsageError(f"--chunks is for HDF5; {kind.name} has no chunks")
    if level is not None and not kind.compresses:
        raise UsageError(f"--compression is for HDF5 and .npz; {kind.name} is not compressed")
    if level is not None and chunks == ():
        raise UsageError("--compression needs chunks, and --chunks none was given")


def _require_names(arrays: Sequence[Array], kind: Format) -> None:
    names = [array.name for array in arrays]
    if len(names) > 1 and not kind.holds_many:
        known = ", ".join(repr(name) for name in names)
        raise UsageError(
            f"{kind.name} holds one array, and {len(names)} were given; name one, as in "
            f"SRC::NAME, of {known}"
        )
    if kind is NPZ:
        names = [name.removesuffix(".npy") for name in names]
    for array, name in zip(arrays, names, strict=True):
        if names.count(name) > 1:
            raise UsageError(
                f"two arrays would be named {name!r}, one of them {array.source.where}; convert "
                "each to a file of its own"
            )


@contextmanager
def _small_cache(nbytes: int) -> Iterator[None]:
    """Let the chunk cache of this process, made by the first read that needs it, be this small."""
    before = os.environ.get(BUDGET_VARIABLE)
    if nbytes:
        os.environ[BUDGET_VARIABLE] = str(min(nbytes, asked_budget() or nbytes))
    try:
        yield
    finally:
        os.environ.pop(BUDGET_VARIABLE, None)
        if before is not None:
            os.environ[BUDGET_VARIABLE] = before


@contextmanager
def _meter(stage: str, arrays: Sequence[Array]) -> Iterator[Callable[[int], None]]:
    """Show on a terminal how much of the arrays is done, how fast, and what time is left.

    What it gives is called with the bytes that are done.
    """
    total, done, begun = sum(array.nbytes for array in arrays), 0, time.monotonic()
    with status_line() as show:

        def count(more: int) -> None:
            nonlocal done
            done += more
            rate = done / max(time.monotonic() - begun, 1e-9)
            part, left = done / max(total, 1), (total - done) / max(rate, 1)
            show(f"{stage}: {part:.0%}, {bytes_text(rate)}/s, {left:,.0f} s left")

        yield count


def _report(
    inputs: Inputs,
    arrays: Sequence[Array],
    arguments: argparse.Namespace,
    size: int,
    seconds: float,
) -> None:
    for array in arrays:
        chunks = f", chunks of {shape_text(array.chunk_shape)}" if array.chunk_shape else ""
        source = array.source
        print(f"{printable(array.name)}: {shape_text(source.shape)} {source.dtype}{chunks}")
    nbytes = sum(array.nbytes for array in arrays)
    verified = ", every row verified" if arguments.verify else ""
    print(
        f"{printable(arguments.target)}: {count_text(len(arrays), 'array')}, "
        f"{bytes_text(nbytes)} in {bytes_text(size)}, {seconds:.2f} s, "
        f"{bytes_text(nbytes / max(seconds, 1e-9))}/s{verified}"
    )
    for where, why in inputs.left_out:
        print(f"npdata convert: left out {printable(where)}: {printable(why)}", file=sys.stderr)
    for array in arrays:
        for packing in filter(None, array.source.packings.kinds):
            print(
                f"npdata convert: {printable(array.name)} is packed ({printable(str(packing))}), "
                f"which the copy does not say: its numbers are as stored",
                file=sys.stderr,
            )
    attributes, links, enumerations = inputs.behind
    if attributes:
        count = count_text(attributes, "attribute")
        print(f"npdata convert: {count} not copied", file=sys.stderr)
    for names, what, how in (
        (links, "link", "not copied"),
        (enumerations, "enumeration", "copied as numbers, without the names"),
    ):
        if names:
            named = f"{count_text(len(names), what)} {how}: {printable(some_of(names, 5))}"
            print(f"npdata convert: {named}", file=sys.stderr)


def _format(target: Path) -> Format:
    for kind in FORMATS:
        if target.suffix.lower() in kind.suffixes:
            return kind
    known = ", ".join(suffix for kind in FORMATS for suffix in kind.suffixes)
    raise UsageError(f"{target}: the name has to end in one of {known}")
