"""The command `npdata cache`: what a folder of `cache=` keeps, and its removal.

Idea: each file of the folder says itself what it keeps. Invariant: nothing else in the folder is
touched, and processes that use a file go on with what they have open.
"""

import argparse
from datetime import datetime
from pathlib import Path

from npdata.cli.console import (
    SUCCESS,
    Command,
    bytes_text,
    count_text,
    new_console,
    print_json,
    printable,
)
from npdata.errors import require
from npdata.sources.cache.folder import Folder, Held


def _add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("folder", metavar="FOLDER", help="the folder that cache= names")
    what = parser.add_mutually_exclusive_group()
    what.add_argument("--list", action="store_true", help="list what it keeps (the default)")
    what.add_argument("--clear", action="store_true", help="remove all that it keeps")
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")


def _run(arguments: argparse.Namespace) -> int:
    path = Path(arguments.folder)
    if not path.is_dir():
        raise NotADirectoryError(f"{path} is no folder, and cache= keeps rows in one")
    folder = Folder(path)
    held = folder.held()
    if arguments.clear:
        folder.clear()
    if arguments.json:
        print_json({"removed" if arguments.clear else "kept": [_as_json(each) for each in held]})
    elif arguments.clear:
        total = bytes_text(sum(each.nbytes for each in held))
        print(f"removed {count_text(len(held), 'dataset')}, {total}")
    else:
        _print(held)
    return SUCCESS


def _as_json(held: Held) -> dict[str, object]:
    return {
        "file": _file(held),
        "dataset": held.about.get("dataset"),
        "nbytes": held.nbytes,
        "whole_nbytes": held.about.get("bytes"),
        "last_used": _time(held),
        "path": str(held.path),
    }


def _print(held: list[Held]) -> None:
    table = require("rich.table", extra="cli", purpose="output other than --json").Table(
        box=None, pad_edge=False
    )
    for name in ("file", "dataset", "kept", "whole", "last used"):
        table.add_column(name, justify="right" if name in ("kept", "whole") else "left")
    for each in held:
        whole = each.about.get("bytes")
        table.add_row(
            printable(_file(each)),
            printable(str(each.about.get("dataset", ""))),
            bytes_text(each.nbytes),
            bytes_text(whole) if isinstance(whole, int) else "",
            _time(each),
        )
    total = bytes_text(sum(each.nbytes for each in held))
    console = new_console()
    if held:
        console.print(table)
    console.print(f"{count_text(len(held), 'dataset')}, {total}")


def _file(held: Held) -> str:
    try:
        return str(held.about["files"][0][0])
    except (LookupError, TypeError):  # it is damaged
        return "unknown"


def _time(held: Held) -> str:
    return datetime.fromtimestamp(held.used // 10**9).astimezone().isoformat(" ", "seconds")


CACHE = Command(
    name="cache",
    summary="List what a folder of decoded rows keeps, or remove it.",
    add_arguments=_add_arguments,
    run=_run,
)
