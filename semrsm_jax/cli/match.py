"""``semrsm match``: which token of one sample goes with which of another."""

import json
from pathlib import Path
from typing import Annotated, Any

import jax
import numpy as np
import typer

from semrsm_jax import SoftMatching, invariance_ladder, match
from semrsm_jax.cli import options
from semrsm_jax.cli._algorithm_options import MatcherOptions, parse_grid
from semrsm_jax.cli._inputs import load_sample, naming
from semrsm_jax.cli.console import say, say_fields, say_json
from semrsm_jax.store import check_output, new_file

HELP = """Match the tokens of two samples.

Each file holds tokens (S, C), or features of several samples, (N, H, W, C) or (N, S, C), of which --i and --j take one. The same file may be given twice.

Example: semrsm match features.npy features.npy --i 0 --j 3 -o matching.npz

Example: semrsm match features.npy features.npy --i 0 --j 3 --matcher sinkhorn --epsilon 0.1 --relative

Example: semrsm match features.npy features.npy --i 0 --j 3 --ladder

Prints the value (the matched inner product), the proven bound on any matching, the gap between them, and the first tokens. An output .npy holds the permutation (S), int32: the token of B that goes with each token of A, or -1; .npz and .json hold permutation, value and upper_bound. With --matcher sinkhorn the permutation is the rounded plan; epsilon, whether it converged, the iterations and the entropy of the plan a token, in nats, are printed and written too, and .npz holds the plan (S, T). --ladder prints what share of the attainable similarity each invariance reaches: position by position, any circular shift (with --grid), windows of similar norm, any permutation."""  # noqa: E501 (lines are wrapped when shown)

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
        options.output_option(
            help="Where to write the permutation: .npy, .npz, .json."
        ),
    ] = None,
    *,
    matcher: MatcherOptions,
    layout: options.Layout = None,
    key: options.Key = None,
    bound: options.Bound = None,
    ladder: Annotated[
        bool,
        typer.Option(
            "--ladder",
            help="Compare what identity, circular-shift (with --grid), batch-optimal "
            "and exact reach on this pair.",
        ),
    ] = False,
    overwrite: options.Overwrite = False,
    as_json: options.AsJSON = False,
) -> None:
    """Matches one pair, and prints or writes the permutation."""
    if ladder:
        _check_ladder_options(matcher, bound, output)
    else:
        rule = matcher.build()
        proof = options.build_bound(bound)
    if output is not None:
        check_output(output, overwrite, suffixes=_SUFFIXES, inputs=(a, b))
    x = load_sample(a, key, layout, i, "--i")
    y = load_sample(b, key, layout, j, "--j")
    both = Path(f"{a} and {b}")
    if ladder:
        with naming(both):
            _show_ladder(x, y, matcher.settings["grid"], as_json)
        return
    with naming(both):
        matching = match(x, y, matcher=rule, bound=proof)
    permutation = np.asarray(matching.permutation)
    value, upper_bound = float(matching.value), float(matching.upper_bound)
    softness = _softness(matching) if isinstance(matching, SoftMatching) else {}
    numbers = {"value": value, "upper_bound": upper_bound} | softness
    if output is not None:
        plan = {"plan": np.asarray(matching.plan)} if softness else {}
        _write(output, permutation, numbers, plan, overwrite)
    if as_json:
        say_json(numbers | {"permutation": permutation.tolist()})
        return
    gap = upper_bound - value
    share = f", {gap / abs(value):.2g} of the value" if value else ""
    say(f"{x.shape[0]} tokens of {a} with {y.shape[0]} of {b}, {x.shape[1]} channels")
    say_fields(
        {
            "matcher": rule,
            "value": f"{value:.8g}",
            "proven bound": f"{upper_bound:.8g}",
            "gap": f"{gap:.3g}{share}",
            **{name.replace("_", " "): f"{n:.6g}" for name, n in softness.items()},
            "tokens": _preview(permutation),
        }
        | ({"written to": output} if output else {})
    )
    if output is None and len(permutation) > _SHOWN:
        say("All of them: -o matching.npz (or .npy, .json), or --json")


def _check_ladder_options(
    matcher: MatcherOptions, bound: int | None, output: Path | None
) -> None:
    given = [key for key, value in matcher.settings.items() if value is not None]
    given += ["matcher"] * (matcher.name != matcher.table.default)
    given += ["bound"] * (bound is not None) + ["output"] * (output is not None)
    for key in given:
        if key != "grid":
            raise ValueError(f"--{key} does not fit --ladder, which takes --grid alone")


def _show_ladder(x: jax.Array, y: jax.Array, grid: str | None, as_json: bool) -> None:
    rungs = invariance_ladder(x, y, grid=parse_grid(grid) if grid else None)
    values, shares = rungs.value.tolist(), rungs.share.tolist()
    steps = list(zip(rungs.matchers, values, shares, strict=True))
    attainable = float(rungs.attainable)
    if as_json:
        rows = [{"matcher": str(m), "value": v, "share": s} for m, v, s in steps]
        say_json({"attainable": attainable, "steps": rows})
        return
    say(f"Share of the attainable similarity, {attainable:.8g} (proven)")
    fields = {type(m).__name__: f"{s:8.2%}   value {v:.8g}" for m, v, s in steps}
    say_fields(fields)


def _preview(permutation: np.ndarray) -> str:
    shown = [
        f"{token}->{partner if partner >= 0 else 'none'}"
        for token, partner in enumerate(permutation[:_SHOWN].tolist())
    ]
    return " ".join(shown) + (" ..." if len(permutation) > _SHOWN else "")


def _softness(matching: SoftMatching) -> dict[str, float | bool]:
    """How soft a matching is, and whether its iterations converged."""
    plan = np.asarray(matching.plan, np.float64)
    partner = plan / plan.sum(1, keepdims=True)
    logs = np.log(partner, out=np.zeros_like(partner), where=partner > 0)
    return {
        "epsilon": float(matching.epsilon),
        "converged": bool(matching.converged),
        "n_iters": int(matching.n_iters),
        # Of a token's partner: 0 for a permutation, log T where all are alike.
        "entropy": -float((partner * logs).sum(1).mean()),
    }


def _write(
    output: Path,
    permutation: np.ndarray,
    numbers: dict[str, float | bool],
    plan: dict[str, np.ndarray],
    overwrite: bool,
) -> None:
    with new_file(output, overwrite) as temporary:
        if output.suffix.lower() == ".npy":
            np.save(temporary, permutation)
        elif output.suffix.lower() == ".npz":
            arrays: dict[str, Any] = {"permutation": permutation, **numbers, **plan}
            np.savez(temporary, **arrays)
        else:
            everything = numbers | {"permutation": permutation.tolist()}
            temporary.write_text(json.dumps(everything))
