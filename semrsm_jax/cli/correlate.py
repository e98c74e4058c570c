"""``semrsm correlate``: does similarity predict how alike outputs are?"""

from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer

from semrsm_jax import output_correlation
from semrsm_jax._ids import same_samples
from semrsm_jax.cli import options
from semrsm_jax.cli._algorithm_options import StatisticsKernel
from semrsm_jax.cli._inputs import with_ids
from semrsm_jax.cli._sample_groups import ResamplingOptions, of_groups
from semrsm_jax.cli.console import PAIRED, numbers, progress_bar, say, say_json
from semrsm_jax.output_similarity import CorrelationInference, infer_output_correlation
from semrsm_jax.store import load_features, open_similarities

HELP = """Correlate RSMs with the similarity of a classifier's outputs (section 4.3).

For every pair of samples the Jensen-Shannon divergence of their class probabilities is compared with their similarity: Pearson and Spearman. The better an RSM predicts that two outputs are alike, the more negative both are; --negative correlates with minus the divergence, so that good is positive.

Example: semrsm correlate semantic.npz spatial.npz --logits logits.npy

Example: semrsm correlate semantic.npz --probabilities softmax.npy --bootstrap 2000 --plot correlation.pdf

The outputs have shape (N, classes), in the order of the RSM's samples. RSMs of any size are read by rows; Spearman's correlation needs 8 bytes a pair (--no-ranks leaves it out), and --bootstrap all of the RSM in memory.

With several RSMs and --bootstrap, each is also compared with the first: the difference of their Pearson correlations, its interval and p-value, samples resampled."""  # noqa: E501 (lines are wrapped when shown)


def command(
    rsms: options.RSMs,
    kernel: StatisticsKernel,
    resampling: ResamplingOptions,
    logits: Annotated[
        Path | None, typer.Option(help="Logits (N, classes): .npy, .npz, ...")
    ] = None,
    probabilities: Annotated[
        Path | None, typer.Option(help="Class probabilities, in their place.")
    ] = None,
    key: Annotated[
        str | None,
        typer.Option(help="Which array, where the file of outputs holds several."),
    ] = None,
    negative: Annotated[
        bool, typer.Option("--negative", help="Correlate with minus the divergence.")
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
    plot: Annotated[
        Path | None,
        options.figure_option("Divergence against similarity, of the first RSM"),
    ] = None,
    overwrite: options.Overwrite = False,
    quiet: options.Quiet = False,
    as_json: options.AsJSON = False,
) -> None:
    """Reads RSMs and outputs, and shows their correlations."""
    if (logits is None) == (probabilities is None):
        raise ValueError("either --logits or --probabilities must be given, not both")
    outputs = logits or probabilities
    assert outputs is not None
    options.check_figure(plot, overwrite, [*rsms, outputs, *resampling.inputs])
    opened = open_similarities(rsms, kernel.build())
    p = np.asarray(load_features(outputs, key))
    samples = next(iter(opened.values())).shape[0]
    if p.ndim != 2 or len(p) != samples:
        raise ValueError(
            f"{outputs} must have shape (N, classes) with N = {samples}, the samples "
            f"of the RSM, got {p.shape}"
        )
    first = next((k for k, rsm in opened.items() if rsm.x_ids), next(iter(opened)))
    both = {first: opened[first], str(outputs): with_ids(outputs, p)}
    p = np.asarray(same_samples(both)[str(outputs)])
    level = resampling.confidence if resampling.bootstrap else None
    members: Any = resampling.members(opened, asked=level is not None and not quiet)
    kind: dict[str, Any] = {"from_logits": logits is not None}
    with progress_bar("pairs", quiet or as_json) as report:
        correlations = {
            name: output_correlation(
                rsm,
                p,
                **kind,
                negative=negative,
                triangle=not all_pairs,
                ranks=ranks,
                groups=members if resampling.drop_within else None,
                progress=lambda done, total, name=name: report(name, done, total),
            )
            for name, rsm in opened.items()
        }
    rows = [{"rsm": name} | each._asdict() for name, each in correlations.items()]
    if level is not None:
        inference = infer_output_correlation(
            opened,
            p,
            **kind,
            **resampling.settings(members, samples),
            negative=negative,
            ranks=ranks,
        )
        for row in rows:
            row |= _as_dict(inference[row["rsm"]])
    if plot is not None:
        from semrsm_jax.plotting import plot_output_correlation

        name, rsm = next(iter(opened.items()))
        axes = plot_output_correlation(
            rsm,
            p,
            correlations[name],
            **kind,
            xlabel=f"similarity ({name})",
            seed=resampling.seed,
        )
        options.save_figure(axes.figure, plot, overwrite)
    sign = "-JSD" if negative else "JSD"
    if as_json:
        say_json(
            {
                "against": sign,
                "samples": samples,
                "groups": len(set(members)) if members else None,
                "classes": p.shape[1],
                "confidence": level,
                "correlations": rows,
            }
        )
        return
    if not quiet:
        say(
            f"Similarity and {sign} of {outputs}, {samples} samples{of_groups(members)}"
        )
        for row in rows:
            _show(row, level)
        if plot is not None:
            say(f"Figure: {plot}")


def _as_dict(inference: CorrelationInference) -> dict[str, Any]:
    row: dict[str, Any] = {}
    for method in ("pearson", "spearman"):
        interval = getattr(inference, method)
        if interval is not None:
            row[f"{method}_low"] = float(interval.low)
            row[f"{method}_high"] = float(interval.high)
    if inference.less_first is not None:
        row["less_first"] = numbers(inference.less_first, *PAIRED)
    return row


def _show(row: dict[str, Any], level: float | None) -> None:
    say(f"{row['rsm']}  ({row['pairs']:,} pairs)")
    for method in ("pearson", "spearman"):
        if row[method] is None:
            continue
        text = f"  {method.capitalize():<9} {row[method]:+.6f}"
        if level is not None:
            low, high = row[f"{method}_low"], row[f"{method}_high"]
            text += f"   {level:.0%} {low:+.4f} to {high:+.4f}"
        say(text)
    if "less_first" in row:
        test = row["less_first"]
        say(
            f"  Pearson less that of the first: {test['difference']:+.4f}, "
            f"{level:.0%} {test['low']:+.4f} to {test['high']:+.4f}, "
            f"p {test['p_value']:.3g}"
        )
