"""Every public name says what it takes, gives and refuses, and where it comes from."""

import ast
import importlib
import pkgutil
import re
import sys
import textwrap
from pathlib import Path

import griffe
import pytest

import semrsm_jax

ROOT = Path(__file__).parent.parent

# A tuple of axes, or where to find them.
SHAPE = re.compile(r"\((?:[A-Za-z]\w*,|\.\.\.)[^()]*\)|scalar|likewise|as for `")
ARRAYS = re.compile(r"ArrayLike|\bArray\b|ndarray")
JAXTYPED = re.compile(r"\w+\[(Array|ndarray|np\.ndarray), ")
SOURCE = re.compile(
    r"Eq\. \d|Algorithm \d|App(endix|\.) [A-Z]|[Ss]ection \d|Fig\. \d|Table \d"
    r"|\b(18|19|20)\d\d\b"
)
CHECKS = re.compile(r"(_checks\.|\b_?check_)")

# Names that compute nothing of the literature, and so have no source to tell: what
# holds results or settings, reads and writes files, runs, draws, or converts.
WITHOUT_SOURCE = {
    "containers": "Interval Ladder Matching SoftMatching Neighbors OutputCorrelation "
    "PairStatistics PairedTest PermutationTest Difference ScoresAtK SearchResult "
    "MinibatchSums BoundUse Assignment Statistic Kernel Matcher Report MeanScore "
    "CorrelationInference SampleGroups NeighborFile PairInference RetrievalScores "
    "infer_each_pair holds_neighbors load_neighbors save_neighbors".split(),
    "arrays": "to_tokens center same_group same_sample".split(),
    "packages": ("demo", "engine", "exchange", "features", "plotting", "store"),
    "models": "VARIANTS Variant variant calibrate_batch_norm convert_checkpoint load "
    "load_weights save_weights locate resnet18 resnet34 resnet50 resnet101 BiTConfig "
    "CLIPSegConfig "
    "ConvNeXtV2Config ResNetConfig SAMConfig ViTConfig clip_vision_config".split(),
}


def packages():
    """The package and its public subpackages, each with an ``__all__``."""
    yield "semrsm_jax"
    for result in pkgutil.walk_packages(semrsm_jax.__path__, "semrsm_jax."):
        if result.ispkg and not re.search(r"\._|\.cli", result.name):
            yield result.name


def public_names():
    """Each public object once: its name, and the first package that exports it."""
    values = {}
    for package in packages():
        module = importlib.import_module(package)
        assert hasattr(module, "__all__"), f"{package} says not what is public"
        for name in module.__all__:
            values.setdefault((name, id(getattr(module, name))), (name, package))
    return sorted(pair for pair in values.values() if pair[0] != "__version__")


def needs_source(name: str, package: str) -> bool:
    if any(name in names for names in WITHOUT_SOURCE.values()):
        return False
    return package.removeprefix("semrsm_jax.") not in WITHOUT_SOURCE["packages"]


@pytest.fixture(scope="module")
def package():
    return griffe.load("semrsm_jax", docstring_parser="google")


def sections(member, kind):
    """The items of one kind of section, and whether there is such a section."""
    if member.docstring is None:
        return {}, False
    values = [s for s in member.docstring.parse("google") if s.kind.value == kind]
    items = [item for section in values for item in section.value]
    return {getattr(i, "name", str(n)): i for n, i in enumerate(items)}, bool(values)


def raises(function) -> bool:
    """Whether its own body raises, or calls the checks that do."""
    body = ast.parse(textwrap.dedent("\n".join(function.lines)))
    return any(
        (isinstance(node, ast.Raise) and node.exc is not None)
        or (isinstance(node, ast.Call) and CHECKS.match(ast.unparse(node.func)))
        for node in ast.walk(body)
    )


def shape_faults(items, described, what):
    for item in items:
        annotation = str(item.annotation or "")
        if not ARRAYS.search(annotation) or JAXTYPED.search(annotation):
            continue
        text = described[item.name].description if item.name in described else ""
        if not SHAPE.search(text):
            yield f"{what} {item.name} is an array, but its shape is not said"


def function_faults(function):
    parameters = [p for p in function.parameters if p.name not in ("self", "cls")]
    described, _ = sections(function, "parameters")
    names = {p.name.lstrip("*") for p in parameters}
    for name in sorted(names ^ {name.lstrip("*") for name in described}):
        yield f"Args does not fit the parameters: {name}"
    yield from shape_faults(parameters, described, "parameter")
    returned = str(function.returns)
    stated = any(sections(function, kind)[1] for kind in ("returns", "yields"))
    if returned != "None" and not stated:
        yield "no Returns"
    if ARRAYS.search(returned) and not JAXTYPED.search(returned):
        texts = [s.description for s in sections(function, "returns")[0].values()]
        if not SHAPE.search(" ".join(texts)):
            yield "an array is returned, but its shape is not said"
    if raises(function) and not sections(function, "raises")[1]:
        yield "it raises, but there is no Raises"


