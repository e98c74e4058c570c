"""Correspondences: soft matches between two photographs of a stereo pair.

    python -m experiments.soft.stereo                  # a minute, 2 quiet cores
    python -m experiments.soft.stereo --scale smoke    # everything tiny, seconds

It needs scikit-image and matplotlib, and writes soft_stereo.json, .csv and .png to
results/soft_stereo. Neither stereo geometry nor any training is used: the
tokens of an untrained network on the left photograph of a motorcycle are matched with
those on the right one. The true disparity, which comes with the photographs
(Middlebury Stereo 2014), says where each went. Three rules are scored:

    soft           Sinkhorn: the best partner of each token in the plan
    exact          Exact(): the optimal permutation
    position-wise  Identity(): each token with that at the same place

Right is a match that is no more than a token's cell off. Intervals are a spatial block
bootstrap's (tiles of tokens are drawn with replacement), as neighboring tokens err
together; the margin is that of paired differences.

Expected: 78 % of the tokens are matched to within their cell softly, 77 % exactly and
16 % position by position; the margin over position-wise is 0.62 [0.49, 0.74], the
median error 5 against 38 pixels. The mean error is no better, 40 against 34 pixels: a
wrong match may lie anywhere, the same place is never farther off than the disparity.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from jaxtyping import Float

from experiments.frame.command_line import command
from experiments.frame.figures import draw_line, styled_figure
from experiments.frame.finding import Number, number
from experiments.frame.session import Session
from experiments.frame.study import Study
from experiments.soft.stereo_pair import StereoPair, stereo_pair
from semrsm_jax.comparison.inference import score_interval
from semrsm_jax.matching import Exact, Identity, Sinkhorn, match
from semrsm_jax.models import ResNetConfig
from semrsm_jax.plotting import plot_correspondences
from semrsm_jax.plotting.style import COLORS

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_SHRUNK = 4  # pixels of the photographs to a pixel drawn


@dataclass(frozen=True)
class StereoConfig:
    """All that the study depends on.

    Attributes:
      network: untrained.
      seed: of its weights, of the bootstrap and of the matches drawn.
      scale: pixels of the photographs to a pixel that the network sees.
      stages: of the network, side by side in a token.
      matcher: the soft one.
      block: rows and columns of the bootstrap's tiles, in tokens.
      resamples: of the bootstrap.
      drawn: tokens, taken at random, whose matches are drawn.
    """

    network: ResNetConfig = ResNetConfig(18, "cifar", None)
    seed: int = 0
    scale: int = 4
    stages: tuple[int, ...] = (0, 1, 2)
    matcher: Sinkhorn = Sinkhorn(tolerance=1e-3)
    block: int = 6
    resamples: int = 2000
    drawn: int = 24


SCALES = {
    "bundled": StereoConfig(),
    "smoke": StereoConfig(
        network=ResNetConfig(18, "cifar", None, width=16),
        scale=10,
        block=3,
        resamples=200,
    ),
}


class Result(NamedTuple):
    """The pair, and where each rule puts its tokens.

    Attributes:
      config: what was run.
      pair: tokens and truth.
      matches: name of each rule -> (S, 2), row and column in pixels of the right
        photograph.
      confidence: (S,), the share of its mass that a token sends to its best partner.
      converged: whether the soft matching did.
    """

    config: StereoConfig
    pair: StereoPair
    matches: dict[str, Float[np.ndarray, "S 2"]]
    confidence: Float[np.ndarray, " S"]
    converged: bool


def run(config: StereoConfig, session: Session = Session()) -> Result:
    """Matches the pair by every rule."""
    session.report("Features", 0, 4)
    pair = stereo_pair(config.network, config.seed, config.scale, config.stages)
    session.report("Soft matching", 1, 4)
    soft = match(*pair.tokens, matcher=config.matcher)
    plan = np.asarray(soft.plan)
    results = {"soft": pair.places[plan.argmax(1)]}
    rules = (("exact", Exact()), ("position-wise", Identity()))
    for done, (name, matcher) in enumerate(rules, start=2):
        session.report(f"Matching, {name}", done, 4)
        permutation = match(*pair.tokens, matcher=matcher).permutation
        results[name] = pair.places[np.asarray(permutation)]
    session.report("Done", 4, 4)
    return Result(config, pair, results, plan.max(1), bool(soft.converged))


def errors(result: Result) -> dict[str, Float[np.ndarray, " S"]]:
    """Name of each rule -> distance to the truth, in pixels; NaN where unknown."""
    return {
        name: np.linalg.norm(places - result.pair.truth, axis=1)
        for name, places in result.matches.items()
    }


def rows(result: Result) -> list[dict[str, Any]]:
    """One row for each token of known disparity."""
    error = errors(result)
    return [
        {
            "row": float(result.pair.places[token, 0]),
            "column": float(result.pair.places[token, 1]),
            "disparity": float(
                result.pair.places[token, 1] - result.pair.truth[token, 1]
            ),
            "confidence": float(result.confidence[token]),
            **{f"error, {name}": float(error[name][token]) for name in error},
        }
        for token in np.flatnonzero(result.pair.known)
    ]


def summary(result: Result) -> dict[str, Any]:
    """Shares of right matches with intervals, the margins, and errors in pixels."""
    config, pair = result.config, result.pair
    error = errors(result)
    right = {
        name: np.where(pair.known, values <= pair.cell, np.nan)
        for name, values in error.items()
    }

    rows, columns = (np.arange(n) // config.block for n in pair.grid)
    tile = (rows[:, None] * pair.grid[1] + columns).ravel()

    def interval(values: np.ndarray) -> Number:
        # The same tiles for every score.
        return number(
            score_interval(
                values, key=config.seed, groups=tile, resamples=config.resamples
            )
        )

    entries: dict[str, Any] = {
        "tokens": len(pair.places),
        "tokens of known disparity": int(pair.known.sum()),
        "cell (px)": pair.cell,
        "soft matching converged": result.converged,
    }
    for name in error:
        entries[f"share within {pair.cell} px: {name}"] = interval(right[name])
    for name in ("position-wise", "exact"):
        margin = interval(right["soft"] - right[name])
        entries[f"margin of soft over {name}"] = margin
    for name, values in error.items():
        entries[f"median error (px): {name}"] = float(np.nanmedian(values))
    for name, values in error.items():
        # A wrong match may be anywhere; that at the same place is never far off.
        entries[f"mean error (px): {name}"] = float(np.nanmean(values))
    return entries


def draw(result: Result) -> "Figure":
    """Some tokens' matches by two rules, and how far all of them are off by each."""
    with styled_figure((7.2, 3.1)) as figure:
        grid = figure.add_gridspec(2, 2, width_ratios=(1, 1.1))
        error, pair = errors(result), result.pair
        chosen = _drawn(result)
        for row, name in enumerate(("soft", "position-wise")):
            ax = figure.add_subplot(grid[row, 0])
            good = error[name] <= pair.cell
            share = np.mean(good[pair.known])
            plot_correspondences(
                _faded(pair.left),
                _faded(pair.right),
                _shrunk(pair.places[chosen]),
                _shrunk(result.matches[name][chosen]),
                ax,
                good=good[chosen],
                title=f"{name}: {share:.0%} within {pair.cell} px",
            )
        _draw_errors(figure.add_subplot(grid[:, 1]), error, pair.cell)
    return figure


