"""Section 4.1 and Appendix B on the page."""

from collections.abc import Iterator, Mapping
from typing import Any

from experiments._reproduce.entry import Comparison, Document, Entry, FromStudy
from experiments._reproduce.words import how_many, listed, number

_Row = Mapping[str, Any]


def _load() -> FromStudy:
    from experiments.translation import STUDY

    return FromStudy(STUDY)


def _compare(document: Document) -> list[Comparison]:
    found = []
    for family, title, source in (
        ("resnet", "ResNet", "section 4.1, Fig. 2"),
        ("vit", "vision transformer", "Appendix B, Fig. 7"),
    ):
        trained = list(_layers(document, family, trained=True))
        untrained = list(_layers(document, family, trained=False))
        better = [semantic["gain_low"] > 0 for _, semantic in trained]
        gains = [semantic["gain"] for _, semantic in trained]
        found.append(
            Comparison(
                f"{title}: the semantic RSM tells two shifted views of one picture "
                "from other pairs better than the spatio-semantic one, at every depth",
                "at every depth shown",
                source,
                f"in {how_many(better)} layers, 95 % interval above zero; gain in "
                f"AUROC by depth {listed(gains)}",
                all(better),
                _why_not(trained),
            )
        )
        before, after = ([pair[k]["auroc"] for pair in trained] for k in (0, 1))
        found.append(
            Comparison(
                f"{title}: how well each tells them apart, by depth (AUROC: 0.5 is "
                "chance, 1 perfect)",
                "no numbers; distributions overlap much without matching, little with",
                source,
                f"spatio-semantic {listed(before)}; semantic {listed(after)}",
                None,
            )
        )
        found.append(
            Comparison(
                f"{title}: the same network with random weights",
                "not asked",
                "",
                f"spatio-semantic {listed(s['auroc'] for s, _ in untrained)}; semantic "
                f"{listed(s['auroc'] for _, s in untrained)}",
                None,
            )
        )
        if family == "resnet":
            best = max(before)
            found.append(
                Comparison(
                    "ResNet: without matching the overlap shows in the last layer at "
                    "most, after much pooling",
                    "the last layer only, slightly",
                    source,
                    f"AUROC {number(before[-1], 2)} in the last layer, at most "
                    f"{number(max(before[:-1], default=best), 2)} before it",
                    before[-1] == best,
                    "crops of one photograph are alike in colour and texture at many "
                    "places, which early layers see without any matching.",
                )
            )
    return found


def _layers(
    document: Document, family: str, trained: bool
) -> Iterator[tuple[_Row, _Row]]:
    """The rows of a network by depth, without and with matching."""
    rows = [
        row
        for row in document["rows"]
        if row["network"].startswith(family)
        and (row["weights"] == "trained") is trained
    ]
    yield from zip(rows[::2], rows[1::2], strict=True)


def _why_not(layers: list[tuple[_Row, _Row]]) -> str:
    missed = [
        f"{after['stage']} (spatio-semantic {number(before['auroc'], 2)}, shift of "
        f"{after['shift']:g} tokens)"
        for before, after in layers
        if after["gain_low"] <= 0
    ]
    return (
        f"the interval is not above zero in {', '.join(missed)}. Where the "
        "spatio-semantic RSM is near 1, little is left to gain; where the shift is no "
        "whole number of tokens, none of them comes back as it was."
    )


ENTRY = Entry(
    name="translation",
    title="A shifted picture",
    question="Does an RSM find a picture again that was shifted by some pixels?",
    load=_load,
    compare=_compare,
    differs={
        "bundled": "The networks are small ones trained here, on counting objects and "
        "naming photographs, and the crops are of photographs that come with "
        "scikit-image (parts that the networks were not trained on); the paper has "
        "ResNet18 and ViT-B/16 trained on ImageNet, and ImageNet's pictures. The "
        "windows have the paper's sizes for the ResNet; the transformer sees 64 pixels "
        "shifted by 28, which is 3.5 of its patches (in the paper 224 shifted by 100, "
        "6.25 patches).",
        "smoke": "Everything is tiny: the numbers mean nothing.",
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
    },
    minutes={"bundled": 4, "smoke": 0.5},
)
