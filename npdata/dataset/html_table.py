"""Tables for notebooks: what `_repr_html_` gives.

Idea: one small function makes every table, from texts that it escapes. Invariant: a table says what
the text for a terminal says. Text begins at the left, numbers end at the right, and colours are
those of the notebook.
"""

import re
from collections.abc import Iterable, Sequence
from html import escape

TITLE = ' style="text-align: left; font-weight: bold; padding: 0.8em 0.5em 0.2em"'


def table(caption: str, head: Sequence[object], rows: Iterable[Sequence[object]]) -> str:
    """Give an HTML table, or a line where there are no rows; all that it is given is text.

    Examples:
        >>> table("<2 rows>", ["count"], [[7]])
        '<table>...&lt;2 rows&gt;</caption><tr><th>count</th></tr><tr><td>7</td></tr></table>'
        >>> table("2 rows", (), ())
        '<p>2 rows</p>'
    """
    cells = [[str(cell) for cell in row] for row in rows]
    if not cells:
        return f"<p>{escape(caption)}</p>"
    lines = [_line("td", row, row) for row in cells]
    if head:
        lines.insert(0, _line("th", map(str, head), cells[0]))
    return f"<table><caption{TITLE}>{escape(caption)}</caption>{''.join(lines)}</table>"


def _line(tag: str, cells: Iterable[str], below: Iterable[str]) -> str:
    pairs = zip(cells, below, strict=True)
    return f"<tr>{''.join(f'<{tag}{_side(b)}>{escape(c)}</{tag}>' for c, b in pairs)}</tr>"


def _side(text: str) -> str:
    return "" if re.fullmatch(r"-?[\d.,e+-]+|nan|-?inf|", text) else ' style="text-align: left"'
