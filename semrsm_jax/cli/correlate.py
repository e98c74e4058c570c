"""``semrsm correlate``: does similarity predict how alike outputs are?"""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from semrsm_jax.cli import _similarity as similarity
from semrsm_jax.cli import options
from semrsm_jax.cli._algorithm_options import StatisticsKernel
from semrsm_jax.cli.console import progress_bar, say, say_json

if TYPE_CHECKING:
    import numpy as np

    from semrsm_jax.store import Similarity

NAME = "correlate"
HELP = """Correlate RSMs with the similarity of a classifier's outputs (section 4.3).

For every pair of samples the Jensen-Shannon divergence of their class probabilities is compared with their similarity: Pearson and Spearman. The better an RSM predicts that two outputs are alike, the more negative both are; --negative correlates with minus the divergence, so that good is positive.

Example: semrsm correlate semantic.npz spatial.npz --logits logits.npy

Example: semrsm correlate semantic.npz --probabilities softmax.npy --bootstrap 2000 --plot correlation.pdf

The outputs have shape (N, classes), in the order of the RSM's samples. RSMs of any size are read by rows; Spearman's correlation needs 8 bytes a pair (--no-ranks leaves it out), and --bootstrap all of the RSM in memory.

With several RSMs and --bootstrap, each is also compared with the first: the difference of their Pearson correlations, its interval and p-value, samples resampled."""  # noqa: E501 (lines are wrapped when shown)

# Samples of which all pairs are drawn.
_DRAWN = 1000


def command(
    rsms: similarity.RSMs,
    kernel: StatisticsKernel,
    logits: Annotated[
        Path | None,
        typer.Option(show_default=False, help="Logits (N, classes): .npy, .npz, ..."),
    ] = None,
    probabilities: Annotated[
        Path | None,
        typer.Option(show_default=False, help="Class probabilities, in their place."),
    ] = None,
    key: Annotated[
        str | None,
        typer.Option(help="Which array, where the file of outputs holds several."),
    ] = None,
    negative: Annotated[
        bool,
        typer.Option("--negative", help="Correlate with minus the divergence."),
    ] = False,
    all_pairs: Annotated[
        bool,
        typer.Option(
            "--all-pairs",
            help="Count (i, j) and (j, i) apart, for RSMs that are not symmetric.",
        ),
    ] = False,
    ranks: Annotated[
        bool, typer.Option("--ranks/--no-ranks", help="Spearman's correlation.")
    ] = True,
    bootstrap: Annotated[
        int | None,
        typer.Option(
            metavar="B", min=2, help="Resamples, for intervals; 2000 is fine."
        ),
    ] = None,
    confidence: similarity.Confidence = 0.95,
    seed: similarity.Seed = 0,
    plot: Annotated[
        Path | None,
        similarity.figure_option("Divergence against similarity, of the first RSM"),
    ] = None,
    overwrite: options.Overwrite = False,
    quiet: options.Quiet = False,
    as_json: options.AsJSON = False,
) -> None:
    """Reads RSMs and outputs, and shows their correlations."""
    import numpy as np

    from semrsm_jax import output_correlation
    from semrsm_jax.store import load_features

    if (logits is None) == (probabilities is None):
        raise ValueError("either --logits or --probabilities must be given, not both")
    outputs = logits or probabilities
    assert outputs is not None
    similarity.check_figure(plot, overwrite, [*rsms, outputs])
    opened = similarity.open_rsms(rsms, kernel)
    similarity.check_alike(opened, square=True)
    p = np.asarray(load_features(outputs, key))
    if p.ndim != 2 or len(p) != next(iter(opened.values())).shape[0]:
        raise ValueError(
            f"{outputs} must have shape (N, classes) with N = "
            f"{next(iter(opened.values())).shape[0]}, the samples of the RSM, got "
            f"{p.shape}"
        )
    from_logits = logits is not None
    rows = []
    with progress_bar("pairs", quiet or as_json) as report:
        for name, rsm in opened.items():
            found = output_correlation(
                rsm,
                p,
                from_logits=from_logits,
                negative=negative,
                triangle=not all_pairs,
                ranks=ranks,
                progress=lambda done, total, name=name: report(name, done, total),
            )
            rows.append({"rsm": name, **found._asdict()})
    if bootstrap:
        _add_intervals(
            rows, opened, p, from_logits, negative, bootstrap, confidence, seed
        )
    if plot is not None:
        _draw(opened, p, from_logits, rows[0], seed, plot, overwrite)
    sign = "-JSD" if negative else "JSD"
    if as_json:
        say_json(
            {
                "against": sign,
                "samples": len(p),
                "classes": p.shape[1],
                "confidence": confidence if bootstrap else None,
                "correlations": rows,
            }
        )
        return
    if not quiet:
        say(f"Similarity and {sign} of {outputs}, {len(p)} samples")
        for row in rows:
            _show(row, bootstrap, confidence)
        if plot is not None:
            say(f"Figure: {plot}")


