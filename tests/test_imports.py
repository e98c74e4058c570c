"""Imports point one way, down the data flow, and importing costs and changes little."""

import ast
import importlib
import inspect
import pkgutil
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

import semrsm_jax

PACKAGE = Path(semrsm_jax.__file__).parent

# The data flow: a module imports only from its own level or from levels above it.
LEVELS = [
    {"_checks", "_extras", "_ids", "_layouts", "_narrowed", "_resources", "_rows"}
    | {"_selection", "_version"},
    {"_representations"},
    {"_affinity"},
    {"matching"},
    {"pairs"},
    {"_kernels", "_ladder"},
    {"_rsm"},
    {"comparison", "output_similarity"},
    {"_losses"},
    {"store"},
    {"engine"},
    {"retrieval", "exchange"},
    {"registry"},
    {"models", "features"},
    {"plotting", "demo"},
    {"reporting"},
    {"cli"},
    {"__init__", "__main__"},
]
PUBLIC = {f"semrsm_jax.{name}" for name in semrsm_jax.__all__}
LEVEL = {module: depth for depth, level in enumerate(LEVELS) for module in level}


def modules():
    return sorted(PACKAGE.rglob("*.py"))


def imports(path: Path):
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"relative import in {path}"
            if node.module == "semrsm_jax":
                yield from (f"semrsm_jax.{alias.name}" for alias in node.names)
            else:
                yield node.module


@pytest.mark.parametrize("path", modules(), ids=lambda p: str(p.relative_to(PACKAGE)))
def test_imports_point_down_the_data_flow(path):
    level = LEVEL[path.relative_to(PACKAGE).with_suffix("").parts[0]]
    for name in imports(path):
        parts = name.split(".")
        if parts[0] != "semrsm_jax":
            continue
        if len(parts) == 1:
            assert path.parent.name == "cli", f"{path} imports the whole package"
            continue
        if len(parts) == 2 and name in PUBLIC and path.parent.name == "cli":
            continue
        assert parts[1] in LEVEL, f"{path} imports {name}, which has no level"
        assert LEVEL[parts[1]] <= level, f"{path} imports {name}, which is further down"


@pytest.mark.parametrize("path", modules(), ids=lambda p: str(p.relative_to(PACKAGE)))
def test_underscore_modules_are_imported_by_their_own_package_only(path):
    package = path.parent.relative_to(PACKAGE.parent).parts
    for name in imports(path):
        parts = tuple(name.split("."))
        private = [n for n, part in enumerate(parts) if part.startswith("_")]
        if parts[0] == "semrsm_jax" and private:
            assert parts[: private[0]] == package[: private[0]], name


def test_no_name_of_a_package_hides_one_of_its_modules():
    for init in PACKAGE.rglob("__init__.py"):
        package = ".".join(init.parent.relative_to(PACKAGE.parent).parts)
        module = importlib.import_module(package)
        for result in pkgutil.iter_modules([str(init.parent)]):
            value = getattr(module, result.name, None)
            assert value is None or inspect.ismodule(value), f"{package}.{result.name}"


def test_each_class_name_stands_once_outside_models():
    names = Counter(
        node.name
        for path in modules()
        if "models" not in path.parts
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.ClassDef)
    )
    assert {name for name, count in names.items() if count > 1} == set()


def test_compilers_and_callbacks_are_reached_from_few_modules():
    def reaching(compiler):
        return {p.name for p in modules() if any(compiler in n for n in imports(p))}

    def naming(words):
        return [p.name for p in modules() if words in p.read_text()]

    assert reaching("numba") == {"_augment.py", "_scans.py"}
    assert reaching("llvmlite") == {"_scans.py"}
    assert naming("pure_callback(") == ["_host.py"]
    assert naming("pyplot") == []


def test_no_module_has_more_than_300_lines():
    folders = (PACKAGE, PACKAGE.parent / "experiments", PACKAGE.parent / "tests")
    paths = [path for folder in folders for path in folder.rglob("*.py")]
    long = [str(p) for p in paths if len(p.read_text().splitlines()) > 300]
    assert long == [] and len(paths) > 400


@pytest.mark.slow
def test_import_changes_no_jax_setting_and_leaves_solvers_and_plots_unloaded():
    code = (
        "import sys, jax; before = dict(jax.config.values); import semrsm_jax;"
        "assert before == dict(jax.config.values); import flax;"
        "print([m for m in ('numba', 'ortools', 'matplotlib', 'skimage', 'typer',"
        " 'bokeh', 'PIL') if m in sys.modules])"
    )
    command = [sys.executable, "-c", code]
    assert subprocess.check_output(command, text=True).strip() == "[]"
