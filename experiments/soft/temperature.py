"""Temperature: from a soft matching to the exact one, as epsilon falls.

    python -m experiments.soft.temperature                  # minutes, 2 quiet cores
    python -m experiments.soft.temperature --scale smoke    # everything tiny, seconds

It needs scikit-image and matplotlib, and writes soft_temperature.json, .csv and .png to
results/soft_temperature. Crops of photographs go through an untrained network; every
two are matched with `Sinkhorn` at epsilons from 10 to 1e-4 times the spread (standard
deviation) of the pair's affinity. Shown are the entropy of the plan, the value as a
share of that of the exact matching, and how alike the soft and the exact RSM are.

Expected: at 10 times the spread the plan is uniform and its value 79 % of the exact
one, less than position by position (89 %); it rises to the exact value, within 0.1 % at
the smallest epsilon for every pair, and nothing is NaN. The correlation with the exact
RSM exceeds 0.999 from 0.3 times the spread on.
"""

import dataclasses
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from jaxtyping import Float

from experiments.frame.command_line import command
from experiments.frame.figures import styled_figure
from experiments.frame.networks import photograph_crops
from experiments.frame.session import Session
from experiments.frame.study import Study
from experiments.frame.worker import track
from semrsm_jax.comparison import cka
from semrsm_jax.demo.networks import normalize, random_network
from semrsm_jax.features import extract
from semrsm_jax.matching import Exact, Identity, Sinkhorn, match
from semrsm_jax.models import ResNetConfig
from semrsm_jax.plotting.style import COLORS

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


@dataclass(frozen=True)
class TemperatureConfig:
    """All that the study depends on.

    Attributes:
      network: untrained.
      stage: of it, 0 to 3.
      seed: of crops and weights.
      crops: of photographs of different scenes.
      side: of the crops, in pixels.
      epsilons: in units of the spread of each pair's affinity.
      matcher: what else is set of the soft matching.
    """

    network: ResNetConfig = ResNetConfig(18, "cifar", None)
    stage: int = 2
    seed: int = 0
    crops: int = 12
    side: int = 32
    epsilons: tuple[float, ...] = (
        *(10.0, 3.0, 1.0, 0.3, 0.1, 0.03),
        *(0.01, 3e-3, 1e-3, 3e-4, 1e-4),
    )
    matcher: Sinkhorn = Sinkhorn(relative=True, epsilon=1.0)


SCALES = {
    "bundled": TemperatureConfig(),
    "smoke": TemperatureConfig(
        network=ResNetConfig(18, "cifar", None, width=8),
        crops=4,
        side=16,
        epsilons=(10.0, 0.1, 1e-3),
    ),
}


class Result(NamedTuple):
    """What every pair of different crops gave, i below j.

    Attributes:
      config: what was run.
      entropy: (epsilons, pairs), of a row of the plan, as a share of log S.
      value: (epsilons, pairs), matched inner product.
      converged: (epsilons, pairs).
      n_iters: (epsilons, pairs).
      exact: (pairs,), value of the exact matching.
      identity: (pairs,), position by position.
      sq_norms: (crops,), of the representations: the diagonal of an exact RSM.
      self_value: (epsilons, crops), soft value of each crop with itself.
    """

    config: TemperatureConfig
    entropy: Float[np.ndarray, "E pairs"]
    value: Float[np.ndarray, "E pairs"]
    converged: np.ndarray
    n_iters: np.ndarray
    exact: Float[np.ndarray, " pairs"]
    identity: Float[np.ndarray, " pairs"]
    sq_norms: Float[np.ndarray, " crops"]
    self_value: Float[np.ndarray, "E crops"]


def run(config: TemperatureConfig, session: Session = Session()) -> Result:
    """Matches all pairs at every epsilon."""
    x = _tokens(config)
    left, right = np.triu_indices(config.crops, 1)
    own = np.arange(config.crops)
    first, second = x[np.concatenate([left, own])], x[np.concatenate([right, own])]
    soft = []
    for epsilon in track(session.report, "Matching softly", config.epsilons):
        matcher = dataclasses.replace(config.matcher, epsilon=epsilon)
        matching = match(first, second, matcher=matcher)
        numbers = matching.value, matching.converged, matching.n_iters
        soft.append((_entropy(np.asarray(matching.plan)), *map(np.asarray, numbers)))
    entropy, value, converged, n_iters = map(np.stack, zip(*soft, strict=True))
    exact, identity = (
        np.asarray(match(x[left], x[right], matcher=matcher).value)
        for matcher in (Exact(tolerance=0.0), Identity())
    )
    pairs = len(left)
    return Result(
        config,
        entropy[:, :pairs],
        value[:, :pairs],
        converged[:, :pairs],
        n_iters[:, :pairs],
        exact,
        identity,
        np.sum(x.astype(np.float64) ** 2, axis=(1, 2)),
        value[:, pairs:],
    )


def _tokens(config: TemperatureConfig) -> Float[np.ndarray, "N S C"]:
    crops = photograph_crops(1, config.crops, config.side, config.seed)
    pixels = normalize(crops)
    model = random_network(config.network, config.seed, pixels)
    name = f"resnet.encoder.stages.{config.stage}"
    return np.asarray(extract(model, pixels, [name])[name])


