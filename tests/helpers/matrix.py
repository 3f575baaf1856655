"""What the tests of trainers show, and the table of it in docs/trainers.md.

Idea: a test says, beside its code, which sentence of the table it shows. The table is read from the
source of the tests, so it can be made where no trainer is installed.

python tests/helpers/matrix.py    # writes the table into the page
"""

import ast
import re
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple, TypeVar

ROOT = Path(__file__).parent.parent.parent
TESTS = ROOT / "tests" / "integrations"
PAGE = ROOT / "docs" / "trainers.md"
BEGIN, END = "<!-- from the tests: make matrix -->", "<!-- end -->"
HEAD = "| framework | what is exact | what to write |\n|---|---|---|"

Function = TypeVar("Function", bound=Callable[..., object])


def shows(framework: str, package: str, exact: str, write: str) -> Callable[[Function], Function]:
    """Mark a test: it shows that this is exact in `framework`.

    `package` is that of constraints.txt whose version it is, or the version itself.
    """
    return lambda function: function


class Shown(NamedTuple):
    """One sentence of the table, and the test that shows it."""

    framework: str
    package: str
    exact: str
    write: str
    test: str


def _tests(path: Path) -> list[ast.FunctionDef]:
    nodes = ast.walk(ast.parse(path.read_text()))
    functions = [node for node in nodes if isinstance(node, ast.FunctionDef)]
    named = [node for node in functions if node.name.startswith("test_")]
    return [node for node in named if node.name != "test_step"]


def _marks(test: ast.FunctionDef) -> list[Shown]:
    calls = [each for each in test.decorator_list if isinstance(each, ast.Call)]
    marks = [each for each in calls if isinstance(each.func, ast.Name) and each.func.id == "shows"]
    return [Shown(*map(ast.literal_eval, each.args), test=test.name) for each in marks]


def unmarked() -> list[str]:
    """Give the tests that say nothing."""
    files = sorted(TESTS.glob("test_*.py"))
    return [
        f"{path.name}: {test.name}" for path in files for test in _tests(path) if not _marks(test)
    ]


def table() -> str:
    """Give the table, by framework in the order of the alphabet."""
    shown = [
        each for path in TESTS.glob("test_*.py") for test in _tests(path) for each in _marks(test)
    ]
    pins = dict(re.findall(r"^(\S+)==(\S+)$", (ROOT / "constraints.txt").read_text(), re.M))
    lines, before = [HEAD], ""
    for each in sorted(shown, key=lambda each: (each.framework.lower(), each.exact)):
        version = pins.get(each.package, each.package)
        name = "" if each.framework == before else f"{each.framework} {version}"
        before = each.framework
        lines.append(f"| {name} | {each.exact} | {each.write} |".replace("|  |", "| |"))
    return "\n".join(lines)


def with_table(page: str) -> str:
    """Give the page with its table made anew."""
    start, rest = page.split(BEGIN)
    return f"{start}{BEGIN}\n\n{table()}\n\n{END}{rest.split(END)[1]}"


if __name__ == "__main__":
    PAGE.write_text(with_table(PAGE.read_text()))
