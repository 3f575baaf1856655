"""The benchmarks: who gives other rows is not timed, and what is shown is what was measured."""

import inspect
import re
import sys
import xml.etree.ElementTree as ElementTree
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from processes import run

import benchmarks.__main__ as run_of_all
from benchmarks import (
    batch_size,
    before_after,
    beside_peers,
    chunks,
    defaults,
    field_statistics,
    habits,
    large_batches,
    path,
    resident,
    row_size,
    rows,
    small_batches,
    sources,
    spans,
)
from benchmarks.against import compare_peers, convert
from benchmarks.charts import draw_all, place_text
from benchmarks.harness import Bench, UnavailableError, imported
from benchmarks.peers import PEERS, installed
from benchmarks.peers.bare_gather import PEER as BARE
from benchmarks.peers.peer import Data, Epoch, Peer, shuffled
from benchmarks.questions import QUESTIONS
from benchmarks.report import (
    Chart,
    Column,
    Measured,
    Ratio,
    Report,
    Section,
    Table,
    from_json,
    measured,
    repeated,
    with_section,
)
from benchmarks.timing import Timing, compare, in_turns
from npdata.cli.bench.candidate import Candidate, Pass, RowsDifferError

ROOT = Path(__file__).parent.parent


@pytest.fixture
def data(tmp_path: Path) -> Data:
    return Data(folder=tmp_path / "data", rows=300, width=5).write(hdf5=True)


def peer_that(change: Callable[[Epoch], Any], *, own_order: bool = False) -> Peer:
    """Give a peer that reads another epoch than it was told."""

    def batches(maps: Any, epoch: Epoch) -> Iterator[Any]:
        return BARE.batches(maps, change(epoch))

    return replace(BARE, name="changed", batches=batches, own_order=own_order)


def with_order(order: Callable[[np.ndarray], np.ndarray]) -> Callable[[Epoch], Epoch]:
    return lambda epoch: Epoch(order=order(epoch.order), batch=epoch.batch)


def test_a_peer_that_gives_the_rows_in_another_order_is_not_timed(data: Data) -> None:
    other = peer_that(with_order(lambda order: np.roll(order, 1)))
    with pytest.raises(RowsDifferError, match="changed gives other rows than bare gather"):
        compare_peers([BARE, other], data, shuffled(data, batch=32), rounds=1)


def test_a_peer_with_an_order_of_its_own_may_give_any_order(data: Data) -> None:
    other = peer_that(with_order(lambda order: np.roll(order, 1)), own_order=True)
    timings = compare_peers([BARE, other], data, shuffled(data, batch=32), rounds=2)
    assert [len(timing.passes) for timing in timings.values()] == [2, 2]


@pytest.mark.parametrize(
    ("order", "message"),
    [
        (lambda order: order[1:], "changed gives 299 rows, bare gather gives 300"),
        (lambda order: np.r_[order[:-1], order[0]], "other rows .* of 300, sorted, differ"),
    ],
    ids=["one left out", "one twice"],
)
def test_but_not_another_set_of_rows(
    data: Data, order: Callable[[np.ndarray], np.ndarray], message: str
) -> None:
    other = peer_that(with_order(order), own_order=True)
    with pytest.raises(RowsDifferError, match=message):
        compare_peers([BARE, other], data, shuffled(data, batch=32), rounds=1)


def test_nor_rows_with_a_field_of_another_row(data: Data) -> None:
    def batches(maps: Any, epoch: Epoch) -> Iterator[Any]:
        for x, y in BARE.batches(maps, epoch):
            yield x, torch.roll(y, 1)

    other = replace(BARE, name="mixed", batches=batches, own_order=True)
    with pytest.raises(RowsDifferError, match="mixed gives other rows"):
        compare_peers([BARE, other], data, shuffled(data, batch=32), rounds=1)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("name", PEERS)
