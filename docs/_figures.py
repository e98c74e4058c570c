"""The pictures of the documentation that no experiment draws, and the results page.

    python docs/_figures.py      # a minute on two cores

writes docs/images/matching.png and docs/images/proof.png. The features are those of an
untrained ResNet18 on photographs inside scikit-image; seeds are fixed. Where
python -m experiments.reproduce left results/, its page goes to docs/results, with the
figures and without the files of numbers, and that of results/pretrained, where the
scale pretrained was run, to docs/results/pretrained.
"""

import re
import sys
from pathlib import Path

import jax.numpy as jnp
import numpy as np
from matplotlib.figure import Figure
from PIL import Image

FOLDER = Path(__file__).parent
sys.path.insert(0, str(FOLDER.parent))

from experiments.frame.networks import token_grid  # noqa: E402
from semrsm_jax import Exact, center, linear_assignment, match  # noqa: E402
from semrsm_jax.demo.networks import normalize, random_network  # noqa: E402
from semrsm_jax.features import extract  # noqa: E402
from semrsm_jax.models import ResNetConfig  # noqa: E402
from semrsm_jax.plotting import plot_correspondences  # noqa: E402

SIDE, SHIFT, STAGE = 128, 32, 2  # pixels of a window, its move, the layer


def windows() -> np.ndarray:
    """Two windows of a photograph, the second further to the right: (2, H, W, 3)."""
    from skimage.data import astronaut

    picture = astronaut()[20 : 20 + 2 * SIDE : 2, 110 : 110 + 2 * (SIDE + SHIFT) : 2]
    picture = picture.astype(np.float32) / 255
    return np.stack([picture[:, :SIDE], picture[:, SHIFT : SHIFT + SIDE]])


def features(images: np.ndarray, stage: int) -> np.ndarray:
    """Centered tokens (2, S, C) of a stage of an untrained ResNet18."""
    pixels = normalize(images)
    model = random_network(ResNetConfig(18, "cifar"), 0, pixels)
    layer = f"resnet.encoder.stages.{stage}"
    return np.asarray(center(extract(model, pixels, [layer])[layer]))


def draw_matching() -> None:
    """Which token of one window goes with which of the other."""
    images = windows()
    x = features(images, STAGE)
    matching = match(x[0], x[1], matcher=Exact())
    rows, columns = token_grid((SIDE, SIDE), STAGE)
    cell = SIDE // rows
    grid = np.stack(np.mgrid[:rows, :columns], -1).reshape(-1, 2)
    places = (grid + 0.5) * cell - 0.5
    partners = places[np.asarray(matching.permutation)]
    matched = np.sum(x[0] * x[1][np.asarray(matching.permutation)], axis=-1)
    strongest = np.argsort(matched)[-40:]
    moved = partners - places
    right = np.hypot(moved[:, 0], moved[:, 1] + SHIFT) <= cell

    figure = Figure(figsize=(6.4, 3.4), layout="constrained", dpi=150)
    plot_correspondences(
        images[0],
        images[1],
        places[strongest],
        partners[strongest],
        figure.add_subplot(),
        good=right[strongest],
        title="The 40 matched pairs of largest inner product",
    )
    figure.savefig(FOLDER / "images/matching.png")
    position = float(np.sum(x[0] * x[1]))
    print(f"position by position {position / float(matching.upper_bound):.3f} of the")
    print(f"bound, matched {float(matching.value / matching.upper_bound):.6f};")
    print(f"right within a token: {right[strongest].mean():.2f} of the 40 strongest")


def draw_proof() -> None:
    """The proven and the true gap of the solver against its tolerance."""
    images = windows()
    x = features(images, 1)[:, ::4]  # every fourth token: S = 1024
    affinity = jnp.asarray(x[0] @ x[1].T)
    best = linear_assignment(affinity, tolerance=0.0)
    optimum = np.asarray(affinity, np.float64)
    optimum = optimum[np.arange(len(optimum)), best.permutation].sum()
    tolerances = 10.0 ** -np.arange(1, 6)
    proven, lost = [], []
    for tolerance in tolerances:
        solved = linear_assignment(affinity, tolerance=float(tolerance))
        proven.append(float(solved.upper_bound) / optimum - 1)
        lost.append(1 - float(solved.value) / optimum)
    figure = Figure(figsize=(5.2, 3.2), layout="constrained", dpi=150)
    ax = figure.add_subplot()
    ax.loglog(tolerances, tolerances, ":", color="0.5", label="tolerance")
    ax.loglog(tolerances, np.add(proven, lost), "o-", color="#0072B2", label="proven")
    ax.loglog(
        tolerances,
        np.maximum(lost, 1e-8),
        "s--",
        color="#D55E00",
        label="true distance from the optimum (1e-8: less)",
    )
    ax.set(
        xlabel="tolerance of the solver",
        ylabel="relative gap",
        title=f"One pair, S = {len(affinity)}",
    )
    ax.invert_xaxis()
    ax.legend(frameon=False, fontsize=8)
    ax.spines[["top", "right"]].set_visible(False)
    figure.savefig(FOLDER / "images/proof.png")
    for row in zip(tolerances, proven, lost, strict=True):
        print("tolerance {:.0e}: bound +{:.1e}, value -{:.1e}".format(*row))


def copy_results(source: Path, folder: Path) -> None:
    """The page of all experiments, its figures in 256 colors: a third of the size."""
    text = (source / "results.md").read_text()
    # The files of numbers are not copied.
    text = re.sub(r"\[([^]]*\.json)\]\([^)]*\)", r"`\1`", text)
    for name in re.findall(r"!\[[^]]*\]\(([^)]*\.png)\)", text):
        picture = Image.open(source / name).convert("RGB")
        to = folder / name
        to.parent.mkdir(parents=True, exist_ok=True)
        picture.quantize(256, dither=Image.Dither.NONE).save(to, optimize=True)
    (folder / "results.md").write_text(text)


if __name__ == "__main__":
    (FOLDER / "images").mkdir(exist_ok=True)
    draw_matching()
    draw_proof()
    for part in ("results", "results/pretrained"):
        if (FOLDER.parent / part / "results.md").exists():
            copy_results(FOLDER.parent / part, FOLDER / part)
