"""``semrsm match``: which token of one sample goes with which of another."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from semrsm_jax.cli import _options as options
from semrsm_jax.cli._console import say, say_fields, say_json
from semrsm_jax.cli._inputs import load_sample, naming
from semrsm_jax.cli._options import MatcherName

if TYPE_CHECKING:
    import numpy as np

NAME = "match"
HELP = """Match the tokens of two samples.

Each file holds tokens (S, C), or features of several samples, (N, H, W, C) or (N, S, C), of which --i and --j take one. The same file may be given twice.

Example: semrsm match features.npy features.npy --i 0 --j 3 -o matching.npz

Prints the value (the matched inner product), the proven bound on any matching, the gap between them, and the first tokens. An output .npy holds the permutation (S), int32: the token of B that goes with each token of A, or -1; .npz and .json hold permutation, value and upper_bound."""  # noqa: E501 (lines are wrapped when shown)

_SUFFIXES = (".npy", ".npz", ".json")
_SHOWN = 12


def command(
    a: Annotated[Path, options.features_argument("A")],
    b: Annotated[Path, options.features_argument("B")],
    i: Annotated[
        int | None, typer.Option("--i", help="The sample of A, from 0.")
    ] = None,
    j: Annotated[
        int | None, typer.Option("--j", help="The sample of B, from 0.")
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option(
            "--output", "-o", help="Where to write the permutation: .npy, .npz, .json."
        ),
    ] = None,
    matcher: options.Matching = MatcherName.Exact,
    layout: options.Layout = None,
    key: options.Key = None,
    window: options.Window = None,
    sweeps: options.Sweeps = None,
    k: options.K = None,
    grid: options.Grid = None,
    tolerance: options.Tolerance = None,
    solver: options.Solver = None,
    overwrite: options.Overwrite = False,
    as_json: options.AsJSON = False,
) -> None:
    """Matches one pair, and prints or writes the permutation."""
    import numpy as np

    from semrsm_jax import match
    from semrsm_jax.store import check_output

    settings = {"window": window, "sweeps": sweeps, "k": k, "grid": grid}
    settings |= {"tolerance": tolerance, "solver": solver}
    rule = options.build_matcher(matcher, settings)
    if output is not None:
        check_output(output, overwrite, suffixes=_SUFFIXES, inputs=(a, b))
    x = load_sample(a, key, layout, i, "--i")
    y = load_sample(b, key, layout, j, "--j")
    with naming(Path(f"{a} and {b}")):
        matching = match(x, y, matcher=rule)
    permutation = np.asarray(matching.permutation)
    value, bound = float(matching.value), float(matching.upper_bound)
    if output is not None:
        _write(output, permutation, value, bound, overwrite)
    if as_json:
        say_json(_as_dict(permutation, value, bound))
        return
    gap = bound - value
    relative = f", {gap / abs(value):.2g} of the value" if value else ""
    say(f"{x.shape[0]} tokens of {a} with {y.shape[0]} of {b}, {x.shape[1]} channels")
    say_fields(
        {
            "matcher": rule,
            "value": f"{value:.8g}",
            "proven bound": f"{bound:.8g}",
            "gap": f"{gap:.3g}{relative}",
            "tokens": _preview(permutation),
        }
        | ({"written to": output} if output else {})
    )
    if output is None and len(permutation) > _SHOWN:
        say("All of them: -o matching.npz (or .npy, .json), or --json")


def _preview(permutation: "np.ndarray") -> str:
    shown = [
        f"{token}->{partner if partner >= 0 else 'none'}"
        for token, partner in enumerate(permutation[:_SHOWN].tolist())
    ]
    return " ".join(shown) + (" ..." if len(permutation) > _SHOWN else "")


def _as_dict(permutation: "np.ndarray", value: float, bound: float) -> dict:
    return {
        "value": value,
        "upper_bound": bound,
        "permutation": permutation.tolist(),
    }


def _write(
    output: Path, permutation: "np.ndarray", value: float, bound: float, overwrite: bool
) -> None:
    import numpy as np

    from semrsm_jax.store import new_file

    with new_file(output, overwrite) as temporary:
        if output.suffix.lower() == ".npy":
            np.save(temporary, permutation)
        elif output.suffix.lower() == ".npz":
            np.savez(temporary, permutation=permutation, value=value, upper_bound=bound)
        else:
            temporary.write_text(json.dumps(_as_dict(permutation, value, bound)))