def test_every_peer_gives_the_rows(data: Data, name: str, workers: int) -> None:
    peers, skipped = installed((name,))
    if skipped:
        pytest.skip(skipped[0])
    (peer,) = peers
    if not peer.takes(workers) or not BARE.takes(0):
        pytest.skip(f"{peer.name} has no {workers} workers")
    convert(peers, data)
    bare = replace(BARE, name="expected", takes=lambda workers: True)
    timings = compare_peers([bare, peer], data, shuffled(data, batch=32, workers=workers), rounds=1)
    assert timings[peer.name].passes[0].samples == 300
    assert peer.version


def test_a_peer_that_is_not_installed_is_left_out_with_a_line(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "torchdata", None)
    monkeypatch.delitem(sys.modules, "benchmarks.peers.torchdata_nodes", raising=False)
    peers, skipped = installed(("torchdata_nodes", "bare_gather"))
    assert [peer.name for peer in peers] == ["bare gather"]
    assert skipped == ["torchdata_nodes left out: no torchdata; pip install 'npdata[bench]'"]
    with pytest.raises(ModuleNotFoundError):
        installed(("misspelt",))


@pytest.mark.slow
def test_small_runs_of_the_questions_give_sections_that_can_be_drawn(tmp_path: Path) -> None:
    here = ("bare_gather", "npdata_loader", "tensor_dataset")
    bench = Bench(folder=tmp_path, quick=True)
    sections = [
        *before_after.run(bench, rows=600),
        *beside_peers.run(bench, rows=600, names=here),
        *row_size.run(bench, sizes=(8, 64), names=here, total=4096),
        *batch_size.run(bench, rows=512, names=here),
        *rows.run(bench, counts=(1000, 3000)),
        *sources.run(bench, rows=600),
        *chunks.run(bench, sizes=(4, 16), rows=600),
        *spans.run(bench, share=1e-3),
        *resident.run(bench, rows=600),
        *path.run(bench, rows=path.ROWS),
        *defaults.run(bench, rows=2048),
        *small_batches.run(bench, rows=2048),
        *large_batches.run(bench, nbytes=1 << 20, widths=(128,)),
        *habits.run(bench, rows=1000, files=40),
        *field_statistics.run(bench, nbytes=16 << 20),
    ]
    report = report_of(*sections)
    assert len({section.name for section in sections}) == len(sections)
    paths = draw_all(report, tmp_path / "img")
    assert [path.name for path in paths] == [c.file for s in sections for c in s.charts]
    assert from_json(report.json()) == report
    for section in sections:
        assert section.table is not None
        assert f"## {section.title}" in report.markdown()