def _add_intervals(
    rows: list[dict[str, Any]],
    rsms: "dict[str, Similarity]",
    p: "np.ndarray",
    from_logits: bool,
    negative: bool,
    resamples: int,
    confidence: float,
    seed: int,
) -> None:
    """Adds the intervals of each RSM, and its difference to the first."""
    import numpy as np

    from semrsm_jax import jensen_shannon_matrix
    from semrsm_jax.comparison.inference import (
        RSA,
        bootstrap_interval,
        difference_test,
    )

    divergence = jensen_shannon_matrix(p, from_logits=from_logits)
    divergence = -divergence if negative else divergence
    settings: dict[str, Any] = {"key": seed, "resamples": resamples}
    settings["confidence"] = confidence
    first = None
    for row, rsm in zip(rows, rsms.values(), strict=True):
        K = np.asarray(rsm)
        for method in ("pearson", "spearman"):
            if row[method] is None:
                continue
            interval = bootstrap_interval(K, divergence, RSA(method), **settings)
            row[f"{method}_low"] = float(interval.low)
            row[f"{method}_high"] = float(interval.high)
        if first is None:
            first = K
            continue
        test = difference_test(
            (K, divergence), (first, divergence), RSA("pearson"), **settings
        )
        row["less_first"] = {
            name: float(getattr(test, name))
            for name in ("difference", "low", "high", "p_value")
        }


def _draw(
    rsms: "dict[str, Similarity]",
    p: "np.ndarray",
    from_logits: bool,
    row: dict[str, Any],
    seed: int,
    path: Path,
    overwrite: bool,
) -> None:
    """Draws the pairs of the first RSM, of some of its samples where they are many."""
    import numpy as np

    from semrsm_jax import jensen_shannon_matrix
    from semrsm_jax.plotting import plot_correlation

    name, rsm = next(iter(rsms.items()))
    count = rsm.shape[0]
    chosen = np.arange(count)
    if count > _DRAWN:
        chosen = np.random.default_rng(seed).choice(count, _DRAWN, replace=False)
        chosen.sort()
    K = np.stack([rsm[i : i + 1][0, chosen] for i in chosen.tolist()])
    divergence = np.asarray(jensen_shannon_matrix(p[chosen], from_logits=from_logits))
    pairs = np.triu_indices(len(chosen), 1)
    title = f"Pearson {row['pearson']:.3f}"
    if row["spearman"] is not None:
        title += f", Spearman {row['spearman']:.3f}"
    if count > _DRAWN:
        title += f"\n(drawn: {_DRAWN:,} of {count:,} samples)"
    axes = plot_correlation(
        K[pairs], divergence[pairs], title=title, xlabel=f"similarity ({name})"
    )
    # JSD is drawn as it is, whatever sign the correlation was taken with.
    similarity.save_figure(axes.figure, path, overwrite)


def _show(row: dict[str, Any], bootstrap: int | None, confidence: float) -> None:
    say(f"{row['rsm']}  ({row['pairs']:,} pairs)")
    for method in ("pearson", "spearman"):
        if row[method] is None:
            continue
        text = f"  {method.capitalize():<9} {row[method]:+.6f}"
        if bootstrap:
            low, high = row[f"{method}_low"], row[f"{method}_high"]
            text += f"   {confidence:.0%} {low:+.4f} to {high:+.4f}"
        say(text)
    if "less_first" in row:
        test = row["less_first"]
        say(
            f"  Pearson less that of the first: {test['difference']:+.4f}, "
            f"{confidence:.0%} {test['low']:+.4f} to {test['high']:+.4f}, "
            f"p {test['p_value']:.3g}"
        )
