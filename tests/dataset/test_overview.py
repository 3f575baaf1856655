"""What a prompt and a notebook show: one line for each thing, a table, and a bar."""

import html
import re
import sys
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import npdata
from npdata import Loader, NumpyDataset


class Cells(HTMLParser):
    """The texts of a table; whatever is left open is an error."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.texts: list[str] = []
        self.open: list[str] = []
        self.feed(text)
        assert self.open == []

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.texts.append(data)


@pytest.fixture
def ds() -> NumpyDataset:
    return NumpyDataset(image=np.zeros((6, 2, 3), np.float32), label=np.arange(6))


def test_names_shapes_and_dtypes_are_given(ds: NumpyDataset) -> None:
    assert ds.names == ("image", "label")
    assert dict(ds.shapes) == {"image": (6, 2, 3), "label": (6,)}
    assert dict(ds.dtypes) == {"image": torch.float32, "label": torch.int64}
    plain = NumpyDataset(np.zeros((4, 2)), np.array(list("abcd")), dtype=["float32", str])
    assert plain.names == (0, 1)
    assert plain.dtypes[0] == torch.float32
    assert plain.dtypes[1] is None


def test_each_thing_is_one_line_at_a_prompt(ds: NumpyDataset) -> None:
    loader = Loader(ds, 2)
    list(loader)
    for thing in (ds, ds.describe(), loader, loader.stats(), loader.describe()):
        assert "\n" not in repr(thing)
        assert len(repr(thing)) < 200
    assert "image: (6, 2, 3) float32" in repr(ds)
    assert "image: (6, 2, 3) float32 memory" in repr(ds.describe())
    assert "3 batches, 6 samples" in repr(loader.stats())
    many = NumpyDataset({f"f{k}": np.zeros(2) for k in range(100)})
    assert "and 92 more" in repr(many)
    assert "and 92 more" in repr(many.describe())


def test_a_notebook_shows_what_print_shows(ds: NumpyDataset) -> None:
    loader = Loader(ds, 2)
    list(loader)
    assert {"image", "(6, 2, 3)", "float32", "torch.float32"} <= set(Cells(ds._repr_html_()).texts)
    described = Cells(ds.describe()._repr_html_()).texts
    for line in str(ds.describe()).splitlines()[1:]:
        assert line.strip().partition("  ")[2].strip() in described or line in described
    assert {"batches", "3", "samples", "6"} <= set(Cells(loader.stats()._repr_html_()).texts)
    assert repr(ds) in Cells(loader._repr_html_()).texts
    assert {"mean", "2.5"} <= set(Cells(ds.statistics()._repr_html_()).texts)


def test_sources_fields_and_conversions_say_what_they_are(ds: NumpyDataset) -> None:
    assert repr(ds.sources[0]).endswith("Source(array in memory: (6, 2, 3) float32, memory)")
    assert repr(ds.fields["image"]).startswith("RowsField('image', ")
    assert repr(npdata.explain(np.zeros(3))).startswith("<Conversion: view as torch.float64")
    tokens = npdata.ragged(np.arange(9), lengths=[4, 5])
    assert repr(tokens).startswith("SpansSource(")


def test_a_table_begins_text_at_the_left_and_ends_numbers_at_the_right(ds: NumpyDataset) -> None:
    left = ' style="text-align: left"'
    text = ds.statistics()._repr_html_()
    assert f"<td{left}>image</td><td>36</td>" in text
    assert f"<th{left}>field</th><th>count</th>" in text


def test_names_of_fields_and_files_are_escaped(tmp_path: Path) -> None:
    np.save(tmp_path / "<b>.npy", np.zeros(2))
    ds = NumpyDataset({"<i>": tmp_path / "<b>.npy"})
    text = ds._repr_html_() + ds.describe()._repr_html_()
    assert "<i>" not in text
    assert "<b>" not in text
    assert html.escape("<i>") in text


def test_a_notebook_needs_no_widgets_for_a_bar(
    ds: NumpyDataset, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("IPython")
    from IPython.core.interactiveshell import InteractiveShell

    class Notebook(InteractiveShell):
        kernel: Any = object()

    Notebook.instance()
    monkeypatch.setitem(sys.modules, "ipywidgets", None)
    try:
        list(Loader(ds, 2, progress=True))
        ds.statistics(progress=True)
    finally:
        Notebook.clear_instance()
    drawn = capsys.readouterr().err
    assert "epoch 0: 0/3 |" in drawn
    assert re.search(r"epoch 0: 3/3 .*GB/s", drawn)
    assert "statistics: " in drawn