def class_faults(class_):
    described = sections(class_, "attributes")[0] | sections(class_, "parameters")[0]
    bases = " ".join(map(str, class_.bases))
    labels = {str(decorator.value) for decorator in class_.decorators}
    if "NamedTuple" in bases or any("dataclass" in label for label in labels):
        fields = [
            a
            for a in class_.attributes.values()
            if not a.name.startswith("_")
            and a.annotation is not None
            and "instance-attribute" in a.labels  # no ClassVar
            and "property" not in a.labels
        ]
        for field in fields:
            if field.name not in described:
                yield f"field {field.name} is not described"
        yield from shape_faults(fields, described, "field")
    elif "__init__" in class_.members:
        init = class_.members["__init__"]
        described |= sections(init, "parameters")[0]
        # What its own class methods make alone has no parameters for others.
        internal = init.docstring and init.docstring.value.startswith("Use `")
        for parameter in () if internal else init.parameters:
            if parameter.name != "self" and parameter.name not in described:
                yield f"parameter {parameter.name} is not described"
    for made in ("__init__", "__post_init__"):
        check = class_.members.get(made)
        if check is not None and raises(check):
            text = check.docstring.value if check.docstring else ""
            said = sections(class_, "raises")[1] or "Raises" in text
            if not said and "Raises:" not in class_.docstring.value:
                yield f"{made} raises, but there is no Raises"
    for member in class_.members.values():
        public = not member.name.startswith("_")
        if public and (member.is_function or "property" in member.labels):
            if not member.docstring:
                yield f"{member.name} has no docstring"


def faults(member, sourced: bool):
    """What the docstring of a public object leaves unsaid."""
    if not member.docstring or not member.docstring.value.strip():
        yield "no docstring"
        return
    if member.is_function:
        yield from function_faults(member)
    elif member.is_class:
        yield from class_faults(member)
    if sourced and not SOURCE.search(member.docstring.value):
        yield "no source: an equation, an appendix, or a paper with its year"


def definition(package, name: str, exported: str):
    """The public object where it is defined; `semrsm_jax.rsm` is a module too."""
    result = getattr(importlib.import_module(exported), name)
    if hasattr(result, "__qualname__"):
        path = f"{result.__module__}.{result.__qualname__}"
        return package[path.removeprefix("semrsm_jax.")]
    return package[f"{exported}.{name}".removeprefix("semrsm_jax.")].final_target


@pytest.mark.parametrize(("name", "exported"), public_names())
def test_docstring_is_complete(package, name, exported):
    member = definition(package, name, exported)
    assert list(faults(member, needs_source(name, exported))) == []


def test_what_needs_no_source_is_public():
    names = {name for name, _ in public_names()}
    groups = {kind: set(group) for kind, group in WITHOUT_SOURCE.items()}
    groups.pop("packages")
    assert set().union(*groups.values()) <= names
    assert {f"semrsm_jax.{p}" for p in WITHOUT_SOURCE["packages"]} <= set(packages())


FAULTY = '''
from typing import NamedTuple
from jaxtyping import Array, Float
from jax.typing import ArrayLike

def silent(x: ArrayLike) -> None: ...

def complete(x: ArrayLike, k: int) -> Float[Array, "N"]:
    """Eq. 3 of a paper.

    Args:
      x: of shape (N, C).
      k: how many.

    Returns:
      Numbers.

    Raises:
      ValueError: k is negative.
    """
    if k < 0:
        raise ValueError

def lacking(x: ArrayLike, k: int) -> Array:
    """A summary.

    Args:
      x: an array.
      other: not there.
    """
    _checks.finite("x", x)

class Pair(NamedTuple):
    """Two things, of 1988.

    Attributes:
      first: an array.
    """

    first: Array
    second: int

class Made:
    """Something made, Appendix B."""

    def __init__(self, size: int) -> None:
        if size < 0:
            raise ValueError

    def use(self) -> int: ...
'''


FAULTS = {
    "silent": ["no docstring"],
    "complete": [],
    "lacking": [
        "Args does not fit the parameters: k",
        "Args does not fit the parameters: other",
        "parameter x is an array, but its shape is not said",
        "no Returns",
        "an array is returned, but its shape is not said",
        "it raises, but there is no Raises",
        "no source: an equation, an appendix, or a paper with its year",
    ],
    "Pair": [
        "field second is not described",
        "field first is an array, but its shape is not said",
    ],
    "Made": [
        "parameter size is not described",
        "__init__ raises, but there is no Raises",
        "use has no docstring",
    ],
}


def test_faults_are_found(tmp_path):
    (tmp_path / "faulty.py").write_text(FAULTY)
    module = griffe.load("faulty", search_paths=[tmp_path], docstring_parser="google")
    named = {name: list(faults(module[name], sourced=True)) for name in FAULTS}
    assert named == FAULTS


def test_every_public_name_has_a_place_in_the_api_pages():
    pages = {p.name: p.read_text() for p in (ROOT / "docs" / "api").glob("*.md")}
    shown = set(re.findall(r"^::: (\S+)", "\n".join(pages.values()), re.MULTILINE))
    for package in packages():
        parts = package.split(".")
        if len(parts) == 2:
            assert package in shown, f"no page in docs/api shows {package}"
    listed = set(re.findall(r"\[`(\w+)`\]", pages["index.md"]))
    assert listed == set(semrsm_jax.__all__) - {"__version__"}
    # Where a submodule has a function's name, the function must be asked for.
    for name, package in public_names():
        if f"{package}.{name}" in sys.modules and package != "semrsm_jax":
            assert f"{package}.{name}.{name}" in shown, f"{package}.{name} is hidden"
