"""Imports point one way, down the data flow, and importing costs and changes little."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import semrsm_jax

PACKAGE = Path(semrsm_jax.__file__).parent

# The data flow: a module imports only from its own level or from levels above it.
LEVELS = [
    {"_checks", "_resources", "_rows", "_selection", "_version"},
    {"representations"},
    {"affinity"},
    {"matching"},
    {"_pairs"},
    {"pair_statistics"},
    {"kernels", "ladder"},
    {"rsm"},
    {"comparison", "output_similarity"},
    {"losses"},
    {"store"},
    {"engine"},
    {"retrieval", "exchange"},
    {"models", "features"},
    {"plotting", "demo"},
    {"report"},
    {"cli"},
    {"__init__", "__main__"},
]
PUBLIC = {f"semrsm_jax.{name}" for name in semrsm_jax.__all__}
LEVEL = {module: depth for depth, level in enumerate(LEVELS) for module in level}


def modules():
    return sorted(PACKAGE.rglob("*.py"))


def top_level(path: Path) -> str:
    return path.relative_to(PACKAGE).with_suffix("").parts[0]


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
    level = LEVEL[top_level(path)]
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


def test_numba_and_callbacks_are_each_reached_from_one_module():
    numba = [p.name for p in modules() if any("numba" in n for n in imports(p))]
    callback = [p.name for p in modules() if "pure_callback(" in p.read_text()]
    assert numba == ["_augment.py"]
    assert callback == ["_host.py"]


def run(code: str) -> str:
    return subprocess.run(
        [sys.executable, "-c", code], check=True, capture_output=True, text=True
    ).stdout


def test_import_changes_no_global_jax_setting():
    code = (
        "import jax; before = dict(jax.config.values); import semrsm_jax;"
        "print(before == dict(jax.config.values))"
    )
    assert run(code).strip() == "True"


def test_import_leaves_solvers_and_plots_unloaded():
    code = (
        "import sys, jax, flax; import semrsm_jax;"
        "print([m for m in ('numba', 'ortools', 'matplotlib', 'skimage', 'typer',"
        " 'bokeh', 'PIL') if m in sys.modules])"
    )
    assert run(code).strip() == "[]"


def test_every_public_name_exists_and_is_documented():
    for name in semrsm_jax.__all__:
        assert getattr(semrsm_jax, name).__doc__, name
