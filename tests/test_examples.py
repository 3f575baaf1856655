"""The examples run, and the pages that quote them tell the truth."""

import importlib.util
import itertools
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest
from pages import blocks, run_page
from processes import run

ROOT = Path(__file__).parent.parent


def load(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, ROOT / "examples" / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


def run_example(name: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run an example as a script, in a process of its own."""
    script = str(ROOT / "examples" / f"{name}.py")
    start = "import runpy, warnings; warnings.simplefilter('default')"
    return run(f"{start}; runpy.run_path({script!r}, run_name='__main__')", *arguments)


@pytest.mark.slow
def test_digits_are_learned_alike_from_every_source(tmp_path: Path) -> None:
    done = run_example("train_digits", str(tmp_path))
    assert done.returncode == 0, done.stderr
    accuracies = [line.split()[-1] for line in done.stdout.splitlines() if line.endswith("%")]
    assert len(accuracies) == 12
    assert len(set(accuracies)) == 1
    assert float(accuracies[0].rstrip("%")) >= 95
    assert (tmp_path / "train_digits.png").stat().st_size > 10_000


def test_the_page_on_conversion_shows_what_the_example_prints() -> None:
    page = (ROOT / "docs" / "numpy-to-tensor.md").read_text()
    assert load("numpy_to_tensor").choices() in page


def test_the_speeds_of_conversion_are_measured() -> None:
    assert load("numpy_to_tensor").speeds().count(" us |") == 15


PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:.*shard-0.tar:pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_code_on_a_page_runs_from_top_to_bottom(page: Path, in_folder: Path) -> None:
    run_page(page)


NO_THREAD_OF_GLOO = """
names = [path.read_text() for path in Path("/proc/self/task").glob("*/comm")]
assert not [name for name in names if "gloo" in name], names
"""


@pytest.mark.skipif(sys.platform != "linux", reason="names of threads as Linux has them")
def test_the_script_for_ranks_ends_the_process_group(in_folder: Path) -> None:
    """Threads of gloo that outlive the script abort a rank now and then."""
    script, data = itertools.islice(blocks(ROOT / "docs" / "distributed.md"), 2)
    exec(data.code, {})
    ranks = {"RANK": "0", "LOCAL_RANK": "0", "WORLD_SIZE": "1"}
    rendezvous = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "0"}
    done = run(script.code + NO_THREAD_OF_GLOO, **rendezvous, **ranks)
    assert done.returncode == 0, done.stderr


def test_the_tour_runs(in_folder: Path) -> None:
    load("tour")


@pytest.mark.slow
@pytest.mark.parametrize("name", ["train_tokens", "train_episodes"])
def test_training_on_spans_reaches_its_goal(name: str) -> None:
    done = run_example(name)
    assert done.returncode == 0, done.stderr or done.stdout
