"""Optimization: an image grows semantically similar to another, not place by place.

    python -m experiments.soft.optimize                  # minutes, 2 quiet cores
    python -m experiments.soft.optimize --scale smoke    # everything tiny, seconds

It needs scikit-image and matplotlib, and writes soft_optimize.json, .csv and .png to
results/soft_optimize. The pixels of one photograph are changed by gradient ascent, so
that the features that an untrained network makes of it match those of another one,
wherever in the image they stand (`Sinkhorn`), while the position-wise similarity is
held where it was at the start. The control raises the position-wise similarity in the
same way. Similarities are cosines; what is reported as semantic is that of the exact
matching. Intervals are Student's, over pairs of photographs.

Expected: the semantic similarity rises by 0.37 [0.25, 0.49], from 0.24 to 0.61, while
the position-wise one falls by 0.03; the tokens find their partners 16 pixels away, half
the image. The control raises both, and its tokens match in place.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import nnx
from jaxtyping import Array, Float

from experiments.frame.command_line import command
from experiments.frame.figures import styled_figure
from experiments.frame.finding import mean_number
from experiments.frame.networks import photograph_crops, token_grid
from experiments.frame.session import Session
from experiments.frame.study import Study
from semrsm_jax import Cosine, rsm
from semrsm_jax.demo.networks import normalize, random_network
from semrsm_jax.features import extract
from semrsm_jax.matching import Exact, Identity, Matcher, Sinkhorn, match
from semrsm_jax.models import ResNetConfig
from semrsm_jax.plotting import plot_displacement, token_centers
from semrsm_jax.plotting.style import COLORS

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Images = Float[Array, "P side side 3"]
Tokens = Float[Array, "P S C"]


@dataclass(frozen=True)
class OptimizeConfig:
    """All that the study depends on; both objectives have the same of everything.

    Attributes:
      network: untrained.
      stage: of it, 0 to 3, whose tokens are matched.
      seed: of crops and weights.
      pairs: of photographs, a start and a target of different scenes.
      side: of the photographs' crops, in pixels.
      steps: of Adam, on the logits of the pixels.
      learning_rate: of Adam.
      hold: weight of what the position-wise similarity exceeds its start by.
      matcher: the soft one.
      recorded: the similarities are taken every so many steps.
    """

    network: ResNetConfig = ResNetConfig(18, "cifar", None, width=32)
    stage: int = 1
    seed: int = 0
    pairs: int = 5
    side: int = 32
    steps: int = 200
    learning_rate: float = 0.05
    hold: float = 10.0
    matcher: Matcher = Sinkhorn(tolerance=1e-3)
    recorded: int = 10


_TINY = ResNetConfig(18, "cifar", None, width=8)
SCALES = {
    "bundled": OptimizeConfig(),
    "smoke": OptimizeConfig(_TINY, 2, pairs=2, side=16, steps=20, recorded=5),
}


class Course(NamedTuple):
    """What one objective made of the images.

    Attributes:
      images: (P, side, side, 3) at the end, in [0, 1].
      semantic: (records, P), cosine under the exact matching with the target.
      position_wise: (records, P), cosine with the target position by position.
      permutation: (P, S), the exact matching at the end, from the image to its target.
    """

    images: Float[np.ndarray, "P side side 3"]
    semantic: Float[np.ndarray, "records P"]
    position_wise: Float[np.ndarray, "records P"]
    permutation: np.ndarray


class Result(NamedTuple):
    """Both objectives, from the same images to the same targets."""

    config: OptimizeConfig
    starts: Float[np.ndarray, "P side side 3"]
    targets: Float[np.ndarray, "P side side 3"]
    courses: dict[str, Course]


def run(config: OptimizeConfig, session: Session = Session()) -> Result:
    """Optimizes all pairs by both objectives."""
    crops = photograph_crops(1, 2 * config.pairs, config.side, config.seed)
    starts, targets = np.split(crops, 2)
    model = random_network(config.network, config.seed, normalize(crops))
    layer = f"resnet.encoder.stages.{config.stage}"
    parts = nnx.split(model)
    mean = extract(model, normalize(crops), [layer])[layer].mean((0, 1))

    def features(images: Images) -> Tokens:
        tokens = extract(nnx.merge(*parts), normalize(images), [layer])[layer]
        return tokens - mean

    goal = features(jnp.asarray(targets))
    held = _similarity(features(jnp.asarray(starts)), goal, Identity())

    def semantic(tokens: Tokens) -> Array:
        excess = jax.nn.relu(_similarity(tokens, goal, Identity()) - held)
        return config.hold * excess - _similarity(tokens, goal, config.matcher)

    def position_wise(tokens: Tokens) -> Array:
        return -_similarity(tokens, goal, Identity())

    objectives = {"semantic": semantic, "position-wise": position_wise}
    courses = {}
    for name, objective in objectives.items():
        report = partial(session.report, f"Optimizing, {name}")
        courses[name] = _optimize(config, starts, goal, features, objective, report)
    return Result(config, starts, targets, courses)


def _similarity(x: Tokens, y: Tokens, matcher: Matcher) -> Float[Array, " P"]:
    """The cosine of each pair."""
    return jax.vmap(lambda a, b: rsm(a[None], b[None], matcher, Cosine())[0, 0])(x, y)


def _optimize(
    config: OptimizeConfig,
    starts: np.ndarray,
    goal: Tokens,
    features: Callable[[Images], Tokens],
    objective: Callable[[Tokens], Array],
    report: Callable[[int, int], None],
) -> Course:
    optimizer = optax.adam(config.learning_rate)

    @jax.jit
    def step(logits: Array, moments: Any) -> tuple[Any, Any]:
        # The pairs have nothing to do with each other: a sum trains each by itself.
        gradient = jax.grad(lambda z: objective(features(nnx.sigmoid(z))).sum())(logits)
        updates, moments = optimizer.update(gradient, moments, logits)
        return optax.apply_updates(logits, updates), moments

    @jax.jit
    def measure(logits: Array) -> tuple[Array, ...]:
        tokens = features(nnx.sigmoid(logits))
        return tuple(_similarity(tokens, goal, m) for m in (Exact(), Identity()))

    # Black and white have no logit.
    clipped = jnp.clip(jnp.asarray(starts), 0.01, 0.99)
    logits = jnp.log(clipped) - jnp.log1p(-clipped)
    moments, records = optimizer.init(logits), [measure(logits)]
    for done in range(1, config.steps + 1):
        logits, moments = step(logits, moments)
        if done % config.recorded == 0:
            records.append(measure(logits))
            report(done, config.steps)
    images = nnx.sigmoid(logits)
    permutation = match(features(images), goal, matcher=Exact()).permutation
    semantic, position_wise = map(np.stack, zip(*records, strict=True))
    return Course(np.asarray(images), semantic, position_wise, np.asarray(permutation))


def displacement(
    config: OptimizeConfig, permutation: np.ndarray
) -> Float[np.ndarray, "P S"]:
    """How far from each token its partner in the target stands, in pixels."""
    places = _places(config)
    return np.linalg.norm(places[permutation] - places, axis=-1)


def _places(config: OptimizeConfig) -> Float[np.ndarray, "S 2"]:
    """Row and column of the middle of each token's cell, in pixels."""
    image_size = (config.side, config.side)
    return token_centers(token_grid(image_size, config.stage), image_size)


