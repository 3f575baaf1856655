"""Put what is generated into the pages that ask for it: figures and the list of files.

`<!-- results -->` stands for benchmarks/RESULTS.md, which the benchmarks write, and
`<!-- results: TITLE -->` for the section of that title. `<!-- files: FOLDER -->` stands for a table
of the files of npdata/FOLDER, each with the first line of its docstring.
"""

import ast
import re
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent
MARK = re.compile(r"<!-- (results|files)(?:: (.+?))? -->")


def on_page_markdown(markdown: str, **_: Any) -> str:
    """Replace the marks of a page; raises KeyError for a title that is not there."""
    return MARK.sub(
        lambda mark: _files(mark[2]) if mark[1] == "files" else _results(mark[2]), markdown
    )


def _results(title: str | None) -> str:
    _, _, body = (ROOT / "benchmarks" / "RESULTS.md").read_text().partition("# Results\n")
    body = body.replace("../docs/img/", "img/")
    if title is None:
        return body
    sections = dict(part.split("\n", 1) for part in body.split("\n## ")[1:])
    # A page is about what was measured, not about what was aimed at.
    section = re.sub(r" \(goal: [^)]*\)", "", sections[title])
    return re.sub(r"\| goal \|((?:\n\|.*)+)", _without_last_column, section)


def _without_last_column(table: re.Match[str]) -> str:
    return "|" + re.sub(r"\|[^|\n]*\|$", "|", table[1], flags=re.MULTILINE)


def _files(folder: str) -> str:
    paths = sorted((ROOT / "npdata" / folder).rglob("*.py"), key=lambda path: (path.parent, path))
    lines = [f"| `{folder}/` | |", "|---|---|"]
    for path in paths:
        text = ast.get_docstring(ast.parse(path.read_text())) or ""
        name = path.relative_to(ROOT / "npdata" / folder).as_posix()
        if path.name != "__init__.py":
            lines.append(f"| `{name}` | {text.splitlines()[0]} |")
    return "\n".join(lines)
