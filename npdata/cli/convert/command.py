"""`npdata convert`: from the arguments to a file that is whole, and a line for each array.

Idea: open, plan, write, sync, verify, publish, in that order. Invariant: whatever fails, and
wherever, nothing is under the final name that was not there before. It starts over each time:
there is nothing to resume from.
"""

import argparse
import errno
import os
import shutil
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from npdata.arrays.per_process import cores
from npdata.cli.console import (
    SUCCESS,
    Command,
    UsageError,
    byte_size,
    bytes_text,
    count_text,
    printable,
    shape_text,
    status_line,
)
from npdata.cli.convert.hdf5_writer import FASTEST, Hdf5Writer
from npdata.cli.convert.inputs import Inputs, open_inputs
from npdata.cli.convert.plan import MEMORY, Plan, make_plan, parse_chunks
from npdata.cli.convert.transfer import verify_array, write_array
from npdata.cli.convert.writer import NpyWriter, NpzWriter, RawWriter, Writer
from npdata.cli.output import Output, check_target, new_output, without_links
from npdata.cli.raw import add_raw_arguments, raw_layout
from npdata.sources.base import Source
from npdata.sources.hdf5.budget import BUDGET_VARIABLE, asked_budget
from npdata.sources.hdf5.library import LibrarySource
from npdata.sources.npz import DecodedMember

WRITERS: tuple[type[Writer], ...] = (NpyWriter, NpzWriter, Hdf5Writer, RawWriter)
LEVELS = {"none": None, "gzip": FASTEST, **{f"gzip:{level}": level for level in range(1, 10)}}
FLUSH_BYTES = 64 << 20
UNWRITABLE = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EACCES)


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
        type=parse_chunks,
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
        help=f"most memory to take (default {bytes_text(MEMORY)}, or what one row, chunk or "
        "compressed member needs)",
    )
    parser.add_argument(
        "--verify", action="store_true", help="read the file back and compare every row"
    )
    parser.add_argument("--force", action="store_true", help="replace DST if it is there")
    add_raw_arguments(parser)


def run(arguments: argparse.Namespace) -> int:
    """Convert; raises what `npdata.cli.main` turns into an exit code."""
    kind = _writer(Path(arguments.target))
    target = without_links(Path(arguments.target))
    inputs = open_inputs(arguments.sources, raw_layout(arguments), arguments.files)
    try:
        check_target(target, inputs.files, force=arguments.force)
        plan = make_plan(
            inputs.arrays,
            kind,
            chunks=arguments.chunks,
            compression=LEVELS[arguments.compression],
            memory=arguments.memory,
            verify=arguments.verify,
            cores=cores(),
            free_bytes=shutil.disk_usage(target.parent).free,
        )
        started = time.monotonic()
        with _naming(target), _small_cache(plan.cache_bytes), new_output(target) as output:
            _write(inputs, plan, kind, output)
            output.sync()
            if arguments.verify:
                with _meter("verify", plan.nbytes) as compared:
                    for source, array in zip(inputs.sources, plan.arrays, strict=True):
                        verify_array(source, array, output.path, kind, plan.threads, compared)
                        _rest(source)
            size = output.path.stat().st_size
            output.publish(force=arguments.force)
    finally:
        for source in inputs.sources:
            source.close()
    _report(inputs, plan, arguments, size, time.monotonic() - started)
    return SUCCESS


def _write(inputs: Inputs, plan: Plan, kind: type[Writer], output: Output) -> None:
    writer = kind(output.path)
    dirty = 0
    with _meter("write", plan.nbytes) as done:

        def wrote(count: int) -> None:
            nonlocal dirty
            done(count)
            dirty += count
            if dirty >= FLUSH_BYTES:
                dirty = 0
                output.leave_cache()

        try:
            for source, array in zip(inputs.sources, plan.arrays, strict=True):
                if isinstance(source, LibrarySource):
                    source.keep_decoded(plan.cache_bytes)
                write_array(source, array, writer, plan.threads, wrote)
                _rest(source)
            writer.close(whole=True)
        except BaseException:
            writer.close(whole=False)
            raise


def _rest(source: Source) -> None:
    """Close the file, and drop a member that was decoded whole, until the next read."""
    if isinstance(source, DecodedMember):
        source.close()
    source.close_idle()


@contextmanager
def _naming(target: Path) -> Iterator[None]:
    """Let errors that only writing can meet name the target, in the words of the system."""
    try:
        yield
    except OSError as error:
        if error.errno not in UNWRITABLE:
            raise
        raise OSError(error.errno, os.strerror(error.errno), str(target)) from error


@contextmanager
def _small_cache(budget: int) -> Iterator[None]:
    """Let the chunk cache of this process, made by the first read that needs it, be this small."""
    before = os.environ.get(BUDGET_VARIABLE)
    if budget:
        os.environ[BUDGET_VARIABLE] = str(min(budget, asked_budget() or budget))
    try:
        yield
    finally:
        os.environ.pop(BUDGET_VARIABLE, None)
        if before is not None:
            os.environ[BUDGET_VARIABLE] = before


@contextmanager
def _meter(stage: str, total: int) -> Iterator[Callable[[int], None]]:
    """Show on a terminal how much of `total` bytes is done, how fast, and what time is left.

    What it gives is called with the bytes that are done.
    """
    done, begun = 0, time.monotonic()
    with status_line() as show:

        def count(more: int) -> None:
            nonlocal done
            done += more
            rate = done / max(time.monotonic() - begun, 1e-9)
            part, left = done / max(total, 1), (total - done) / max(rate, 1)
            show(f"{stage}: {part:.0%}, {bytes_text(rate)}/s, {left:,.0f} s left")

        yield count


def _report(
    inputs: Inputs, plan: Plan, arguments: argparse.Namespace, size: int, seconds: float
) -> None:
    for array in plan.arrays:
        chunks = f", chunks of {shape_text(array.chunk_shape)}" if array.chunk_shape else ""
        print(f"{printable(array.name)}: {shape_text(array.shape)} {array.dtype}{chunks}")
    rate = bytes_text(plan.nbytes / max(seconds, 1e-9))
    verified = ", every row verified" if arguments.verify else ""
    print(
        f"{printable(arguments.target)}: {count_text(len(plan.arrays), 'array')}, "
        f"{bytes_text(plan.nbytes)} in {bytes_text(size)}, {seconds:.2f} s, {rate}/s{verified}"
    )
    for where, why in inputs.left_out:
        print(f"npdata convert: left out {printable(where)}: {printable(why)}", file=sys.stderr)
    if inputs.attributes:
        count = count_text(inputs.attributes, "attribute")
        print(f"npdata convert: {count} not copied", file=sys.stderr)


def _writer(target: Path) -> type[Writer]:
    for writer in WRITERS:
        if target.suffix.lower() in writer.suffixes:
            return writer
    known = ", ".join(suffix for writer in WRITERS for suffix in writer.suffixes)
    raise UsageError(f"{target}: the name has to end in one of {known}")


CONVERT = Command(
    name="convert",
    summary="Write arrays from .npy, .npz, HDF5 or raw files into another kind of file.",
    add_arguments=add_arguments,
    run=run,
)