@pytest.fixture
def run_aside(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Let a whole run write here."""
    monkeypatch.setattr(run_of_all, "ROOT", tmp_path)
    monkeypatch.setattr(run_of_all, "RESULTS", tmp_path / "RESULTS.md")
    monkeypatch.setattr(run_of_all, "JSON", tmp_path / "results.json")
    monkeypatch.setattr(sys, "argv", ["benchmarks"])
    (tmp_path / "README.md").write_text("as it was")


@pytest.mark.usefixtures("run_aside")
def test_what_this_machine_cannot_answer_stays_as_an_earlier_run_measured_it(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    machines = ["one GPU"]

    def answer(name: str, bench: Bench) -> list[Section]:
        if machines == ["no GPU"]:
            raise UnavailableError("no GPU")
        return [replace(SPEED, name="gpu"), replace(SPEED, name="gpu-sparse")]

    monkeypatch.setattr(run_of_all, "answer", answer)
    monkeypatch.setattr(run_of_all, "QUESTIONS", ("gpu",))
    monkeypatch.setattr(run_of_all, "machine", lambda: machines[0])
    assert run_of_all.main() == 0
    machines[0] = "no GPU"
    for _ in range(2):
        assert run_of_all.main() == 0
    report = from_json((tmp_path / "results.json").read_text())
    assert [section.name for section in report.sections] == ["gpu", "gpu-sparse"]
    for section in report.sections:
        assert section.note == f"{SPEED.note} Measured in an earlier run, on one GPU."


@pytest.mark.usefixtures("run_aside")
def test_a_question_that_fails_takes_no_other_with_it(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def answer(name: str, bench: Bench) -> list[Section]:
        if name == "bad":
            raise RowsDifferError("b gives other rows than a")
        if name == "gone":
            raise UnavailableError("no GPU")
        return [SPEED]

    monkeypatch.setattr(run_of_all, "answer", answer)
    monkeypatch.setattr(run_of_all, "QUESTIONS", ("bad", "gone", "good"))
    assert run_of_all.main() == 1
    assert "failed: bad: RowsDifferError: b gives other rows than a" in capsys.readouterr().err
    report = from_json((tmp_path / "results.json").read_text())
    assert report.sections == (SPEED,)
    assert report.failed == ("bad: RowsDifferError: b gives other rows than a",)
    text = (tmp_path / "RESULTS.md").read_text()
    assert text == report.markdown()
    assert "- gone left out: no GPU\n\n- **failed**: bad: RowsDifferError: b gives" in text
    assert (tmp_path / "docs" / "img" / "a.svg").exists()
    assert (tmp_path / "README.md").read_text() == "as it was"


@pytest.mark.parametrize("name", QUESTIONS)
def test_every_question_has_a_module_that_answers_it(name: str) -> None:
    try:
        assert callable(imported(f"benchmarks.{QUESTIONS[name]}").run)
    except UnavailableError as error:
        pytest.skip(str(error))


def test_rows_that_are_no_rows_of_the_file_are_found(tmp_path: Path) -> None:
    rows.write(tmp_path / "rows.npy", 3000)
    np.save(tmp_path / "other.npy", np.arange(3000, dtype="<u4")[::-1])
    (candidate, _), *_ = rows.entered(tmp_path / "other.npy", 3000)
    (_, expected), *_ = rows.entered(tmp_path / "rows.npy", 3000)
    with pytest.raises(RowsDifferError, match="other rows in batch 0"):
        rows.check(candidate, expected)


PRIVATE = """
import os, sys
import numpy as np
from benchmarks.memory import private

np.save(sys.argv[1], np.ones(1 << 23))
before = private(os.getpid())
mapped = np.load(sys.argv[1], mmap_mode="r")
assert mapped.sum() == 1 << 23
print(private(os.getpid()) - before)
held = np.array(mapped)
print(private(os.getpid()) - before)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="memory as Linux tells it")
def test_memory_is_that_of_the_process_and_not_of_the_page_cache(on_disk: Path) -> None:
    # In a process of its own: this one may have freed memory that an array gets again.
    found = run(PRIVATE, str(on_disk / "x.npy"))
    assert found.returncode == 0, found.stderr
    mapped, copied = map(int, found.stdout.split())
    assert mapped < 32 << 20
    assert 60 << 20 < copied < 96 << 20


numbers = st.floats(allow_nan=False, allow_infinity=False)
texts = st.text("ab \"'\\|/\n\t\0é\u2028😀", max_size=10)
figures = st.builds(Measured, median=numbers, low=numbers, high=numbers)
cells = st.one_of(st.none(), texts, numbers, figures)
tables = st.integers(1, 4).flatmap(
    lambda width: st.builds(
        Table,
        columns=st.tuples(*[st.builds(Column, name=texts)] * width),
        rows=st.lists(st.tuples(*[cells] * width), max_size=3).map(tuple),
    )
)
sections_ = st.builds(
    Section,
    name=texts,
    title=texts,
    note=texts,
    table=st.none() | tables,
    ratios=st.lists(st.builds(Ratio, what=texts, value=numbers, goal=st.none() | numbers)).map(
        tuple
    ),
    charts=st.just((Chart(kind="bars", file="a.svg", x="x", y="y", series=("a", "b")),)),
)


def report_of(*sections: Section) -> Report:
    return Report(machine="m", versions={"a": "1"}, seconds=60, skipped=("b",), sections=sections)