def rows(result: Result) -> list[dict[str, Any]]:
    """One row for each recorded step of each pair and objective."""
    return [
        {
            "objective": name,
            "pair": pair,
            "step": record * result.config.recorded,
            "semantic similarity": float(course.semantic[record, pair]),
            "position-wise similarity": float(course.position_wise[record, pair]),
        }
        for name, course in result.courses.items()
        for pair in range(result.config.pairs)
        for record in range(len(course.semantic))
    ]


def summary(result: Result) -> dict[str, Any]:
    """How far both similarities rose under each objective, and the displacement."""
    return {
        f"{name}: {what}": mean_number(values)
        for name, (_, semantic, position_wise, permutation) in result.courses.items()
        for what, values in {
            "semantic similarity at the start": semantic[0],
            "semantic similarity at the end": semantic[-1],
            "rise of semantic similarity": semantic[-1] - semantic[0],
            "rise of position-wise similarity": position_wise[-1] - position_wise[0],
            "mean displacement of matches (px)": displacement(
                result.config, permutation
            ).mean(1),
        }.items()
    }


def draw(result: Result) -> "Figure":
    """The images of the first pair, its matches, and the similarities of all pairs."""
    with styled_figure((7.2, 3.9)) as figure:
        grid = figure.add_gridspec(2, 1, height_ratios=(1, 1.15))
        above, below = (figure.add_subfigure(part) for part in grid)
        images = above.subplots(1, 5, width_ratios=(1, 1, 1, 1, 1.3))
        courses = result.courses
        shown = {"start": result.starts, "target": result.targets}
        shown |= {name: course.images for name, course in courses.items()}
        for ax, (title, pictures) in zip(images, shown.items(), strict=False):
            ax.imshow(pictures[0], vmin=0, vmax=1)
            ax.set(title=title, xticks=[], yticks=[])
            ax.spines[:].set_visible(True)
        _draw_matches(images[-1], result)
        for ax, (name, course) in zip(
            below.subplots(1, 2, sharey=True), courses.items(), strict=True
        ):
            _draw_course(ax, result.config, course)
            ax.set_title(f"objective: {name}")
        below.axes[0].set_ylabel("cosine similarity to the target")
        below.axes[0].legend()
    return figure


def _draw_matches(ax: "Axes", result: Result) -> None:
    """Every second token's match, both ways."""
    places, course = _places(result.config), result.courses["semantic"]
    rows, columns = token_grid((result.config.side,) * 2, result.config.stage)
    tokens = np.arange(rows * columns).reshape(rows, columns)[1::2, 1::2].ravel()
    plot_displacement(
        course.images[0],
        places[tokens],
        places[course.permutation[0][tokens]],
        ax,
        title="semantic: matches",
        label="pixels",
    )


def _draw_course(ax: "Axes", config: OptimizeConfig, course: Course) -> None:
    steps = np.arange(len(course.semantic)) * config.recorded
    for label, values, color, style in (
        ("semantic (exact matching)", course.semantic, COLORS[0], "-"),
        ("position-wise", course.position_wise, COLORS[1], "--"),
    ):
        ax.plot(steps, values, style, color=color, linewidth=0.6, alpha=0.5)
        ax.plot(steps, values.mean(1), style, color=color, linewidth=2, label=label)
    ax.set(xlabel="step", ylim=(None, 1.02))


STUDY = Study(
    name="soft_optimize",
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
