"""Tables, and sentences below them, as `inspect` and `bench` print them.

Idea: figures stand in a table; what explains them are sentences, each once, with the arrays that it
is about. Invariant: nothing is cut off: what does not fit the screen is folded.
"""

from collections.abc import Iterable, Sequence
from typing import Any, TypeAlias

from npdata.arrays.dtypes import DType, is_variable_text
from npdata.cli.console import printable
from npdata.errors import require

_MOST_NAMES = 4
_STYLES = {
    "memory": "green",
    "mapped": "green",
    "decoded": "yellow",
    "library": "magenta",
    "refused": "red",
    "failed": "bold red",
}

Note: TypeAlias = tuple[str, str, str]
"""A word of the table, the sentence that explains it, and the array that it is about."""


def styled(text: str, style: str | None = None) -> Any:
    """Give a `rich.text.Text`, in its own style where the text is a word that has one."""
    return _rich("text").Text(text, _STYLES.get(text, "") if style is None else style)


def print_table(
    console: Any, heads: Sequence[str], rows: Iterable[Sequence[Any]], *, numbers: Sequence[str]
) -> None:
    """Print rows of cells, each texts or `styled`; columns with these heads end at the right."""
    table = _rich("table").Table(
        box=_rich("box").SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0), header_style="bold"
    )
    for head in heads:
        side = "right" if head in numbers else "left"
        table.add_column(head, justify=side, overflow="fold")
    for row in rows:
        table.add_row(*row)
    console.print(table)


def print_notes(
    console: Any, head: str, notes: Iterable[Note], *, named: bool, most: int | None = None
) -> None:
    """Print at most so many sentences under a heading, each once, with the arrays if `named`.

    What follows a line break is a command or a call to paste, on a line that is not broken.
    """
    merged: dict[tuple[str, str], list[str]] = {}
    for word, sentence, name in notes:
        merged.setdefault((word, sentence), []).append(name)
    if not merged:
        return
    console.print(f"\n{head}", style="bold")
    indent = 2 + max(len(word) for word, _ in merged)
    for (word, sentence), names in list(merged.items())[:most]:
        text, _, command = sentence.partition("\n")
        more = len(names) - _MOST_NAMES
        listed = ", ".join(names[:_MOST_NAMES]) + (f" and {more:,} more" if more > 0 else "")
        begin = styled(word.ljust(indent), _STYLES.get(word, ""))
        for each, style in ((text, ""), (command, ""), (listed if named else "", "dim")):
            # What is to be pasted stays one line, however narrow the screen is.
            width = max(1, console.width - indent) if each != command else len(command)
            for line in styled(printable(each), style).wrap(console, width) if each else ():
                line.rstrip()
                console.print(_rich("text").Text.assemble(begin, line), soft_wrap=True)
                begin = styled(" " * indent)


def dtype_text(dtype: DType) -> str:
    """Name a dtype in few words.

    Examples:
        >>> dtype_text(np.dtype(">f4")), dtype_text(np.dtype([("x", "f4"), ("y", "i8")]))
        ('>f4', 'record of 2')
    """
    if dtype.names is not None:
        return f"record of {len(dtype.names)}"
    return "text" if is_variable_text(dtype) else str(dtype)


def rate_text(rate: float) -> str:
    """Give rows a second, with digits behind the point where there are few.

    Examples:
        >>> rate_text(4041150.2), rate_text(3.14159)
        ('4,041,150', '3.1')
    """
    return f"{rate:,.0f}" if rate >= 100 else f"{rate:.1f}"


def _rich(module: str) -> Any:
    return require(f"rich.{module}", extra="cli", purpose="output other than --json")