@given(st.lists(sections_, max_size=3))
def test_a_report_comes_back_from_json_as_it_was(sections: list[Section]) -> None:
    report = report_of(*sections)
    assert from_json(report.json()) == report


SPEED = Section(
    name="speed",
    title="Speed",
    table=Table(
        columns=(Column(name=""), Column(name="rows/s", format=",.0f")),
        rows=(("ours", Measured(median=2000, low=1900, high=2100)), ("theirs", None)),
    ),
    ratios=(
        Ratio(what="over theirs", value=2.5, goal=2),
        Ratio(what="time over theirs", value=2.5, goal=2, most=True),
    ),
    charts=(Chart(kind="bars", file="a.svg", x="", y="rows/s", series=("rows/s",)),),
)


def test_a_section_as_markdown() -> None:
    assert SPEED.markdown("img") == (
        "## Speed\n\n"
        "|  | rows/s |\n|---|---:|\n| ours | 2,000 ±5% |\n| theirs | - |\n\n"
        "- over theirs: **2.5** (goal: at least 2, reached)\n"
        "- time over theirs: **2.5** (goal: at most 2, missed)\n\n"
        "![Speed: rows/s](img/a.svg)"
    )


def rates_of(**rates: float) -> Section:
    """A section with a bare rate of ±2 %, and others of ±5 %."""
    figures = {
        name: measured([rate * (1 - part), rate, rate * (1 + part)])
        for name, rate in rates.items()
        for part in [0.02 if name == "bare" else 0.05]
    }
    table = replace(SPEED.table, rows=tuple(figures.items()))
    return replace(SPEED, table=table)


def test_a_part_of_the_run_is_compared_over_the_bare_rate_of_each_run() -> None:
    before = rates_of(bare=4000, same=2000, faster=1000, gone=5)
    now = rates_of(bare=2000, same=1130, faster=1000, new=5)
    compared = repeated(before, now, "bare")
    assert "which was 0.50 of README's: 1 of 2 are within" in compared.note
    assert [(row[0], row[-1]) for row in compared.table.rows] == [
        ("same, rows/s", "yes"),
        ("faster, rows/s", "no: 2.00 of it"),
    ]
    assert "| same, rows/s | 0.5 ±7% | 0.565 ±7% | yes |" in compared.markdown("")


@pytest.mark.parametrize("now", [rates_of(same=1), replace(SPEED, table=None), rates_of(bare=1)])
def test_what_cannot_be_compared_is_an_error(now: Section) -> None:
    with pytest.raises(ValueError, match="no rates to compare"):
        repeated(rates_of(same=2), now, "bare")


@given(factor=st.floats(0.01, 100), rate=st.floats(1, 1e7))
def test_a_machine_of_another_speed_gives_the_same_ratios(factor: float, rate: float) -> None:
    rows = repeated(
        rates_of(bare=1e6, ours=rate), rates_of(bare=1e6 * factor, ours=rate * factor), "bare"
    ).table.rows
    assert rows[0][-1] == "yes"


def test_the_median_and_the_range() -> None:
    assert measured([3, 1, 2]) == Measured(median=2, low=1, high=3)
    assert measured([4, 1, 2, 3]) == Measured(median=2.5, low=1, high=4)


def test_charts_are_pictures_and_the_same_each_time(tmp_path: Path) -> None:
    table = Table(
        columns=(Column(name="x"), Column(name="npdata"), Column(name="other")),
        rows=((1.0, 2.0, None), (10.0, Measured(median=3, low=2, high=4), 1.0)),
    )
    line = Chart(kind="lines", file="b.svg", x="x", y="y", series=("npdata", "other"))
    report = report_of(SPEED, replace(SPEED, name="b", table=table, charts=(line,)))
    first, second = (
        [path.read_bytes() for path in draw_all(report, tmp_path / name)] for name in "ab"
    )
    assert first == second
    for picture in first:
        assert ElementTree.fromstring(picture).tag.endswith("svg")


