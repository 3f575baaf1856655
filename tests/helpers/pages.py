"""Runs the code of a page from top to bottom, in the folder where the test is.

Idea: a fenced block says what it is. `python` is executed, or written to a file where it has
`title="NAME.py"`; the lines of `sh` are run, but for those that set a machine up; `text` right
behind either is what it prints, or the error that it ends with, wherever lines are broken and with
`...` for anything. Other kinds, such as `console` for measurements, are only shown. All blocks of a
page share names.
"""

import contextlib
import doctest
import io
import itertools
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from processes import HANG, environment

FENCE = re.compile(r"^```(python|sh|text)([^\n]*)\n(.*?)^```\n", re.MULTILINE | re.DOTALL)
SETS_UP = ("pip", "make", "git", "cd")
FLAGS = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE


@dataclass(frozen=True, kw_only=True)
class Block:
    """One block of code, the file it is to be written to, and what is shown to come out."""

    kind: str
    file: str | None
    code: str
    line: int
    output: str | None


def blocks(page: Path) -> Iterator[Block]:
    text = page.read_text()
    found = list(FENCE.finditer(text))
    for block, following in itertools.zip_longest(found, found[1:]):
        kind, info, code = block.groups()
        title = re.search(r'title="([^"]+\.py)"', info)
        behind = following is not None and following[1] == "text"
        shown = behind and not text[block.end() : following.start()].strip()
        yield Block(
            kind=kind,
            file=title and title[1],
            code=code,
            line=text.count("\n", 0, block.start(3)),
            output=following[3] if shown else None,
        )


def run_page(page: Path) -> None:
    names: dict[str, object] = {"__name__": "page"}
    for block in blocks(page):
        if block.file is not None:
            Path(block.file).write_text(block.code)
        elif block.kind != "text":
            came = execute(block, names, page) if block.kind == "python" else run_commands(block)
            if block.output is not None:
                same = doctest.OutputChecker().check_output(block.output, came, FLAGS)
                assert same, f"{page.name}, line {block.line + 1} gave:\n{came}"


def execute(block: Block, names: dict[str, object], page: Path) -> str:
    code = compile("\n" * block.line + block.code, str(page), "exec")
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        try:
            exec(code, names)
        except Exception as error:
            if block.output is None:
                raise
            print(f"{type(error).__name__}: {error}")
    return printed.getvalue()


def run_commands(block: Block) -> str:
    lines = [line.split("#")[0].strip() for line in block.code.splitlines()]
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    printed = ""
    for command in (line for line in lines if line and line.split()[0] not in SETS_UP):
        done = subprocess.run(
            command,
            shell=True,
            capture_output=True,
            text=True,
            check=False,
            env=environment(PATH=path),
            timeout=HANG,
        )
        assert done.returncode == 0, f"{command}\n{done.stdout}{done.stderr}"
        printed += done.stdout
    return printed
