"""Options that several commands share, and the table from names to classes."""

import dataclasses
import re
from collections.abc import Mapping
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from semrsm_jax import DualBound, Kernel, Matcher


class MatcherName(StrEnum):
    """Matchers as the command line names them; members are named as their classes."""

    Exact = "exact"
    BatchOptimal = "batch-optimal"
    TopKGreedy = "topk-greedy"
    Greedy = "greedy"
    CircularShift = "circular-shift"
    Identity = "identity"
    Sinkhorn = "sinkhorn"


class KernelName(StrEnum):
    """Kernels, likewise."""

    Linear = "linear"
    Cosine = "cosine"
    RBF = "rbf"


class SolverName(StrEnum):
    """Solvers of the assignment problem."""

    AUCTION = "auction"
    SCIPY = "scipy"
    ORTOOLS = "ortools"
    DEVICE = "device"
    OPTAX = "optax"


class LayoutName(StrEnum):
    """Orders of axes, see `to_tokens`."""

    NHWC = "NHWC"
    NCHW = "NCHW"
    NSC = "NSC"
    NCS = "NCS"


class CenterName(StrEnum):
    """What mean is subtracted, see `center`."""

    CHANNEL = "channel"
    POSITION = "position"
    NONE = "none"


_PANEL = "Matcher options"
# What shapes gradients alone, or follows from the sizes: not for the command line.
_CHOSEN = ("implicit_diff", "block")
STORE_PANEL = "With an output .zarr"

