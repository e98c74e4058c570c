"""Section 4.1 and Appendix B: what the paper reports, and what was measured here."""

from collections.abc import Iterator, Sequence
from typing import Any

from experiments.frame.finding import Finding, Quantity, Section, count, verdict
from experiments.translation.measure import Measured
from semrsm_jax.demo import StageResult, table_rows

_SOURCES = {
    "resnet": ("ResNet", "section 4.1, Fig. 2"),
    "vit": ("vision transformer", "Appendix B, Fig. 7"),
    "efficientnet": ("EfficientNet-Lite0 of ImageNet", "section 4.1, Fig. 2"),
}


def rows(networks: Sequence[Measured]) -> list[dict[str, Any]]:
    """Two rows a layer, the spatio-semantic RSM first, as the demo has them."""
    return [
        {"network": each.network.name, **row}
        for each in networks
        for row in table_rows(each.result)
    ]


def summary(networks: Sequence[Measured]) -> dict[str, Any]:
    """Of each network: where the semantic RSM is better, and how good both are."""
    entries: dict[str, Any] = {}
    for each in networks:
        title, layers = each.network.title, each.result.stages
        entries[f"{title}: layers"] = len(layers)
        entries[f"{title}: layers where semantic is better"] = sum(
            layer.gain.low > 0 for layer in layers
        )
        worst = min(layers, key=lambda layer: layer.gain.value)
        entries[f"{title}: smallest gain in AUROC"] = worst.gain
        for depth, layer in (("first", layers[0]), ("last", layers[-1])):
            entries[f"{title}: AUROC, semantic, {depth} layer"] = layer.semantic.auroc
            entries[f"{title}: AUROC, spatio-semantic, {depth} layer"] = (
                layer.spatio_semantic.auroc
            )
    return entries


def findings(networks: Sequence[Measured]) -> Iterator[Finding]:
    """The claims of both figures, of the cases that ran."""
    for case, (title, source) in _SOURCES.items():
        of_case = [each for each in networks if each.case.name == case]
        if not of_case:
            continue
        trained, untrained = (
            [s for n in of_case if n.network.trained is kind for s in n.result.stages]
            for kind in (True, False)
        )
        better = [stage.gain.low > 0 for stage in trained]
        yield Finding(
            f"{title}: the semantic RSM separates two shifted views of one picture "
            "from other pairs better than the spatio-semantic one, at every depth",
            source,
            (Quantity("at every depth shown"),),
            (
                count(better, "layers, 95 % interval above zero"),
                Quantity("gain in AUROC by depth", [s.gain for s in trained], digits=2),
            ),
            verdict(all(better)),
            _why_not(trained, of_case[0].result.config.shift / of_case[0].case.window),
        )
        yield Finding(
            f"{title}: how well each separates them, by depth (AUROC: 0.5 is chance, 1 "
            "perfect)",
            source,
            (
                Quantity(
                    "no numbers; distributions overlap much without matching, little "
                    "with"
                ),
            ),
            _of_both(trained, "auroc"),
        )
        yield Finding(
            f"{title}: the same network with random weights",
            "",
            (Quantity("not asked"),),
            _of_both(untrained, "auroc"),
        )
        yield Finding(
            f"{title}: windows whose nearest neighbor in their RSM is their own "
            "shifted copy, by depth",
            source,
            (Quantity("no numbers"),),
            _of_both(trained, "nearest_partner"),
        )
        if case != "vit":
            yield _last_layer(title, trained, source)


def _last_layer(title: str, stages: Sequence[StageResult], source: str) -> Finding:
    *earlier, last = [stage.spatio_semantic.auroc.value for stage in stages]
    most = max(earlier, default=last)
    return Finding(
        f"{title}: without matching the overlap shows in the last layer at most, after "
        "much pooling",
        source,
        (Quantity("the last layer only, slightly"),),
        (
            Quantity("AUROC in the last layer", [last], digits=2),
            Quantity("at most", [most], "before it", digits=2),
        ),
        verdict(last >= most),
        "crops of one photograph are alike in color and texture at many places, which "
        "early layers see without any matching.",
    )


def _of_both(stages: Sequence[StageResult], score: str) -> tuple[Quantity, ...]:
    """A score of both kinds of RSM, by depth."""
    kinds = {"spatio-semantic": "spatio_semantic", "semantic": "semantic"}
    return tuple(
        Quantity(name, [getattr(getattr(s, kind), score) for s in stages], digits=2)
        for name, kind in kinds.items()
    )


def _why_not(stages: Sequence[StageResult], shift: float) -> str:
    """What is particular to the layers whose gain is not above zero."""
    missed = [
        f"{s.layer} (spatio-semantic {s.spatio_semantic.auroc.value:.2f}, shift of "
        f"{shift * s.tokens**0.5:g} tokens)"
        for s in stages
        if s.gain.low <= 0
    ]
    return (
        f"the interval is not above zero in {', '.join(missed)}. Where the "
        "spatio-semantic RSM is near 1, little is left to gain; where the shift is not "
        "a whole number of tokens, none of them comes back as it was."
    )


SECTION = Section(
    title="A shifted picture",
    question="Does an RSM find a picture again that was shifted by some pixels?",
    differs={
        "bundled": "The networks are small ones trained here, on counting objects and "
        "naming photographs, and the crops are of photographs that come with "
        "scikit-image (parts that the networks were not trained on); the paper has "
        "ResNet18 and ViT-B/16 trained on ImageNet, and ImageNet's pictures. The "
        "windows have the paper's sizes for the ResNet; the transformer sees 64 pixels "
        "shifted by 28, which is 3.5 of its patches (in the paper 224 shifted by 100, "
        "6.25 patches).",
        "smoke": "Everything is tiny: the numbers mean nothing.",
        "pretrained": "The network is EfficientNet-Lite0 as ImageNet trained it, and "
        "the crops are of photographs at many scales, several of each; the paper has "
        "ResNet18 and ViT-B/16, and ImageNet's pictures. The windows are those of "
        "Appendix B: 224 pixels, shifted by 100, which is 25 tokens of the first layer "
        "and no whole number of those of the others. Intervals resample photographs.",
        "paper": "ResNet18 is the published one for ImageNet, whose first stage has a "
        "quarter of the paper's rows and columns of tokens.",
    },
    captions={
        "": "AUROC by depth: shifted pairs against others, with 95 % intervals over "
        "scenes.",
        "resnet": "The trained ResNet: windows, RSMs of one batch (the bright "
        "diagonals beside the main one are shifted pairs), and distributions over all "
        "batches.",
        "resnet-random": "The same ResNet with random weights.",
        "vit": "The trained vision transformer.",
        "vit-random": "The same transformer with random weights.",
        "efficientnet": "EfficientNet-Lite0, trained on ImageNet: windows, RSMs of one "
        "batch (the bright diagonals beside the main one are shifted pairs), and "
        "distributions over all batches.",
        "efficientnet-random": "The same network with random weights.",
    },
    minutes={"bundled": 4, "smoke": 0.5, "pretrained": 4},
)
