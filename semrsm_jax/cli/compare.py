"""``semrsm compare``: how alike similarity structures are."""

from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
import typer

from semrsm_jax import (
    CKA,
    HSIC,
    RSA,
    align_tokens,
    measure_matrix,
    noise_ceiling,
    to_tokens,
)
from semrsm_jax._ids import same_samples
from semrsm_jax._layouts import layout_of
from semrsm_jax.cli import options
from semrsm_jax.cli._algorithm_options import (
    MeasureOptions,
    Selection,
    StatisticsKernel,
)
from semrsm_jax.cli._inputs import naming, with_ids
from semrsm_jax.cli._sample_groups import ResamplingOptions, of_groups
from semrsm_jax.cli.console import numbers, progress_bar, say, say_json
from semrsm_jax.comparison.inference import PairInference, infer_each_pair
from semrsm_jax.comparison.inference.statistic import is_distance, is_of_features
from semrsm_jax.registry import label
from semrsm_jax.store import load_features, open_similarities

HELP = """Compare RSMs over the same samples, each with each: CKA, RSA, nearest neighbors and more.

Each must be square, over the same samples in the same order: files that semrsm rsm writes, a .npy of any square matrix, or a .zarr of a run, whose layers are compared. --measure pwcca takes features instead.

Example: semrsm compare layer1.npz layer2.npz layer3.npz --estimator unbiased --plot cka.pdf

Example: semrsm compare semantic.npz spatial.npz --bootstrap 2000 --permutations 999

Example: semrsm compare run.zarr --measure mutual-knn --k 5

CKA is 1 where both RSMs distinguish samples in the same way; HSIC is its numerator, without scale. rsa is representational similarity analysis: a correlation of the entries off the diagonal. CKA and HSIC read RSMs of any size row by row; the others, intervals and p-values need two RSMs in memory. Of measures that are not symmetric, the row comes first.

--bootstrap gives the interval of each value, samples resampled (not pairs, which share samples), or whole groups of them with --groups. --permutations tests whether two RSMs are related at all; p-values are also corrected for the number of pairs (Holm), and the share of the permutations that a value exceeds is given: a score that means the same for every measure. CKA is then best estimated --estimator unbiased: the bias of the other is larger than its intervals."""  # noqa: E501 (lines are wrapped when shown)


def command(
    rsms: options.RSMs,
    kernel: StatisticsKernel,
    measure: MeasureOptions,
    resampling: ResamplingOptions,
    estimator: Annotated[
        Literal["biased", "unbiased"] | None,
        typer.Option(
            case_sensitive=False,
            help="cka, hsic: of HSIC; unbiased leaves out the diagonals and needs 4 "
            "samples. Default: biased.",
        ),
    ] = None,
    permutations: Annotated[
        int | None,
        options.statistics_option(
            metavar="B", min=1, help="Permutations, for p-values; for example 999."
        ),
    ] = None,
    ceiling: Annotated[
        bool,
        options.statistics_option(
            "--noise-ceiling",
            help="cka, rsa: take the RSMs as repeats, of several seeds for example, "
            "and show how well any model can agree with them; with --bootstrap, the "
            "interval of that.",
        ),
    ] = False,
    align: Annotated[
        bool,
        typer.Option(
            "--align",
            help="pwcca: first bring the tokens of all samples into one order, by an "
            "exact matching with a reference sample.",
        ),
    ] = False,
    plot: Annotated[Path | None, options.figure_option("A heatmap")] = None,
    overwrite: options.Overwrite = False,
    quiet: options.Quiet = False,
    as_json: options.AsJSON = False,
) -> None:
    """Reads the RSMs and shows what they have in common."""
    rule = _measure(measure, estimator)
    if isinstance(rule, HSIC) and resampling.bootstrap:
        raise ValueError("--bootstrap does not fit --measure hsic, which has no scale")
    if ceiling and not isinstance(rule, CKA | RSA):
        raise ValueError("--noise-ceiling needs --measure cka or rsa")
    options.check_figure(plot, overwrite, [*rsms, *resampling.inputs])
    opened = _opened(rsms, rule, kernel.build(), align)
    if len(opened) < 2:
        raise ValueError("at least 2 RSMs must be given, or a run of 2 layers")
    asked = bool(resampling.bootstrap or permutations) and not quiet
    members: Any = resampling.members(opened, asked)
    opened = same_samples(opened)
    if is_of_features(rule):
        opened = {name: np.asarray(rows) for name, rows in opened.items()}
    samples = next(iter(opened.values())).shape[0]
    matrix = measure_matrix(
        opened, measure=rule, groups=members if resampling.drop_within else None
    )
    with progress_bar("pairs", quiet or as_json) as report:
        pairs = infer_each_pair(
            opened,
            rule,
            **resampling.settings(members, samples),
            permutations=permutations,
            progress=lambda done, total: report("Resampling", done, total),
        )
    limits = None
    if ceiling:
        limits = _ceiling(opened, rule, resampling, members)
    names = list(opened)
    if plot is not None:
        from semrsm_jax.plotting import plot_comparison

        vmin, vmax = float(np.nanmin(matrix, initial=0)), 1.0
        if isinstance(rule, HSIC) or is_distance(rule):
            vmin = vmax = None  # they have no natural scale
        axes = plot_comparison(matrix, names, label=_title(rule), vmin=vmin, vmax=vmax)
        options.save_figure(axes.figure, plot, overwrite)
    if as_json:
        say_json(
            {
                "measure": label(rule),
                "estimator": getattr(rule, "estimator", None),
                "samples": samples,
                "groups": len(set(members)) if members else None,
                "rsms": names,
                "matrix": matrix.tolist(),
                "pairs": [_as_dict(pair) for pair in pairs],
                "noise_ceiling": limits,
            }
        )
        return
    if quiet:
        return
    say(f"{_title(rule)} over {samples} samples{of_groups(members)}")
    _show_matrix(names, matrix)
    for pair in pairs:
        _show_pair(names, pair, resampling.confidence)
    if limits is not None:
        say(f"Noise ceiling: {limits['lower']:.4f} to {limits['upper']:.4f}")
        if "low" in limits:
            ends = f"{limits['low']:.4f} to {limits['high']:.4f}"
            say(
                f"  {resampling.confidence:.0%}, of the lower and the upper end: {ends}"
            )
    if plot is not None:
        say(f"Heatmap: {plot}")


