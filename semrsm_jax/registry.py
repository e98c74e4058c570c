"""The table of algorithms: the name, the frozen dataclass and the help text of each.

The command line takes its options from it, reports and experiments rebuild from it what
a manifest describes. A line here makes a matcher or a kernel known to all of them:

    MATCHERS["by-norm"] = Entry(ByNorm)
"""

import dataclasses
import inspect
import re
import types
import typing
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

from semrsm_jax._kernels import RBF, Cosine, Linear
from semrsm_jax.comparison import (
    CKA,
    CKNNA,
    HSIC,
    PWCCA,
    RSA,
    SVCCA,
    AngularShape,
    Jaccard,
    LinearPredictivity,
    MutualKNN,
    Procrustes,
)
from semrsm_jax.matching import (
    BatchOptimal,
    CircularShift,
    DualBound,
    Exact,
    Greedy,
    Identity,
    Sinkhorn,
    StraightThrough,
    TopKGreedy,
)
from semrsm_jax.matching.assignment import SOLVERS
from semrsm_jax.retrieval import VLAD, AveragePooling, ClassToken, WhitenedPooling

__all__ = [
    "BASELINES",
    "BOUNDS",
    "KERNELS",
    "MATCHERS",
    "MEASURES",
    "SOLVERS",
    "Entry",
    "Setting",
    "label",
    "rebuild",
]


class Setting(NamedTuple):
    """A field of an algorithm's dataclass.

    Attributes:
      name: of the field.
      types: of its values, None left out: ``(int,)``, ``(float, str)``, or, of a pair
        such as a grid, ``(tuple[int, int],)``.
      default: `dataclasses.MISSING` where it has to be given.
      help: what the docstring of the class says about it.
    """

    name: str
    types: tuple[Any, ...]
    default: Any
    help: str

    @property
    def required(self) -> bool:
        """Whether it has to be given."""
        return self.default is dataclasses.MISSING


@dataclass(frozen=True)
class Entry:
    """An algorithm of the table.

    Attributes:
      cls: a frozen dataclass, whose docstring describes each field under "Attributes".
      hidden: fields that the command line leaves at their defaults.
      in_shell: whether the command line offers it.
    """

    cls: type[Any]
    hidden: tuple[str, ...] = ()
    in_shell: bool = True

    @property
    def help(self) -> str:
        """The first line of the docstring."""
        return (inspect.getdoc(self.cls) or "").partition("\n")[0]

    @cached_property
    def settings(self) -> tuple[Setting, ...]:
        """The fields, in order; those that are hidden left out."""
        hints, texts = typing.get_type_hints(self.cls), _attribute_texts(self.cls)
        return tuple(
            Setting(
                field.name,
                _types(hints[field.name]),
                field.default,
                texts.get(field.name, ""),
            )
            for field in dataclasses.fields(self.cls)
            if field.name not in self.hidden
        )


# By the name that the command line gives them.
MATCHERS: dict[str, Entry] = {
    "exact": Entry(Exact),
    "batch-optimal": Entry(BatchOptimal),
    "topk-greedy": Entry(TopKGreedy),
    "greedy": Entry(Greedy),
    "circular-shift": Entry(CircularShift),
    "identity": Entry(Identity),
    "sinkhorn": Entry(Sinkhorn, hidden=("implicit_diff", "block")),
    "straight-through": Entry(StraightThrough, in_shell=False),  # gradients alone
}
KERNELS: dict[str, Entry] = {
    "linear": Entry(Linear),
    "cosine": Entry(Cosine),
    "rbf": Entry(RBF),
}
BOUNDS: dict[str, Entry] = {"dual": Entry(DualBound)}
BASELINES: dict[str, Entry] = {
    "average-pooling": Entry(AveragePooling),
    "class-token": Entry(ClassToken),
    "whitened-pooling": Entry(WhitenedPooling),
    "vlad": Entry(VLAD),
}

# Of two RSMs over the same samples, or of features where the class states it.
MEASURES: dict[str, Entry] = {
    "cka": Entry(CKA),
    "hsic": Entry(HSIC),
    "rsa": Entry(RSA),
    "mutual-knn": Entry(MutualKNN),
    "jaccard": Entry(Jaccard),
    "cknna": Entry(CKNNA),
    "procrustes": Entry(Procrustes),
    "angular-shape": Entry(AngularShape),
    "svcca": Entry(SVCCA),
    "pwcca": Entry(PWCCA),
    "linear-predictivity": Entry(LinearPredictivity),
}


def rebuild(description: Mapping[str, Any] | None) -> Any:
    """The matcher, kernel, bound or baseline that a manifest describes.

    Args:
      description: the name of the class and the settings, as
        `semrsm_jax.store.described` gives them, or as JSON gives those back.

    Returns:
      An instance that equals the one described; None where there is no description, or
      the class of it or of one of its parts is not in the table.

    Raises:
      TypeError: a setting is not one of the class.
      ValueError: a setting is out of its range.
    """
    if not description or "repr" in description:
        return None
    for _, entry in _entries():
        if entry.cls.__name__ == description["name"]:
            settings = {k: v for k, v in description.items() if k != "name"}
            values = {k: _value(v) for k, v in settings.items()}
            unknown = any(values[k] is None and settings[k] is not None for k in values)
            return None if unknown else entry.cls(**values)
    return None


def label(algorithm: Any) -> str:
    """An algorithm in a few words, for legends and reports.

    Args:
      algorithm: a matcher, kernel, bound, baseline or measure; one that is not in the
        table is given by its `repr`.

    Returns:
      Its name in the table and those settings that differ from their defaults.

    Examples:
      >>> from semrsm_jax import BatchOptimal
      >>> from semrsm_jax.registry import label
      >>> label(BatchOptimal(window=256, sweeps=4))
      'batch-optimal (window 256, sweeps 4)'
    """
    for name, entry in _entries():
        if entry.cls is type(algorithm):
            return name + _settings_text(algorithm)
    return repr(algorithm)


def _entries() -> Iterator[tuple[str, Entry]]:
    for table in (MATCHERS, KERNELS, BOUNDS, BASELINES, MEASURES):
        yield from table.items()


def _settings_text(algorithm: Any) -> str:
    values = [(f, getattr(algorithm, f.name)) for f in dataclasses.fields(algorithm)]
    parts = [f"{f.name} {_shown(value)}" for f, value in values if value != f.default]
    return f" ({', '.join(parts)})".replace("_", " ") if parts else ""


def _shown(value: Any) -> str:
    return label(value) if dataclasses.is_dataclass(value) else str(value)


def _value(value: Any) -> Any:
    """A setting as JSON gives it back: a tuple as a list, an algorithm as a mapping."""
    if isinstance(value, Mapping):
        return rebuild(value)
    return tuple(value) if isinstance(value, list) else value


def _types(hint: Any) -> tuple[Any, ...]:
    union = typing.get_origin(hint) in (typing.Union, types.UnionType)
    parts = typing.get_args(hint) if union else (hint,)
    return tuple(part for part in parts if part is not type(None))


def _attribute_texts(cls: type[Any]) -> dict[str, str]:
    """What the section "Attributes" of a Google docstring says, by attribute."""
    _, _, section = (inspect.getdoc(cls) or "").partition("\nAttributes:\n")
    section = re.split(r"\n(?=\S)", section)[0]  # up to the next section
    entries = re.findall(r"^  (\w+): (.*(?:\n    .*)*)", section, re.MULTILINE)
    return {name: re.sub(r"\n +", " ", text) for name, text in entries}
