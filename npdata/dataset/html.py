"""Tables for notebooks: what `_repr_html_` gives.

Idea: one small function makes every table, from texts that it escapes. Invariant: a table says what
the text for a terminal says. No style of its own, so that dark and light notebooks both fit.
"""

from collections.abc import Iterable, Sequence
from html import escape


def table(caption: str, head: Sequence[object], rows: Iterable[Sequence[object]]) -> str:
    """Give an HTML table; all that it is given is text.

    Examples:
        >>> table("<2 rows>", ["field"], [["x"]])
        '<table><caption>&lt;2 rows&gt;</caption><tr><th>field</th></tr><tr><td>x</td></tr></table>'
    """
    lines = [_line("th", head)] if head else []
    lines += [_line("td", row) for row in rows]
    return f"<table><caption>{escape(caption)}</caption>{''.join(lines)}</table>"


def _line(tag: str, cells: Sequence[object]) -> str:
    return f"<tr>{''.join(f'<{tag}>{escape(str(cell))}</{tag}>' for cell in cells)}</tr>"
