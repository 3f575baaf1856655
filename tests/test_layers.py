"""Imports run one way: from `cli` down to `arrays`, and what each folder may know."""

import ast
import functools
import subprocess
import sys
from pathlib import Path

import h5py
import numpy as np
import pytest

import npdata

ROOT = Path(npdata.__file__).parent
MODULES = {
    ".".join(("npdata", *path.relative_to(ROOT).with_suffix("").parts)).removesuffix(
        ".__init__"
    ): path
    for path in ROOT.rglob("*.py")
}
WITH_H5PY = ("npdata.cli.bench.target", "npdata.cli.convert.hdf5")
"""What npdata is compared with must not go through it, and npdata itself writes nothing."""
TORCH_FREE = (
    "arrays",
    "cli.cache",
    "cli.inspect",
    "cli.main",
    "dataset.arguments",
    "runtime",
    "sampling.order",
    "sampling.quality",
    "sampling.row_numbers",
    "sources",
)
"""Below these torch is imported by `runtime.lazy_torch`, when something of it is first used."""
ALLOWED = {
    "errors": (),
    "suggestions": (),
    "runtime": (),
    "arrays": ("runtime",),
    "sources": ("runtime", "arrays"),
    "sampling": ("runtime", "arrays"),
    "dataset": ("runtime", "arrays", "sources", "sampling"),
    "loading": ("runtime", "arrays", "sources", "sampling", "dataset"),
    "cli": ("runtime", "arrays", "sources", "sampling", "dataset", "loading"),
    "__main__": ("cli",),
}
"""What each folder of the package may import, besides itself and what all may."""
ALL_MAY = {"errors", "suggestions"}


@functools.cache
def imports(path: Path) -> frozenset[str]:
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names.add(node.module)
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
    return frozenset(names)


@pytest.mark.parametrize("module", MODULES)
def test_nothing_imports_the_package_root(module: str) -> None:
    tree = ast.parse(MODULES[module].read_text())
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module == "npdata":
            assert all(f"npdata.{alias.name}" in MODULES for alias in node.names)
        if isinstance(node, ast.Import):
            assert all(alias.name != "npdata" for alias in node.names)


@pytest.mark.parametrize("module", [m for m in MODULES if m != "npdata"])
def test_imports_run_downwards(module: str) -> None:
    folder = module.split(".")[1]
    needs = {name.split(".")[1] for name in imports(MODULES[module]) if name.startswith("npdata.")}
    assert needs <= {folder, *ALLOWED[folder], *ALL_MAY}


def test_the_root_holds_nothing_but_folders() -> None:
    assert {path.name for path in ROOT.iterdir() if path.is_file()} == {
        "__init__.py",
        "__main__.py",
        "errors.py",
        "py.typed",
        "suggestions.py",
    }
    folders = {path.name for path in ROOT.iterdir() if path.is_dir()} - {"__pycache__"}
    assert folders == ALLOWED.keys() - {*ALL_MAY, "__main__"}


def test_dir_shows_the_public_names_alone() -> None:
    assert sorted(dir(npdata)) == sorted(npdata.__all__)


@pytest.mark.parametrize("module", MODULES)
def test_imports_stand_at_the_top(module: str) -> None:
    for node in ast.walk(ast.parse(MODULES[module].read_text())):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            inner = [n for n in ast.walk(node) if isinstance(n, ast.Import | ast.ImportFrom)]
            assert not inner, node.name


@pytest.mark.parametrize("module", MODULES)
def test_h5py_is_known_in_the_hdf5_folder_only(module: str) -> None:
    if not module.startswith("npdata.sources.hdf5") and module not in WITH_H5PY:
        assert not any(name.split(".")[0] == "h5py" for name in imports(MODULES[module]))


@pytest.mark.parametrize("part", TORCH_FREE)
def test_what_looks_at_files_imports_no_torch(part: str) -> None:
    chosen = [m for m in MODULES if f"{m}.".startswith(f"npdata.{part}.")]
    assert chosen
    for module in chosen:
        for node in ast.parse(MODULES[module].read_text()).body:  # not those for type checkers
            names = [a.name for a in node.names] if isinstance(node, ast.Import) else []
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            assert not any(name.split(".")[0] == "torch" for name in names), module


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["--help"],
        ["inspect", "x.npy", "x.npz", "x.h5", "many"],
        ["cache", "."],
        ["bench", "-h"],
    ],
)
def test_a_command_without_tensors_imports_no_torch(tmp_path: Path, arguments: list[str]) -> None:
    x = np.arange(12.0).reshape(3, 4)
    np.save(tmp_path / "x.npy", np.asfortranarray(x))
    np.savez_compressed(tmp_path / "x.npz", x=x)
    with h5py.File(tmp_path / "x.h5", "w") as file:
        file["contiguous"] = x
        file.create_dataset("gzip", data=x, compression=1, shuffle=True, chunks=(1, 4))
        file["text"] = "word"
    (tmp_path / "many").mkdir()
    np.save(tmp_path / "many/a.npy", x)
    code = (
        "import sys, npdata; from npdata.cli.main import main\n"
        "try:\n    code = main(sys.argv[1:]) if sys.argv[1:] else 0\n"
        "except SystemExit as end:\n    code = end.code\n"
        "print(sorted({'torch', 'pandas', 'matplotlib'} & set(sys.modules))); sys.exit(code)"
    )
    command = [sys.executable, "-c", code, *arguments]
    run = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    expected = ["torch"] if arguments[:1] == ["bench"] else []
    assert run.stdout.splitlines()[-1] == str(expected)


def test_public_names_are_those_that_type_checkers_see() -> None:
    tree = ast.parse((ROOT / "__init__.py").read_text())
    blocks = [node for node in tree.body if isinstance(node, ast.If)]
    (block,) = [node for node in blocks if ast.unparse(node.test) == "TYPE_CHECKING"]
    seen = {
        alias.name: (node.module or "").removeprefix("npdata.")
        for node in block.body
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }
    assert seen == npdata._MODULES
    assert sorted([*seen, "errors"]) == sorted(npdata.__all__)


def test_there_is_no_cycle() -> None:
    graph = {m: imports(path) & MODULES.keys() - {m} for m, path in MODULES.items()}
    while leaves := [module for module, needs in graph.items() if not needs]:
        graph = {m: needs - set(leaves) for m, needs in graph.items() if m not in leaves}
    assert not graph


@pytest.mark.parametrize("module", MODULES)
def test_files_hold_one_noun(module: str) -> None:
    assert len(MODULES[module].read_text().splitlines()) <= 500
