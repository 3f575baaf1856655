"""The command `npdata cache`: what a folder of `cache=` keeps, and its removal.

Idea: each file of the folder says itself what it keeps. Invariant: nothing else in the folder is
touched, and processes that use a file go on with what they have open.
"""

import argparse
from datetime import datetime
from pathlib import Path
from typing import Any

from npdata.cli.console import (
    SUCCESS,
    UsageError,
    bytes_text,
    count_text,
    print_json,
    printable,
)
from npdata.sources.cache.folder import Folder
from npdata.sources.cache.use import CachedFile


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the command."""
    parser.add_argument("folder", metavar="FOLDER", help="the folder that cache= names")
    what = parser.add_mutually_exclusive_group()
    what.add_argument("--list", action="store_true", help="list what it keeps (the default)")
    what.add_argument("--clear", action="store_true", help="remove all that it keeps")
    parser.add_argument("--json", action="store_true", help="print JSON instead of lines")


def run(arguments: argparse.Namespace) -> int:
    """List what the folder keeps, or remove it; gives the exit code."""
    path = Path(arguments.folder)
    if not arguments.folder:
        raise UsageError("the path is empty; '.' is this folder")
    if not path.is_dir():
        raise NotADirectoryError(f"{path} is no folder, and cache= keeps rows in one")
    folder = Folder(path)
    datasets = [_as_json(held) for held in folder.held()]
    if arguments.clear:
        folder.clear()
    if arguments.json:
        print_json({"removed" if arguments.clear else "kept": datasets})
        return SUCCESS
    for each in [] if arguments.clear else datasets:
        whole = each["whole_nbytes"]
        of_all = f" of {bytes_text(whole)}" if isinstance(whole, int) else ""
        where = printable(f"{each['file']}::{each['dataset']}")
        print(f"{where}  {bytes_text(each['nbytes'])}{of_all}, last used {each['last_used']}")
    total = bytes_text(sum(each["nbytes"] for each in datasets))
    removed = "removed " if arguments.clear else ""
    print(f"{removed}{count_text(len(datasets), 'dataset')}, {total}")
    return SUCCESS


def _as_json(held: CachedFile) -> dict[str, Any]:
    try:
        file = str(held.about["files"][0][0])
    except (LookupError, TypeError):  # it is damaged
        file = "unknown"
    last_used = datetime.fromtimestamp(held.used // 10**9).astimezone().isoformat(" ", "seconds")
    return {
        "file": file,
        "dataset": held.about.get("dataset"),
        "nbytes": held.nbytes,
        "whole_nbytes": held.about.get("bytes"),
        "last_used": last_used,
        "path": str(held.path),
    }
