"""Put benchmarks/RESULTS.md, which the benchmarks write, into the page of that name."""

from pathlib import Path
from typing import Any

MARK = "<!-- results -->"
RESULTS = Path(__file__).parent.parent / "benchmarks" / "RESULTS.md"


def on_page_markdown(markdown: str, **_: Any) -> str:
    """Replace the mark by the results, without their title and with their pictures found here."""
    if MARK not in markdown:
        return markdown
    _, _, body = RESULTS.read_text().partition("# Results\n")
    return markdown.replace(MARK, body.replace("../docs/img/", "img/"))
