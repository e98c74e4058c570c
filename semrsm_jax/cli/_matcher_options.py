"""The options of matchers, declared once, and the matcher that they describe."""

import dataclasses
import functools
import inspect
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Any

import typer

from semrsm_jax.cli.options import MATCHER_PANEL

if TYPE_CHECKING:
    from semrsm_jax import Matcher


class MatcherName(StrEnum):
    """Matchers as the command line names them; members are named as their classes."""

    Exact = "exact"
    BatchOptimal = "batch-optimal"
    TopKGreedy = "topk-greedy"
    Greedy = "greedy"
    CircularShift = "circular-shift"
    Identity = "identity"
    Sinkhorn = "sinkhorn"


class SolverName(StrEnum):
    """Solvers of the assignment problem."""

    AUCTION = "auction"
    SCIPY = "scipy"
    ORTOOLS = "ortools"
    DEVICE = "device"
    OPTAX = "optax"


# What shapes gradients alone, or follows from the sizes: not for the command line.
_CHOSEN = ("implicit_diff", "block")

_Matching = Annotated[
    MatcherName,
    typer.Option(
        "--matcher",
        metavar="NAME",
        case_sensitive=False,
        help="How the tokens of two samples are paired: exact, batch-optimal, "
        "topk-greedy, greedy, circular-shift, identity, position by position, or "
        "sinkhorn, softly.",
    ),
]


def _setting(kind: type, help: str, *names: str, metavar: str | None = None) -> Any:
    """The option of a setting: not given, the matcher's own default holds."""
    annotated: Any = Annotated  # of a type that is known here alone
    return annotated[
        kind | None,
        typer.Option(*names, metavar=metavar, help=help, rich_help_panel=MATCHER_PANEL),
    ]


# By the names of the matchers' own settings.
_SETTINGS: dict[str, Any] = {
    "window": _setting(int, "Tokens a window, for batch-optimal. Default: 512."),
    "sweeps": _setting(
        int, "How often batch-optimal refines its matching. Default: 0."
    ),
    "floor": _setting(
        str,
        "With identity, batch-optimal keeps the better of its matching and that of "
        "position with position.",
        metavar="identity",
    ),
    "k": _setting(int, "Tokens that topk-greedy matches exactly. Default: 128.", "--k"),
    "grid": _setting(
        str,
        "Rows and columns of the token grid, for circular-shift.",
        metavar="HxW",
    ),
    "tolerance": _setting(
        float,
        "Relative gap between value and proven bound at which exact, batch-optimal "
        "and topk-greedy may stop; 0 asks for a proven optimum. Default: 1e-6. Of "
        "sinkhorn: the error of the plan's column sums, as a share of its mass; "
        "default: 1e-4.",
    ),
    "solver": _setting(
        SolverName,
        "What exact, batch-optimal and topk-greedy solve with: auction, scipy, "
        "ortools, device, optax. Default: auction.",
        metavar="NAME",
    ),
    "epsilon": _setting(
        float,
        "How soft sinkhorn matches, in units of the affinity (inner product of "
        "tokens). Default: 0.05 times the standard deviation of each pair's affinity.",
    ),
    "relative": _setting(
        bool,
        "--epsilon is in standard deviations of each pair's affinity.",
        "--relative",
    ),
    "max_iterations": _setting(int, "The most iterations of sinkhorn. Default: 2000."),
    "anneal": _setting(
        float,
        "Sinkhorn's epsilon starts at so many standard deviations of the affinity and "
        "falls from there; 0: it stays the same. Default: 1.",
    ),
}


@dataclass(frozen=True)
class MatcherOptions:
    """What the command line says of the matcher.

    Attributes:
      name: of the matcher.
      settings: of it, by name, None where the option is not given.
    """

    name: MatcherName
    settings: Mapping[str, Any]

    def build(self) -> "Matcher":
        """The matcher, with those settings that are given.

        Raises:
          ValueError: a setting is not of this matcher, out of its range, or missing.
        """
        import semrsm_jax

        cls = getattr(semrsm_jax, self.name.name)
        fields = {
            field.name: field
            for field in dataclasses.fields(cls)
            if field.name not in _CHOSEN
        }
        given = {
            key: value for key, value in self.settings.items() if value is not None
        }
        for key in given:
            if key not in fields:
                options = ", ".join(map(_spelt, fields)) or "no options"
                raise ValueError(
                    f"{_spelt(key)} does not fit --matcher {self.name.value}, which "
                    f"takes {options}"
                )
        for key, field in fields.items():
            if key not in given and field.default is dataclasses.MISSING:
                raise ValueError(f"--matcher {self.name.value} needs {_spelt(key)}")
        if "relative" in given and "epsilon" not in given:
            raise ValueError("--relative says what --epsilon is in, which is not given")
        if "grid" in given:
            given["grid"] = parse_grid(given["grid"])
        if "solver" in given:
            # By its plain name, so that it is shown as such.
            given["solver"] = str(given["solver"])
        return cls(**given)


def takes_matcher(
    *without: str,
) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Gives a command the options of matchers in place of its parameter `matcher`.

    Typer reads options from a signature; this one has each of them, and the command
    gets them as one `MatcherOptions`.

    Args:
      *without: settings that the command does not take.
    """
    settings = {key: kind for key, kind in _SETTINGS.items() if key not in without}

    def expanded(command: Callable[..., None]) -> Callable[..., None]:
        @functools.wraps(command)
        def run(matcher: MatcherName, **given: Any) -> None:
            found = {key: given.pop(key) for key in settings}
            command(matcher=MatcherOptions(matcher, found), **given)

        signature = inspect.signature(command)
        named = inspect.Parameter.KEYWORD_ONLY
        parameters = []
        for parameter in signature.parameters.values():
            if parameter.name != "matcher":
                parameters.append(parameter.replace(kind=named))
                continue
            kinds = {"matcher": _Matching, **settings}
            defaults = dict.fromkeys(settings) | {"matcher": MatcherName.Exact}
            parameters += [
                inspect.Parameter(name, named, default=defaults[name], annotation=kind)
                for name, kind in kinds.items()
            ]
        run.__annotations__ = {p.name: p.annotation for p in parameters}
        expanded_signature: Any = signature.replace(parameters=parameters)
        run.__signature__ = expanded_signature  # type: ignore[attr-defined]
        return run

    return expanded


def _spelt(setting: str) -> str:
    """A setting as the command line spells it."""
    return "--" + setting.replace("_", "-")


def parse_grid(text: str) -> tuple[int, int]:
    found = re.fullmatch(r"(\d{1,9})x(\d{1,9})", text.lower(), re.ASCII)
    if found is None:
        raise ValueError(f"--grid must be HxW, for example 14x14, got {text!r}")
    return int(found[1]), int(found[2])
