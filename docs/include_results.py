"""Put benchmarks/RESULTS.md, which the benchmarks write, into the pages that ask for it.

`<!-- results -->` stands for all of it, `<!-- results: TITLE -->` for the section of that title.
"""

import re
from pathlib import Path
from typing import Any

MARK = re.compile(r"<!-- results(?:: (.+?))? -->")
RESULTS = Path(__file__).parent.parent / "benchmarks" / "RESULTS.md"


def on_page_markdown(markdown: str, **_: Any) -> str:
    """Replace the marks of a page; raises KeyError for a title that is not there."""
    return MARK.sub(lambda mark: _section(mark[1]), markdown)


def _section(title: str | None) -> str:
    _, _, body = RESULTS.read_text().partition("# Results\n")
    body = body.replace("../docs/img/", "img/")
    if title is None:
        return body
    sections = dict(part.split("\n", 1) for part in body.split("\n## ")[1:])
    # A page is about what was measured, not about what was aimed at.
    return re.sub(r" \(goal: [^)]*\)", "", sections[title])
