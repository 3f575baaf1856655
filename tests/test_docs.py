"""The built site: complete, searchable, without a broken link, and nothing from elsewhere."""

import inspect
import json
import re
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest

import npdata

ROOT = Path(__file__).parent.parent
DOCS = ROOT / "docs"
LOADS = {"img": "src", "script": "src", "link": "href", "source": "src", "iframe": "src"}


class Page(HTMLParser):
    """What a page links to, what it loads, and the places in it that a link can name."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.links: list[str] = []
        self.loads: list[str] = []
        self.places: set[str] = set()
        self.feed(text)

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        given = {name: value or "" for name, value in attributes}
        self.places |= {given[name] for name in ("id", "name") if name in given}
        if tag == "a" and "href" in given:
            self.links.append(given["href"])
        if tag in LOADS and given.get("rel") != "canonical" and LOADS[tag] in given:
            self.loads.append(given[LOADS[tag]])


@pytest.fixture(scope="module")
def pages(site: Path) -> dict[Path, Page]:
    return {path: Page(path.read_text()) for path in site.rglob("*.html")}


def broken(path: Path, pages: dict[Path, Page], links: list[str]) -> Iterator[str]:
    for link in links:
        parts = urlsplit(link)
        if parts.scheme or parts.netloc or path.name == "404.html":
            continue
        target = (path.parent / unquote(parts.path)).resolve() if parts.path else path
        target = target / "index.html" if target.is_dir() else target
        places = pages[target].places if target in pages else set()
        lost = parts.fragment and unquote(parts.fragment) not in places
        if lost or not target.exists():
            yield f"{path.name}: {link}"


def test_links_and_anchors_lead_somewhere(pages: dict[Path, Page]) -> None:
    assert len(pages) >= 15
    assert [each for path, page in pages.items() for each in broken(path, pages, page.links)] == []


def test_links_of_the_readme_lead_to_files() -> None:
    links = re.findall(r"\]\(([^)#]+)[^)]*\)", (ROOT / "README.md").read_text())
    assert links
    assert [link for link in links if "://" not in link and not (ROOT / link).exists()] == []


def test_pictures_scripts_and_styles_are_there(pages: dict[Path, Page]) -> None:
    assert [each for path, page in pages.items() for each in broken(path, pages, page.loads)] == []


def test_nothing_is_loaded_from_another_host(site: Path, pages: dict[Path, Page]) -> None:
    loads = [load for page in pages.values() for load in page.loads]
    assert [load for load in loads if urlsplit(load).netloc] == []
    styles = "".join(path.read_text() for path in site.rglob("*.css"))
    assert re.findall(r"(?:url\(|@import )[\"']?(?:https?:)?//[^)\"']*", styles) == []


def test_every_page_is_in_the_menu(site: Path, pages: dict[Path, Page]) -> None:
    menu = (DOCS.parent / "mkdocs.yml").read_text().split("nav:")[1]
    assert [page.name for page in DOCS.glob("*.md") if page.name not in menu] == []


def test_a_search_finds_the_page(site: Path) -> None:
    entries = json.loads((site / "search" / "search_index.json").read_text())["docs"]

    def found(word: str) -> set[str]:
        return {
            entry["location"].split(".html")[0]
            for entry in entries
            if word in f"{entry['title']} {entry['text']}".lower()
        }

    assert "distributed" in found("torchrun")
    assert "recipes" in found("sliding")
    assert "troubleshooting" in found("ancdata")
    assert "hdf5" in found("npdata_cache_bytes")
    assert {"index", "design", "performance"} <= {e["location"].split(".html")[0] for e in entries}


@pytest.mark.parametrize("name", npdata.__all__)
def test_every_public_name_is_in_the_reference(
    name: str, site: Path, pages: dict[Path, Page]
) -> None:
    assert f"npdata.{name}" in pages[site / "api.html"].places


@pytest.mark.parametrize("owner", ["NumpyDataset", "Loader", "BlockBatchSampler"])
def test_what_users_call_is_in_the_reference(
    owner: str, site: Path, pages: dict[Path, Page]
) -> None:
    inner = {"gathered", "only_source", "rows_in_memory", "takes_rng", "transforms", "with_fields"}
    inner |= {"subset", "batch_sampler", "changed_way", "numbers_rows"}
    kind = getattr(npdata, owner)
    public = {each for each in dir(kind) if not each.startswith("_")}
    own = {each for each in public if (found := getattr(kind, each)) and _is_of_npdata(found)}
    places = pages[site / "api.html"].places
    assert {each for each in own - inner if f"npdata.{owner}.{each}" not in places} == set()


def _is_of_npdata(found: object) -> bool:
    function = found.fget if isinstance(found, property) else found
    return str(getattr(function, "__module__", "")).startswith("npdata")


ERRORS = [
    name
    for name, kind in vars(npdata.errors).items()
    if inspect.isclass(kind) and issubclass(kind, (npdata.errors.NpdataError, Warning))
]


@pytest.mark.parametrize("name", ERRORS)
def test_every_error_is_explained(name: str, site: Path, pages: dict[Path, Page]) -> None:
    page = (DOCS / "troubleshooting.md").read_text()
    section = page.partition(f"### {name}\n")[2].partition("\n## ")[0].partition("\n### ")[0]
    bases = {base.__name__ for base in getattr(npdata.errors, name).__bases__} - {"NpdataError"}
    assert section
    assert name == "NpdataError" or all(base in section for base in bases - {"Exception"})
    assert name == "NpdataError" or f"```text\n{name}: " in section or name == "ForkError"
    assert f"npdata.errors.{name}" in pages[site / "api.html"].places
