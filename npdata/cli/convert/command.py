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
from collections.abc import Iterator
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
)
from npdata.cli.convert.chunking import parse_chunks
from npdata.cli.convert.flat_writer import NpyWriter, RawWriter
from npdata.cli.convert.hdf5_writer import Hdf5Writer
from npdata.cli.convert.inputs import Inputs, open_inputs
from npdata.cli.convert.memory import MEMORY
from npdata.cli.convert.meter import Meter, new_meter
from npdata.cli.convert.npz_writer import NpzWriter
from npdata.cli.convert.plan import Options, Plan, make_plan
from npdata.cli.convert.transfer import write_field, written_behind
from npdata.cli.convert.verify import open_written, verify_field
from npdata.cli.convert.writer import Writer
from npdata.cli.output import check_target, new_output, without_links
from npdata.cli.raw import add_raw_arguments, raw_layout
from npdata.sources.hdf5.budget import BUDGET_VARIABLE
from npdata.sources.hdf5.library import LibrarySource

WRITERS: tuple[type[Writer], ...] = (NpyWriter, NpzWriter, Hdf5Writer, RawWriter)
UNWRITABLE = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EACCES)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the command."""
    parser.add_argument(
        "sources",
        metavar="SRC",
        nargs="+",
        help="a .npy, .npz, HDF5 or raw file; all its arrays, or the one in SRC::NAME",
    )
    parser.add_argument(
        "target",
        metavar="DST",
        help="what to write: .npy, .npz, .h5 or .hdf5, or raw as .bin, .raw or .dat",
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
        type=parse_compression,
        metavar="HOW",
        help="of HDF5 and .npz: gzip, gzip:1 to gzip:9, or none (the default)",
    )
    parser.add_argument(
        "--memory",
        type=byte_size,
        default=byte_size(MEMORY),
        metavar="SIZE",
        help=f"most memory to take (default {MEMORY})",
    )
    parser.add_argument(
        "--verify", action="store_true", help="read the file back and compare every row"
    )
    parser.add_argument("--force", action="store_true", help="replace DST if it is there")
    add_raw_arguments(parser)


def run(arguments: argparse.Namespace) -> int:
    """Convert; raises what `npdata.cli.main` turns into an exit code."""
    writer = _writer(Path(arguments.target))
    target = without_links(Path(arguments.target))
    inputs = open_inputs(arguments.sources, raw_layout(arguments))
    try:
        check_target(target, [array.path for array in inputs.arrays], force=arguments.force)
        plan = make_plan(
            [array.spec() for array in inputs.arrays],
            writer,
            Options(
                chunks=arguments.chunks,
                compression=None if arguments.compression == "none" else arguments.compression,
                memory=arguments.memory,
                verify=arguments.verify,
            ),
            cores=cores(),
            free_bytes=shutil.disk_usage(target.parent).free,
        )
        started = time.monotonic()
        size = _convert(inputs, plan, writer, target, arguments)
    finally:
        for array in inputs.arrays:
            array.source.close()
    _report(inputs, plan, arguments, size, time.monotonic() - started)
    return SUCCESS


def parse_compression(text: str) -> int | str:
    """Read the option `--compression`: "none", or the level, 0 where none was given.

    Examples:
        >>> parse_compression("gzip"), parse_compression("gzip:9"), parse_compression("none")
        (0, 9, 'none')
    """
    name, colon, level = text.partition(":")
    if text in ("gzip", "none"):
        return 0 if text == "gzip" else text
    if name == "gzip" and colon and level in "123456789" and len(level) == 1:
        return int(level)
    raise argparse.ArgumentTypeError(f"{text!r} is none of gzip, gzip:1 to gzip:9, and none")


def _convert(
    inputs: Inputs, plan: Plan, kind: type[Writer], target: Path, arguments: argparse.Namespace
) -> int:
    with (
        _naming(target),
        _small_slab(plan.slab_bytes),
        new_output(target) as output,
        new_meter() as meter,
    ):
        _write(inputs, plan, kind, output.path, meter)
        output.sync()
        if arguments.verify:
            compared = meter("verify", plan.nbytes)
            for array, field in zip(inputs.arrays, plan.fields, strict=True):
                copy = open_written(output.path, kind.format, field)
                if copy is not None:
                    verify_field(array.source, field, copy, plan.threads, compared)
                array.close_idle()
        size = output.path.stat().st_size
        output.publish(force=arguments.force)
        return size


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
def _small_slab(budget: int) -> Iterator[None]:
    """Let the slab of this process, made by the first read that needs it, be this small."""
    before = os.environ.get(BUDGET_VARIABLE)
    if budget:
        os.environ[BUDGET_VARIABLE] = str(min(budget, int(before or budget)))
    try:
        yield
    finally:
        os.environ.pop(BUDGET_VARIABLE, None)
        if before is not None:
            os.environ[BUDGET_VARIABLE] = before


def _write(inputs: Inputs, plan: Plan, kind: type[Writer], path: Path, meter: Meter) -> None:
    writer = kind(path)
    try:
        done = meter("write", plan.nbytes)
        with written_behind(path) as flush:

            def wrote(count: int) -> None:
                done(count)
                flush(count)

            for array, field in zip(inputs.arrays, plan.fields, strict=True):
                if isinstance(array.source, LibrarySource):
                    array.source.keep_decoded(plan.slab_bytes)
                write_field(array.source, field, writer, plan.threads, wrote)
                array.close_idle()
            writer.finish()
    except BaseException:
        writer.abandon()
        raise


def _report(
    inputs: Inputs, plan: Plan, arguments: argparse.Namespace, size: int, seconds: float
) -> None:
    for field in plan.fields:
        what = f"{shape_text(field.shape)} {field.dtype}{_stored(field.chunk_shape)}"
        print(f"{printable(field.name)}: {what}")
    rate = bytes_text(plan.nbytes / max(seconds, 1e-9))
    verified = ", every row verified" if arguments.verify else ""
    print(
        f"{printable(arguments.target)}: {count_text(len(plan.fields), 'array')}, "
        f"{bytes_text(plan.nbytes)} in {bytes_text(size)}, {seconds:.2f} s, {rate}/s{verified}"
    )
    for where, why in inputs.left_out:
        print(f"npdata convert: left out {printable(where)}: {printable(why)}", file=sys.stderr)
    if inputs.attributes:
        count = count_text(inputs.attributes, "attribute")
        print(f"npdata convert: {count} not copied", file=sys.stderr)


def _stored(chunk_shape: tuple[int, ...] | None) -> str:
    return f", chunks of {shape_text(chunk_shape)}" if chunk_shape else ""


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
