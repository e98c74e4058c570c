"""``semrsm compare``: how alike similarity structures are."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer

from semrsm_jax import CKA, RSA, cka_matrix, hsic_matrix
from semrsm_jax.cli import options
from semrsm_jax.cli._algorithm_options import StatisticsKernel
from semrsm_jax.cli.console import progress_bar, say, say_json
from semrsm_jax.comparison.inference import (
    PairInference,
    infer_each_pair,
    rsa_matrix,
)
from semrsm_jax.store import open_similarities

NAME = "compare"
HELP = """Compare RSMs over the same samples, each with each: CKA, HSIC or RSA.

Each must be square, over the same samples in the same order: files that semrsm rsm writes, a .npy of any square matrix, or a .zarr of a run, whose layers are compared.

Example: semrsm compare layer1.npz layer2.npz layer3.npz --estimator unbiased --plot cka.pdf

Example: semrsm compare semantic.npz spatial.npz --bootstrap 2000 --permutations 999

CKA is 1 where both RSMs distinguish samples in the same way; HSIC is its numerator, without scale. The others are representational similarity analysis: a correlation of the entries off the diagonal. CKA and HSIC read RSMs of any size row by row; RSA, intervals and p-values need both RSMs in memory.

--bootstrap gives the interval of each value, samples resampled (not pairs, which share samples). --permutations tests whether two RSMs are related at all; p-values are also corrected for the number of pairs (Holm). CKA is then best estimated --estimator unbiased: the bias of the other is larger than its intervals."""  # noqa: E501 (lines are wrapped when shown)


class EstimatorName(StrEnum):
    """Estimators of HSIC."""

    BIASED = "biased"
    UNBIASED = "unbiased"


class MethodName(StrEnum):
    """Measures; those of `rsa` are named as there, with dashes."""

    CKA = "cka"
    HSIC = "hsic"
    PEARSON = "pearson"
    SPEARMAN = "spearman"
    KENDALL_TAU_A = "kendall-tau-a"
    KENDALL_TAU_B = "kendall-tau-b"
    COSINE = "cosine"
    WHITENED_COSINE = "whitened-cosine"
    WHITENED_PEARSON = "whitened-pearson"


_MATRICES = (MethodName.CKA, MethodName.HSIC)


def command(
    rsms: options.RSMs,
    kernel: StatisticsKernel,
    method: Annotated[
        MethodName,
        typer.Option(
            metavar="NAME",
            case_sensitive=False,
            help="cka, hsic, pearson, spearman, kendall-tau-a, kendall-tau-b, cosine, "
            "whitened-cosine or whitened-pearson.",
        ),
    ] = MethodName.CKA,
    estimator: Annotated[
        EstimatorName,
        typer.Option(
            case_sensitive=False,
            help="Of HSIC; unbiased leaves out the diagonals and needs 4 samples.",
        ),
    ] = EstimatorName.BIASED,
    bootstrap: Annotated[
        int | None,
        typer.Option(
            metavar="B",
            min=2,
            help="Resamples, for intervals; for example 2000.",
            rich_help_panel=options.STATISTICS_PANEL,
        ),
    ] = None,
    permutations: Annotated[
        int | None,
        typer.Option(
            metavar="B",
            min=1,
            help="Permutations, for p-values; for example 999.",
            rich_help_panel=options.STATISTICS_PANEL,
        ),
    ] = None,
    confidence: options.Confidence = 0.95,
    seed: options.Seed = 0,
    plot: Annotated[Path | None, options.figure_option("A heatmap")] = None,
    overwrite: options.Overwrite = False,
    quiet: options.Quiet = False,
    as_json: options.AsJSON = False,
) -> None:
    """Reads the RSMs and shows what they have in common."""
    if method is MethodName.HSIC and (bootstrap or permutations):
        raise ValueError("--bootstrap and --permutations do not fit --method hsic")
    options.check_figure(plot, overwrite, rsms)
    opened = open_similarities(rsms, kernel.build())
    if len(opened) < 2:
        raise ValueError("at least 2 RSMs must be given, or a run of 2 layers")
    rule = method.value.replace("-", "_")
    if method in _MATRICES:
        of_all = cka_matrix if method is MethodName.CKA else hsic_matrix
        matrix = of_all(opened, estimator=estimator.value)
        label = f"{method.value.upper()} ({estimator.value})"
    else:
        matrix = rsa_matrix(opened, rule)
        label = f"RSA ({method.value})"
    with progress_bar("pairs", quiet or as_json) as report:
        pairs = infer_each_pair(
            opened,
            CKA(estimator.value) if method is MethodName.CKA else RSA(rule),
            key=seed,
            resamples=bootstrap,
            permutations=permutations,
            confidence=confidence,
            progress=lambda done, total: report("Resampling", done, total),
        )
    names = list(opened)
    if plot is not None:
        from semrsm_jax.plotting import plot_comparison

        # HSIC has no natural scale.
        vmin, vmax = float(np.nanmin(matrix, initial=0)), 1.0
        if method is MethodName.HSIC:
            vmin = vmax = None
        axes = plot_comparison(matrix, names, label=label, vmin=vmin, vmax=vmax)
        options.save_figure(axes.figure, plot, overwrite)
    samples = next(iter(opened.values())).shape[0]
    if as_json:
        say_json(
            {
                "method": method.value,
                "estimator": estimator.value if method in _MATRICES else None,
                "samples": samples,
                "rsms": names,
                "matrix": matrix.tolist(),
                "pairs": [_as_dict(pair) for pair in pairs],
            }
        )
        return
    if quiet:
        return
    say(f"{label} over {samples} samples")
    _show_matrix(names, matrix)
    for pair in pairs:
        _show_pair(names, pair, confidence)
    if plot is not None:
        say(f"Heatmap: {plot}")


def _as_dict(pair: PairInference) -> dict[str, Any]:
    row: dict[str, Any] = {"a": pair.first, "b": pair.second, "estimate": pair.estimate}
    if pair.interval is not None:
        row |= {"low": float(pair.interval.low), "high": float(pair.interval.high)}
    if pair.p_value is not None:
        row |= {"p_value": pair.p_value, "p_holm": pair.p_holm}
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
    say(f"  {places}: {'; '.join(parts)}")