def _faded(image: Float[np.ndarray, "H W 3"]) -> Float[np.ndarray, "h w"]:
    """Small, gray and bright, so that lines stand out."""
    height, width = image.shape[0] // _SHRUNK, image.shape[1] // _SHRUNK
    blocks = image.reshape(height, _SHRUNK, width, _SHRUNK * 3).mean((1, 3))
    return 0.5 + 0.5 * blocks


def _shrunk(places: Float[np.ndarray, "n 2"]) -> Float[np.ndarray, "n 2"]:
    """Places in pixels of the photographs, in those of the images drawn."""
    return (places + 0.5) / _SHRUNK - 0.5


def _drawn(result: Result) -> np.ndarray:
    """Some tokens of known disparity, the same for every rule."""
    (known,) = np.nonzero(result.pair.known)
    rng = np.random.default_rng(result.config.seed)
    return rng.choice(known, min(result.config.drawn, len(known)), replace=False)


def _draw_errors(ax: "Axes", error: dict[str, np.ndarray], cell: int) -> None:
    for (name, values), color in zip(error.items(), COLORS, strict=False):
        ordered = np.sort(values[np.isfinite(values)])
        shares = np.arange(1, len(ordered) + 1) / len(ordered)
        style = "--" if name == "exact" else "-"
        ax.step(ordered, shares, style, color=color, label=name, where="post")
    draw_line(ax, cell, vertical=True)
    ax.annotate(
        "a token's cell", (cell * 0.93, 0.98), color="0.4", ha="right", va="top"
    )
    ax.set(
        xscale="log",
        xlim=(1, None),
        ylim=(0, 1),
        xlabel="error (pixels)",
        ylabel="share of the tokens",
    )
    ax.legend()


STUDY = Study(
    name="soft_stereo",
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