def test_powers_of_two_are_written_as_such() -> None:
    places = [place_text(place) for place in (8, 4096, 32_768, 1 << 20, 65_535, 10**6, 10**9)]
    assert places == ["8", "4,096", "32 Ki", "1 Mi", "65.5k", "1M", "1G"]


def test_a_chart_of_texts_is_refused(tmp_path: Path) -> None:
    table = replace(SPEED.table, rows=(("ours", "fast"),))
    with pytest.raises(TypeError, match="a chart is drawn of numbers, got 'fast'"):
        draw_all(report_of(replace(SPEED, table=table)), tmp_path)


def test_readme_gets_the_note_the_table_and_the_chart_between_its_marks() -> None:
    section = replace(SPEED, note="Measured.")
    shown = with_section("a\n<!-- speed -->\nold\n<!-- /speed -->\nz\n", "speed", section, "img")
    assert shown == (
        "a\n<!-- speed -->\nMeasured.\n\n"
        "|  | rows/s |\n|---|---:|\n| ours | 2,000 ±5% |\n| theirs | - |\n\n"
        "![Speed: rows/s](img/a.svg)\n<!-- /speed -->\nz\n"
    )
    assert with_section(shown, "speed", section, "img") == shown


def test_readme_shows_the_class_that_is_measured() -> None:
    _, shown = inspect.getsource(before_after.Rows).split("\n", 1)
    assert f"class Rows(Dataset):\n{shown}\n" in (ROOT / "README.md").read_text()


def test_readme_says_what_each_line_of_its_table_is() -> None:
    readme = (ROOT / "README.md").read_text()
    names = [str(row[0]) for row in from_json(RESULTS.read_text()).section("peers").table.rows]
    explained = re.findall(r"\*\*(.+?)\*\*", readme.split("What the lines are")[1])
    for name in names:
        assert any(name.startswith(each) for each in explained), name


RESULTS = ROOT / "benchmarks" / "results.json"


@pytest.mark.skipif(not RESULTS.exists(), reason="nothing was measured yet: make bench")
def test_what_is_shown_is_what_was_measured() -> None:
    report = from_json(RESULTS.read_text())
    readme = (ROOT / "README.md").read_text()
    for mark, name in run_of_all.MARKS.items():
        assert readme == with_section(readme, mark, report.section(name))
    assert (ROOT / "benchmarks" / "RESULTS.md").read_text() == report.markdown()
    for section in report.sections:
        for chart in section.charts:
            assert (ROOT / "docs" / "img" / chart.file).exists()


X = torch.arange(24).reshape(4, 6)


def candidate(*batches: Any, name: str = "it") -> Candidate:
    return Candidate(name=name, batches=lambda: iter(batches))


def test_nothing_is_timed_before_the_rows_agree() -> None:
    with pytest.raises(RowsDifferError):
        compare([candidate(X, name="one"), candidate(X + 1, name="two")])


def test_candidates_take_turns() -> None:
    turns: list[str] = []

    def named(name: str) -> Candidate:
        return Candidate(name=name, batches=lambda: (turns.append(name) or X for _ in range(1)))

    in_turns([named(name) for name in "abc"], rounds=2)
    assert turns == list("abcabc")


def test_the_figures_are_those_of_the_median_pass() -> None:
    passes = [
        Pass(samples=8, seconds=seconds, first=seconds / 4, first_samples=8)
        for seconds in (1.0, 4.0, 2.0)
    ]
    timing = Timing(name="it", passes=tuple(passes))
    assert (timing.median, timing.rate, timing.first) == (2.0, 4.0, 0.5)
    assert timing.spread == pytest.approx((8 - 2) / 2 / 4)


def test_comparing_gives_every_name_its_passes() -> None:
    found = compare([candidate(X, name="a"), candidate(X.clone(), name="b")], rounds=3)
    assert {name: len(timing.passes) for name, timing in found.items()} == {"a": 3, "b": 3}
    assert np.isfinite(found["a"].median)