def _measure(measure: Selection, estimator: str | None) -> Any:
    """The measure that the options state."""
    settings = {**measure.settings, "estimator": estimator}
    measure = replace(measure, settings=settings).fitting("cka")
    if estimator is None and measure.name in ("cka", "hsic"):
        settings["estimator"] = "biased"
    return replace(measure, settings=settings).build()


def _title(rule: Any) -> str:
    """The measure, with the setting that changes what it is."""
    kind = getattr(rule, "estimator", getattr(rule, "method", None))
    if kind is None:
        return label(rule)
    return f"{type(rule).__name__} ({kind.replace('_', '-')})"


def _ceiling(
    rsms: dict[str, Any], rule: Any, resampling: ResamplingOptions, members: Any
) -> dict[str, float]:
    """Both ends of the noise ceiling, and where resampled their outer limits."""
    result = noise_ceiling(
        np.stack([np.asarray(each) for each in rsms.values()]),
        rule,
        key=resampling.seed if resampling.bootstrap else None,
        resamples=resampling.bootstrap or 2,
        confidence=resampling.confidence,
        groups=members,
        within_groups=resampling.within_groups,
    )
    row = {"lower": float(result.lower), "upper": float(result.upper)}
    if result.interval is not None:
        low, high = result.interval.low, result.interval.high
        row |= {"low": float(low[0]), "high": float(high[1])}
    return row


def _opened(paths: list[Path], rule: Any, kernel: Any, align: bool) -> dict[str, Any]:
    """By name, RSMs read by rows, or features where the measure takes those."""
    if not is_of_features(rule):
        if align:
            raise ValueError("--align needs a measure of features: --measure pwcca")
        return open_similarities(paths, kernel)
    if kernel is not None:
        raise ValueError(f"--kernel does not fit --measure {label(rule)}, of features")
    features = {}
    for path in paths:
        if str(path) in features:
            raise ValueError(f"{path} was given twice")
        with naming(path):
            layer = load_features(path)
            if align:
                order = layout_of("features", layer.shape, None)
                layer = align_tokens(to_tokens(layer, order))
            rows = np.asarray(layer)
            if rows.ndim < 2:
                raise ValueError(f"features need 2 axes or more, got {rows.shape}")
            features[str(path)] = with_ids(path, rows)
    return features


def _as_dict(pair: PairInference) -> dict[str, Any]:
    row: dict[str, Any] = {"a": pair.first, "b": pair.second, "estimate": pair.estimate}
    if pair.interval is not None:
        row |= numbers(pair.interval, "low", "high")
    if pair.p_value is not None:
        row |= {"p_value": pair.p_value, "p_holm": pair.p_holm}
        row["null_share"] = pair.null_share
    return row


def _show_matrix(names: list[str], matrix: np.ndarray) -> None:
    """A table whose columns are numbered as its rows."""
    numbers = [f"{i}" for i in range(1, len(names) + 1)]
    form = ".4f" if float(abs(matrix).max()) < 10 else ".4g"
    rows = [[f"{value:{form}}" for value in row] for row in matrix]
    width = max(len(cell) for row in [numbers, *rows] for cell in row)
    for number, row, name in zip(
        ["", *numbers], [numbers, *rows], ["", *names], strict=True
    ):
        cells = " ".join(f"{cell:>{width}}" for cell in row)
        say(f"{number:>4} {cells}  {name}".rstrip())


def _show_pair(names: list[str], pair: PairInference, confidence: float) -> None:
    places = f"{names.index(pair.first) + 1} and {names.index(pair.second) + 1}"
    parts = [f"{pair.estimate:.4f}"]
    if pair.interval is not None:
        low, high = float(pair.interval.low), float(pair.interval.high)
        parts.append(f"{confidence:.0%} {low:.4f} to {high:.4f}")
    if pair.p_value is not None:
        parts.append(f"p {pair.p_value:.3g}, corrected {pair.p_holm:.3g}")
        parts.append(f"beyond {pair.null_share:.1%} of the permutations")
    say(f"  {places}: {'; '.join(parts)}")
