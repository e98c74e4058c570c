"""``semrsm compare``: how alike similarity structures are."""

from collections.abc import Callable, Iterator
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from semrsm_jax.cli import _similarity as similarity
from semrsm_jax.cli import options
from semrsm_jax.cli._algorithm_options import StatisticsKernel
from semrsm_jax.cli.console import progress_bar, say, say_json

if TYPE_CHECKING:
    import numpy as np

    from semrsm_jax.comparison.inference import Statistic
    from semrsm_jax.store import Similarity

NAME = "compare"
HELP = """Compare RSMs over the same samples, each with each: CKA, HSIC or RSA.

Each must be square, over the same samples in the same order: files that semrsm rsm writes, a .npy of any square matrix, or a .zarr of a run, whose layers are compared.

Example: semrsm compare layer1.npz layer2.npz layer3.npz --estimator unbiased --plot cka.pdf

Example: semrsm compare semantic.npz spatial.npz --bootstrap 2000 --permutations 999

CKA is 1 where both tell samples apart in the same way; HSIC is its numerator, without scale. The others are representational similarity analysis: a correlation of the entries off the diagonal. CKA and HSIC read rows, whatever the size; RSA, intervals and p-values need both RSMs in memory.

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
    rsms: similarity.RSMs,
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
            metavar="B", min=2, help="Resamples, for intervals; 2000 is fine."
        ),
    ] = None,
    permutations: Annotated[
        int | None,
        typer.Option(
            metavar="B", min=1, help="Permutations, for p-values; 999 is fine."
        ),
    ] = None,
    confidence: similarity.Confidence = 0.95,
    seed: similarity.Seed = 0,
    plot: Annotated[Path | None, similarity.figure_option("A heatmap")] = None,
    overwrite: options.Overwrite = False,
    quiet: options.Quiet = False,
    as_json: options.AsJSON = False,
) -> None:
    """Reads the RSMs and shows what they have in common."""
    if method is MethodName.HSIC and (bootstrap or permutations):
        raise ValueError("--bootstrap and --permutations do not fit --method hsic")
    similarity.check_figure(plot, overwrite, rsms)
    opened = similarity.open_rsms(rsms, kernel)
    if len(opened) < 2:
        raise ValueError("at least 2 RSMs must be given, or a run of 2 layers")
    similarity.check_alike(opened, square=True)
    matrix = _matrix(opened, method, estimator)
    with progress_bar("pairs", quiet or as_json) as report:
        pairs = _inference(
            opened, method, estimator, bootstrap, permutations, confidence, seed, report
        )
    names, label = list(opened), _label(method, estimator)
    if plot is not None:
        import numpy as np

        from semrsm_jax.plotting import plot_comparison

        # HSIC has no natural scale.
        vmin, vmax = float(np.nanmin(matrix, initial=0)), 1.0
        if method is MethodName.HSIC:
            vmin = vmax = None
        axes = plot_comparison(matrix, names, label=label, vmin=vmin, vmax=vmax)
        similarity.save_figure(axes.figure, plot, overwrite)
    samples = next(iter(opened.values())).shape[0]
    if as_json:
        say_json(
            {
                "method": method.value,
                "estimator": estimator.value if method in _MATRICES else None,
                "samples": samples,
                "rsms": names,
                "matrix": matrix.tolist(),
                "pairs": pairs,
            }
        )
        return
    if quiet:
        return
    say(f"{label} over {samples} samples")
    _show_matrix(names, matrix)
    _show_pairs(names, pairs, confidence)
    if plot is not None:
        say(f"Heatmap: {plot}")


def _label(method: MethodName, estimator: EstimatorName) -> str:
    if method in _MATRICES:
        return f"{method.value.upper()} ({estimator.value})"
    return f"RSA ({method.value})"


def _statistic(method: MethodName, estimator: EstimatorName) -> "Statistic":
    from semrsm_jax.comparison.inference import CKA, RSA

    if method is MethodName.CKA:
        return CKA(estimator.value)
    return RSA(method.value.replace("-", "_"))


def _matrix(
    rsms: "dict[str, Similarity]", method: MethodName, estimator: EstimatorName
) -> "np.ndarray":
    """Every RSM with every one."""
    import numpy as np

    from semrsm_jax import cka_matrix, hsic_matrix, rsa

    if method in _MATRICES:
        of_all = cka_matrix if method is MethodName.CKA else hsic_matrix
        return of_all(rsms, estimator=estimator.value)
    names, matrix = list(rsms), np.empty((len(rsms), len(rsms)))
    for i, first in enumerate(names):
        one = np.asarray(rsms[first])
        for j in range(i, len(names)):
            other = one if i == j else np.asarray(rsms[names[j]])
            value = rsa(one, other, method.value.replace("-", "_"))
            matrix[i, j] = matrix[j, i] = float(value)
    return matrix


def _inference(
    rsms: "dict[str, Similarity]",
    method: MethodName,
    estimator: EstimatorName,
    bootstrap: int | None,
    permutations: int | None,
    confidence: float,
    seed: int,
    report: Callable[[str, int, int], None],
) -> list[dict[str, Any]]:
    """Intervals and p-values of each two different RSMs; none where none was wanted."""
    if not (bootstrap or permutations):
        return []
    import numpy as np

    from semrsm_jax.comparison.inference import (
        bootstrap_interval,
        holm,
        permutation_test,
    )

    statistic = _statistic(method, estimator)
    found = []
    couples = list(_couples(list(rsms)))
    for done, (a, b) in enumerate(couples, 1):
        K, L = np.asarray(rsms[a]), np.asarray(rsms[b])
        row: dict[str, Any] = {"a": a, "b": b}
        if bootstrap:
            interval = bootstrap_interval(
                K, L, statistic, key=seed, resamples=bootstrap, confidence=confidence
            )
            row |= {"estimate": float(interval.estimate)}
            row |= {"low": float(interval.low), "high": float(interval.high)}
        if permutations:
            test = permutation_test(K, L, statistic, key=seed, resamples=permutations)
            row |= {"estimate": float(test.statistic), "p_value": float(test.p_value)}
        found.append(row)
        report("Resampling", done, len(couples))
    if permutations:
        corrected = holm(np.array([row["p_value"] for row in found])).tolist()
        found = [row | {"p_holm": p} for row, p in zip(found, corrected, strict=True)]
    return found


def _couples(names: list[str]) -> Iterator[tuple[str, str]]:
    for i, first in enumerate(names):
        for second in names[i + 1 :]:
            yield first, second


def _show_matrix(names: list[str], matrix: "np.ndarray") -> None:
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


def _show_pairs(
    names: list[str], pairs: list[dict[str, Any]], confidence: float
) -> None:
    for row in pairs:
        places = f"{names.index(row['a']) + 1} and {names.index(row['b']) + 1}"
        parts = [f"{row['estimate']:.4f}"]
        if "low" in row:
            parts.append(f"{confidence:.0%} {row['low']:.4f} to {row['high']:.4f}")
        if "p_value" in row:
            parts.append(f"p {row['p_value']:.3g}, corrected {row['p_holm']:.3g}")
        say(f"  {places}: {'; '.join(parts)}")
