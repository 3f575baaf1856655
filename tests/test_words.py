"""The pages use the field's words, in sentences that can be read at once.

Idea: a table of words that were retired, with the term to use instead. The pages and the package
contain none of them; `ALLOWED` names the phrases that may stay.
"""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]
REPORTS = [ROOT / "CHANGELOG.md", ROOT / "benchmarks" / "RESULTS.md"]
MODULES = sorted((ROOT / "npdata").rglob("*.py"))
BESIDE = [*sorted((ROOT / "benchmarks").rglob("*.py")), *sorted((ROOT / "examples").glob("*.py"))]
TESTS = sorted((ROOT / "tests").rglob("test_*.py"))
MOST_WORDS = 35

RETIRED = {
    r"slabs?": "chunk cache",
    r"look-?ahead": "prefetch",
    r"parcels?": "serialization",
    r"let(?:s|ting)? go": "release",
    r"without a word": "silently",
    r"leas(?:e|es|ed|ing)": "reference",
    r"arenas?": "slot pool",
    r"residents": "cache index",
    r"tickets?": "logical clock",
    r"gates?": "eligibility, access policy",
    r"_?hears": "accepts_hints",
    r"tells|is told|are told|be told": "reports, says, shows",
    r"contenders?": "candidate",
    r"fillers?": "padding",
    r"page-locked|page-locks": "pinned",
    r"exaggerations?": "implausible size",
    r"parcelled": "serialized",
    r"in the making": "being made",
    r"as many as you like": "unlimited",
    r"it says so in a word": "says",
}
ALLOWED = (
    r"<!--.*?-->",
    r"`lease`",
    r"be told apart",
    r"`filler`|\bfiller=|\bfiller: int|\.filler\b",
)
LONG = (
    # The public errors of a page are quoted as they come.
    r"^SamplerError: ",
)
WORD = re.compile(r"[^\W\d_][\w'.-]*")


def prose(page: Path) -> Iterator[tuple[int, str]]:
    """Give paragraphs, items of lists and headings, each with its first line; no code, no table."""
    text = re.sub(
        r"^( *)(```|~~~).*?^\1\2 *$",
        lambda block: "\n" * block[0].count("\n"),
        page.read_text(),
        flags=re.MULTILINE | re.DOTALL,
    )
    text = re.sub(r"<!--.*?-->", lambda mark: "\n" * mark[0].count("\n"), text, flags=re.DOTALL)
    start, lines = 1, []
    for number, line in enumerate([*text.split("\n"), ""], start=1):
        begins = re.match(r"\s*([-*:]|\d+\.)\s|\s*[#|<!]", line)
        if lines and (not line.strip() or begins):
            yield start, " ".join(lines)
            lines = []
        if line.strip() and not line.lstrip().startswith(("|", "<", "![")):
            start = number if not lines else start
            lines.append(line.strip())


def sentences(text: str) -> list[str]:
    """Give the sentences of a paragraph, code and links of a word each.

    Examples:
        >>> sentences("It reads `a.b c`. It is [fast](x.md).")
        ['It reads code.', 'It is fast.']
    """
    plain = re.sub(r"`[^`]*`", "code", text)
    plain = re.sub(r"!?\[([^\]]*)\]\([^)]*\)", r"\1", plain)
    return re.split(r"(?<=[.!?])\)?\**\s+(?=\S)", plain)


def found(text: str) -> list[tuple[str, str]]:
    """Give the retired words of a text, each with what to write instead."""
    for phrase in ALLOWED:
        text = re.sub(phrase, "", text, flags=re.DOTALL)
    return [
        (hit[0], instead)
        for word, instead in RETIRED.items()
        for hit in re.finditer(rf"\b(?:{word})\b", text, re.IGNORECASE)
    ]


@pytest.mark.parametrize("page", [*PAGES, *REPORTS], ids=lambda page: page.name)
def test_a_page_uses_no_retired_word(page: Path) -> None:
    # What commands and errors print is looked at where it is written, in the package.
    text = re.sub(r"^```(?:text|console).*?^```", "", page.read_text(), flags=re.M | re.S)
    lines = text.split("\n")
    assert [(n, *hit) for n, line in enumerate(lines, start=1) for hit in found(line)] == []


@pytest.mark.parametrize("module", MODULES + BESIDE, ids=lambda p: str(p.relative_to(ROOT)))
def test_a_module_uses_no_retired_word(module: Path) -> None:
    lines = module.read_text().split("\n")
    assert [(n, *hit) for n, line in enumerate(lines, start=1) for hit in found(line)] == []


def test_the_names_of_tests_use_no_retired_word() -> None:
    names = [name for each in TESTS for name in re.findall(r"def (test_\w+)", each.read_text())]
    assert len(names) > 1000
    assert [(name, *hit) for name in names for hit in found(name.replace("_", " "))] == []


@pytest.mark.parametrize("module", MODULES, ids=lambda path: str(path.relative_to(ROOT)))
def test_a_module_docstring_has_at_most_eight_lines(module: Path) -> None:
    docstring = ast.get_docstring(ast.parse(module.read_text()))
    assert docstring, "a module says what its idea is"
    # The errors are shown as a tree.
    assert len(docstring.split("\n")) <= 8 or module.name == "errors.py"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_a_sentence_has_no_more_than_35_words(page: Path) -> None:
    long = [
        (line, len(WORD.findall(sentence)), sentence)
        for line, text in prose(page)
        for sentence in sentences(text)
        if len(WORD.findall(sentence)) > MOST_WORDS
        and not any(re.search(allowed, sentence) for allowed in LONG)
    ]
    assert long == []


BESIDES_GUIDES = {"api", "architecture", "design", "how-it-works", "index", "results"}
WITHOUT_CODE = {"comparison", "troubleshooting"}


@pytest.mark.parametrize("page", sorted((ROOT / "docs").glob("*.md")), ids=lambda page: page.name)
def test_a_guide_begins_with_what_the_reader_gets_and_then_shows_code(page: Path) -> None:
    if page.stem in BESIDES_GUIDES:
        pytest.skip("no guide")
    title, gets, *rest = page.read_text().split("\n\n")
    assert title.startswith("# ")
    assert gets.startswith("You get: ")
    assert page.stem in WITHOUT_CODE or any("```" in block for block in rest[:3])


def test_a_retired_word_and_a_long_sentence_are_found(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("# Title\n\n```python\nslab = 1\n```\n\n" + "- word " + "word " * 35 + "end.\n")
    ((_, title), (line, text)) = prose(page)
    assert (title, line) == ("# Title", 7)
    assert len(WORD.findall(sentences(text)[0])) == 37
    assert found("a slab, and what it LETS GO") == [("slab", "chunk cache"), ("LETS GO", "release")]
    assert found("propagates a gateway") == []
