"""Translation: does an RSM find an image again that was shifted? Fig. 2 and 7.

    python -m experiments.translation                  # minutes, 2 quiet cores
    python -m experiments.translation --scale smoke    # everything tiny, seconds
    python -m experiments.translation --scale paper --data imagenet/val

It needs matplotlib and scikit-image, and writes translation.json, .csv and its figures
to results/translation. Each crop gives two windows, from its upper left and its lower
left corner, which share most of their pixels (section 4.1: 84-pixel crops and 64-pixel
windows; Appendix B: 324 and 224, a shift by 6.25 patches, so that no patch comes back
whole). An RSM of ten crops is computed layer by layer, position by position
(spatio-semantic) and with tokens matched exactly (semantic), over many batches. AUROC
is the probability that the two windows of a crop are more similar than windows of
different scenes: 0.5 is chance. Intervals are 95 % and resample scenes.

At `bundled` scale the networks are those that `experiments.train` trained, beside the
same networks with random weights, and the crops those of scikit-image's photographs; at
`paper` scale ResNet18 and ViT-B/16 with their Hugging Face checkpoints on your images.

Expected of `bundled`, trained networks, by depth: AUROC of the semantic RSM 0.98, 0.98,
0.98 where the spatio-semantic one has 0.72, 0.74, 0.95 (ResNet), and 0.91, 0.94, 0.97,
0.98, 0.97 to 0.78, 0.84, 0.91, 0.95, 0.94 (transformer), each gain with its interval
above zero.
"""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from jaxtyping import Float

from experiments._common.networks import Published, Shipped
from experiments._common.session import Session
from experiments._common.study import Study, command
from experiments._translation.config import Case, TranslationConfig
from experiments._translation.figures import as_demo, draw_depth, draw_network
from experiments._translation.measure import Tried, measure
from experiments._translation.pictures import ImageFiles, Photographs
from experiments.data.images import IMAGES
from semrsm_jax.demo.report import table_rows

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_STAGES = tuple(f"resnet.encoder.stages.{k}" for k in range(4))
_VIT_2 = ("vit.encoder.layer.0", "vit.encoder.layer.1", "vit.layernorm")
_VIT_4 = (
    *(f"vit.encoder.layer.{k}" for k in range(4)),
    "vit.layernorm",
)
# Of twelve layers those that a figure has room for.
_BLOCKS = tuple(f"vit.encoder.layer.{k}" for k in (0, 3, 6, 9, 11))
_HALF = (0.5, 0.5, 0.5)  # what Google's checkpoints of ViT expect


def _resnet(network: str) -> Case:
    layers = _STAGES[:3]
    both = Shipped(network, layers), Shipped(network, layers, seed=0)
    return Case("resnet", both, 84, 64)


def _vit(network: str, layers: tuple[str, ...]) -> Case:
    both = Shipped(network, layers), Shipped(network, layers, seed=0)
    # 28 pixels are 3.5 patches of 8; 100 of 224 are 6.25 of 16.
    return Case("vit", both, 92, 64)


SCALES = {
    "bundled": TranslationConfig(
        pictures=Photographs(),
        resnet=_resnet("resnet-18"),
        vit=_vit("vit-4", _VIT_4),
    ),
    "smoke": TranslationConfig(
        pictures=Photographs(),
        resnet=_resnet("resnet-10"),
        vit=_vit("vit-2", _VIT_2),
        batches=2,
        crops=3,
        replicates=50,
    ),
    "paper": TranslationConfig(
        pictures=ImageFiles(),
        resnet=Case(
            "resnet",
            (Published("resnet18", _STAGES), Published("resnet18", _STAGES, seed=0)),
            84,
            64,
        ),
        vit=Case(
            "vit",
            (
                Published("vit-b16", _BLOCKS, _HALF, _HALF),
                Published("vit-b16", _BLOCKS, _HALF, _HALF, seed=0),
            ),
            324,
            224,
        ),
        batches=100,
    ),
}


class Result(NamedTuple):
    """What each network says, and the crops of each case's first batch."""

    config: TranslationConfig
    shown: dict[str, Float[np.ndarray, "n size size 3"]]
    tried: Sequence[Tried]


def run(config: TranslationConfig, session: Session = Session()) -> Result:
    """Compares both RSMs at every layer of every network."""
    return Result(config, *measure(config, session))


def rows(result: Result) -> list[dict[str, Any]]:
    """Two rows a layer, the spatio-semantic RSM first, as the demo has them."""
    return [
        {"network": tried.network.name, **row}
        for tried in result.tried
        for row in table_rows(
            as_demo(result.config, result.shown[tried.case.name], tried)
        )
    ]


def summary(result: Result) -> dict[str, Any]:
    """Of each network: where the semantic RSM is better, and how good both are."""
    found: dict[str, Any] = {}
    for tried in result.tried:
        title, layers = tried.network.title, tried.layers
        better = sum(layer.gain.low > 0 for layer in layers)
        worst = min(layers, key=lambda layer: layer.gain.value)
        found[f"{title}: layers"] = len(layers)
        found[f"{title}: layers where semantic is better"] = better
        found[f"{title}: smallest gain in AUROC"] = worst.gain
        for depth, layer in (("first", layers[0]), ("last", layers[-1])):
            found[f"{title}: AUROC, semantic, {depth} layer"] = layer.semantic.auroc
            found[f"{title}: AUROC, spatio-semantic, {depth} layer"] = (
                layer.spatio_semantic.auroc
            )
    return found


def _drawer(number: int) -> Callable[[Result], "Figure"]:
    def draw(result: Result) -> "Figure":
        tried = result.tried[number]
        return draw_network(result.config, result.shown[tried.case.name], tried)

    return draw


STUDY = Study(
    name="translation",
    doc=__doc__ or "",
    scales=SCALES,
    run=run,
    summary=summary,
    rows=rows,
    figures={
        "": lambda result: draw_depth(result.tried),
        "resnet": _drawer(0),
        "resnet-random": _drawer(1),
        "vit": _drawer(2),
        "vit-random": _drawer(3),
    },
    needs={"matplotlib": "matplotlib", "skimage": "scikit-image"},
    data=IMAGES.help,
)
app = command(STUDY)

if __name__ == "__main__":
    app()