def _entropy(plan: Float[np.ndarray, "pairs S S"]) -> Float[np.ndarray, " pairs"]:
    """Of a row on average: 0 for a permutation, 1 for the uniform plan."""
    plan = plan.astype(np.float64)
    log = np.log(np.where(plan > 0, plan, 1))
    rows = -np.sum(plan * log, axis=-1)
    return rows.mean(-1) / np.log(plan.shape[-1])


def rows(result: Result) -> list[dict[str, Any]]:
    """One row for each epsilon; the last is the exact matching, epsilon 0."""
    config, exact = result.config, _rsm(result, result.exact, result.sq_norms)
    gap = 1 - result.value / result.exact
    table = [
        {
            "epsilon": epsilon,
            "plan entropy / log S": float(result.entropy[k].mean()),
            "value / exact value": float(1 - gap[k].mean()),
            "largest gap to the exact value": float(gap[k].max()),
            "correlation with the exact RSM": _correlation(
                result.value[k], result.exact
            ),
            "CKA with the exact RSM": float(
                cka(_rsm(result, result.value[k], result.self_value[k]), exact)
            ),
            "converged": float(result.converged[k].mean()),
            "iterations": float(result.n_iters[k].mean()),
        }
        for k, epsilon in enumerate(config.epsilons)
    ]
    limit = (0.0, 0.0, 1.0, 0.0, 1.0, 1.0, None, None)
    return [*table, dict(zip(table[0], limit, strict=True))]


def _rsm(result: Result, values: np.ndarray, diagonal: np.ndarray) -> np.ndarray:
    """The RSM of values of all pairs of different crops."""
    K = np.diag(diagonal).astype(np.float64)
    left, right = np.triu_indices(result.config.crops, 1)
    K[left, right] = K[right, left] = values
    return K


def _correlation(first: np.ndarray, second: np.ndarray) -> float:
    return float(np.corrcoef(first, second)[0, 1])


def summary(result: Result) -> dict[str, Any]:
    """The hardest and the softest epsilon, and that of the default."""
    *soft, _ = rows(result)
    hardest = min(soft, key=lambda row: row["epsilon"])
    softest = max(soft, key=lambda row: row["epsilon"])
    values = result.value[np.argsort(-np.array(result.config.epsilons))]
    steps = np.diff(values, axis=0) / result.exact
    entries = {
        "pairs": len(result.exact),
        "values that are NaN": int(np.isnan(result.value).sum()),
        "largest fall of the value as epsilon falls (share)": float(
            max(0.0, -steps.min())
        ),
        "position-wise value / exact value": float(
            np.mean(result.identity / result.exact)
        ),
    }
    for row in (softest, hardest):
        for name in list(row)[1:]:
            entries[f"epsilon {row['epsilon']:g}: {name}"] = row[name]
    return entries


def draw(result: Result) -> "Figure":
    """Entropy, value and RSM against epsilon, which falls to the right."""
    *table, _ = rows(result)
    epsilons = result.config.epsilons
    with styled_figure((7.2, 2.5)) as figure:
        entropy, value, similarity = figure.subplots(1, 3)
        _draw_spread(entropy, epsilons, result.entropy, COLORS[0])
        entropy.set(ylabel="entropy of the plan / log S", title="plan")
        _draw_spread(value, epsilons, result.value / result.exact, COLORS[0])
        value.axhline(1, color=COLORS[1], linestyle="--", label="exact")
        share = float(np.mean(result.identity / result.exact))
        value.axhline(share, color="0.5", linestyle=":", label="position-wise")
        value.set(ylabel="value / exact value", title="matched inner product")
        value.legend()
        for name, color, marker in (
            ("correlation with the exact RSM", COLORS[0], "o"),
            ("CKA with the exact RSM", COLORS[2], "s"),
        ):
            label = name.split()[0]
            points = [row[name] for row in table]
            similarity.plot(
                epsilons, points, color=color, marker=marker, markersize=3, label=label
            )
        similarity.axhline(1, color=COLORS[1], linestyle="--", label="exact")
        similarity.set(ylabel="similarity to the exact RSM", title="RSM")
        similarity.legend()
        for ax in (entropy, value, similarity):
            ax.set(xscale="log", xlabel="epsilon / spread of the affinity")
            ax.invert_xaxis()
    return figure


def _draw_spread(
    ax: "Axes", epsilons: tuple[float, ...], values: np.ndarray, color: str
) -> None:
    """The mean over pairs, and the range of all of them."""
    low, high = values.min(1), values.max(1)
    ax.fill_between(epsilons, low, high, color=color, alpha=0.2, linewidth=0)
    ax.plot(epsilons, values.mean(1), color=color, marker="o", markersize=3)


STUDY = Study(
    name="soft_temperature",
    doc=__doc__ or "",
    scales=SCALES,
    run=run,
    summary=summary,
    rows=rows,
    figures={"": draw},
    needs={"matplotlib": "matplotlib", "skimage": "scikit-image"},
    resumable=False,
)
app = command(STUDY)

if __name__ == "__main__":
    app()