Matching = Annotated[
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
Window = Annotated[
    int | None,
    typer.Option(
        help="Tokens a window, for batch-optimal. Default: 512.",
        rich_help_panel=_PANEL,
    ),
]
Sweeps = Annotated[
    int | None,
    typer.Option(
        help="How often batch-optimal refines its matching. Default: 0.",
        rich_help_panel=_PANEL,
    ),
]
Floor = Annotated[
    str | None,
    typer.Option(
        metavar="identity",
        help="With identity, batch-optimal keeps the better of its matching and "
        "that of position with position.",
        rich_help_panel=_PANEL,
    ),
]
K = Annotated[
    int | None,
    typer.Option(
        "--k",
        help="Tokens that topk-greedy matches exactly. Default: 128.",
        rich_help_panel=_PANEL,
    ),
]
Grid = Annotated[
    str | None,
    typer.Option(
        metavar="HxW",
        help="Rows and columns of the token grid, for circular-shift.",
        rich_help_panel=_PANEL,
    ),
]
Tolerance = Annotated[
    float | None,
    typer.Option(
        help="Relative gap between value and proven bound at which exact, "
        "batch-optimal and topk-greedy may stop; 0 asks for a proven optimum. "
        "Default: 1e-6. Of sinkhorn: the error of the plan's column sums, as a share "
        "of its mass; default: 1e-4.",
        rich_help_panel=_PANEL,
    ),
]
Solver = Annotated[
    SolverName | None,
    typer.Option(
        metavar="NAME",
        help="What exact, batch-optimal and topk-greedy solve with: auction, scipy, "
        "ortools, device, optax. Default: auction.",
        rich_help_panel=_PANEL,
    ),
]
Epsilon = Annotated[
    float | None,
    typer.Option(
        help="How soft sinkhorn matches, in units of the affinity (inner product of "
        "tokens). Default: 0.05 times the standard deviation of each pair's affinity.",
        rich_help_panel=_PANEL,
    ),
]
Relative = Annotated[
    bool | None,
    typer.Option(
        "--relative",
        help="--epsilon is in standard deviations of each pair's affinity.",
        rich_help_panel=_PANEL,
    ),
]
MaxIterations = Annotated[
    int | None,
    typer.Option(
        help="The most iterations of sinkhorn. Default: 2000.",
        rich_help_panel=_PANEL,
    ),
]
Anneal = Annotated[
    float | None,
    typer.Option(
        help="Sinkhorn's epsilon starts at so many standard deviations of the "
        "affinity and falls from there; 0: it stays the same. Default: 1.",
        rich_help_panel=_PANEL,
    ),
]
Bound = Annotated[
    int | None,
    typer.Option(
        metavar="STRIDE",
        help="Prove how far an approximation can be from the best, from an exact "
        "matching of every STRIDE-th token: 8 is cheap, 4 is tighter. Default: only "
        "the bound that the matcher gives.",
        rich_help_panel=_PANEL,
    ),
]
Layout = Annotated[
    LayoutName | None,
    typer.Option(
        metavar="ORDER",
        case_sensitive=False,
        help="Order of the axes, NHWC, NCHW, NSC or NCS: N samples, H rows, W columns, "
        "S tokens, C channels. Default: NHWC for 4 axes, NSC for 3.",
    ),
]
Key = Annotated[
    str | None,
    typer.Option(help="Which array, where a file of features holds several."),
]
Layers = Annotated[
    list[str] | None,
    typer.Option(
        metavar="NAME",
        help="Several arrays of the file, each a layer with a run of its own: give the "
        "option once for each, or 'all'.",
        rich_help_panel=STORE_PANEL,
    ),
]
MemoryBudget = Annotated[
    str | None,
    typer.Option(
        metavar="SIZE",
        help="Memory of the pairs in flight and, for an output .zarr, the blocks of a "
        "tile, such as 512MB. Default: what keeps the cache and cores busy, and a "
        "share of what is free.",
    ),
]
Tile = Annotated[
    int | None,
    typer.Option(
        help="Rows and columns of a tile. Default: what takes some seconds.",
        rich_help_panel=STORE_PANEL,
    ),
]
Overwrite = Annotated[
    bool, typer.Option("--overwrite", help="Replace an output that exists.")
]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Show nothing but errors.")]
AsJSON = Annotated[
    bool, typer.Option("--json", help="Print JSON, for other programs to read.")
]


def features_argument(name: str, text: str = "") -> Any:
    """The declaration of a file of features, shown as `name`."""
    return typer.Argument(
        metavar=name,
        show_default=False,
        help=text
        or "Features: .npy, .npz, .safetensors, a zarr folder, or a folder with a file "
        "for each layer.",
    )


def build_matcher(name: MatcherName, settings: Mapping[str, Any]) -> "Matcher":
    """The matcher of a name, with those settings that are not None.

    Raises:
      ValueError: a setting is not one of this matcher, out of its range, or missing.
    """
    import semrsm_jax

    cls = getattr(semrsm_jax, name.name)
    fields = {
        field.name: field
        for field in dataclasses.fields(cls)
        if field.name not in _CHOSEN
    }
    given = {key: value for key, value in settings.items() if value is not None}
    for key in given:
        if key not in fields:
            options = ", ".join(map(_spelt, fields)) or "no options"
            raise ValueError(
                f"{_spelt(key)} does not fit --matcher {name.value}, which takes "
                f"{options}"
            )
    for key, field in fields.items():
        if key not in given and field.default is dataclasses.MISSING:
            raise ValueError(f"--matcher {name.value} needs {_spelt(key)}")
    if "relative" in given and "epsilon" not in given:
        raise ValueError("--relative says what --epsilon is in, which is not given")
    if "grid" in given:
        given["grid"] = parse_grid(given["grid"])
    if "solver" in given:
        # By its plain name, so that it is shown as such.
        given["solver"] = str(given["solver"])
    return cls(**given)


def _spelt(setting: str) -> str:
    """A setting as the command line spells it."""
    return "--" + setting.replace("_", "-")


def build_bound(stride: int | None) -> "DualBound | None":
    """The dual bound of ``--bound``.

    Raises:
      ValueError: a stride below 1.
    """
    from semrsm_jax import DualBound

    if stride is None:
        return None
    if stride < 1:
        raise ValueError(f"--bound must be a stride of at least 1, got {stride}")
    return DualBound(stride)


def parse_grid(text: str) -> tuple[int, int]:
    found = re.fullmatch(r"(\d{1,9})x(\d{1,9})", text.lower(), re.ASCII)
    if found is None:
        raise ValueError(f"--grid must be HxW, for example 14x14, got {text!r}")
    return int(found[1]), int(found[2])


def build_kernel(name: KernelName, bandwidth: str | None) -> "Kernel":
    """The kernel of a name; a bandwidth is a number or the name of a rule.

    Raises:
      ValueError: the kernel has no bandwidth, or cannot have this one.
    """
    import semrsm_jax

    cls = getattr(semrsm_jax, name.name)
    if bandwidth is None:
        return cls()
    if name is not KernelName.RBF:
        raise ValueError(
            f"--bandwidth does not fit --kernel {name.value}; it is an option of rbf"
        )
    try:
        return cls(float(bandwidth))
    except ValueError:
        # Neither a number nor in range: the kernel says what it takes.
        return cls(bandwidth)


_UNITS = {"": 1, **{u + "B": 10**n for u, n in zip("KMGT", (3, 6, 9, 12), strict=True)}}
_UNITS |= {u + "iB": 2**n for u, n in zip("KMGT", (10, 20, 30, 40), strict=True)}
_UNITS = {unit.lower(): size for unit, size in _UNITS.items()} | {"b": 1}


def parse_bytes(name: str, text: str | None) -> int | None:
    """Bytes from a size such as 512MB, 2GiB or 100000; None stays None.

    Raises:
      ValueError: it is no such size, or below one byte.
    """
    if text is None:
        return None
    found = re.fullmatch(
        r"\s*(\d{1,18}(?:\.\d{1,18})?)\s*([a-z]*)\s*", text.lower(), re.ASCII
    )
    if found is None or found[2] not in _UNITS:
        raise ValueError(
            f"{name} must be a size such as 512MB, 2GiB or 100000 (bytes), got {text!r}"
        )
    size = int(float(found[1]) * _UNITS[found[2]])
    if size < 1:
        raise ValueError(f"{name} must be at least 1 byte, got {text!r}")
    return size
