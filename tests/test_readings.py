"""How the output of a layer is read, by shapes alone."""

import pytest

from semrsm_jax.features._backend import ModuleKind
from semrsm_jax.features._readings import Evidence, Stated, read_output
from semrsm_jax.features._tokens import matching_layers
from semrsm_jax.features.layers import block_names

IMAGE = (224, 224)
VIT = Evidence(IMAGE, Stated(5), maps=frozenset({(14, 14)}))
STEM = Evidence(IMAGE, maps=frozenset({(56, 56)}))
CONVOLUTIONS = STEM._replace(channels_first=True)
FLAX = Evidence(IMAGE, Stated(1), layout="NHWC")
WIDE = Evidence((96, 160), Stated(1), layout="NHWC")


@pytest.mark.parametrize(
    ("shape", "evidence", "layout", "grid", "prefix"),
    [
        ((2, 196, 24), VIT, "NSC", (14, 14), 0),  # no prefix yet
        ((2, 201, 24), VIT, "NSC", (14, 14), 5),
        ((2, 5, 24), VIT, "NSC", None, 5),  # prefix tokens alone
        ((2, 198, 24), VIT, "NSC", None, None),  # another number of them
        ((2, 1, 24), STEM, "NSC", None, None),  # pooled
        ((2, 24), VIT, "NC", None, None),
        ((2, 7, 7, 768), STEM, "NHWC", (7, 7), 0),
        ((2, 768, 7, 7), STEM, "NCHW", (7, 7), 0),
        ((2, 768, 1, 1), STEM, "NCHW", (1, 1), 0),
        ((2, 56, 56, 56), CONVOLUTIONS, "NCHW", (56, 56), 0),
        ((2, 196, 24), FLAX, "NSC", (14, 14), 0),
        ((2, 197, 24), FLAX, "NSC", (14, 14), 1),
        ((2, 61, 24), WIDE, "NSC", (6, 10), 1),
        ((2, 14, 14, 24), FLAX, "NHWC", (14, 14), 0),
    ],
)
def test_shapes_decide(shape, evidence, layout, grid, prefix):
    reading = read_output("it", shape, evidence)
    assert (reading.layout, reading.grid, reading.prefix) == (layout, grid, prefix)


@pytest.mark.parametrize(
    ("shape", "evidence", "message"),
    [
        (
            (2, 56, 56, 56),
            STEM,
            r"'NCHW', 56 x 56 tokens of 56 channels, or as 'NHWC', 56 x 56 tokens of "
            r"56 channels; both fit .*layout=\{'it': 'NCHW'\} or 'NHWC'",
        ),
        ((2, 12, 197, 197), VIT, "12 channels, or as 'NHWC', 12 x 197.*neither fits"),
        ((2, 512, 196), VIT, "'NSC', 512 tokens of 196 channels, or as 'NCS', 196"),
    ],
)
def test_two_readings_are_shown(shape, evidence, message):
    with pytest.raises(ValueError, match=message):
        read_output("it", shape, evidence)
    axes = len(shape)
    stated = "NHWC" if axes == 4 else "NCS"
    assert read_output("it", shape, evidence, layout=stated).layout == stated


def test_modules_with_fixed_axes_decide_cubes():
    shape = (2, 56, 56, 56)
    assert read_output("it", shape, STEM, own="NHWC").layout == "NHWC"
    assert read_output("it", shape, STEM, own="NCHW").layout == "NCHW"


def test_patterns():
    names = ["blocks", "blocks.0", "blocks.0.attn", "blocks.10", "head"]
    assert matching_layers("blocks.*", names) == ["blocks.0", "blocks.10"]
    assert matching_layers("blocks.**", names) == names[1:4]
    assert matching_layers("*", names) == ["blocks", "head"]
    assert matching_layers("head", names) == ["head"]
    assert matching_layers("hea", names) == []


def test_blocks_are_the_numbered_modules_of_stages():
    kinds = {
        "stem": "Conv2d",
        "stages": "Sequential",
        "stages.0": "SwinStage",
        "stages.0.blocks": "Sequential",
        "stages.0.blocks.0": "SwinBlock",
        "stages.0.blocks.0.mlp": "Sequential",
        "stages.0.blocks.0.mlp.0": "Linear",
        "stages.0.blocks.1": "SwinBlock",
        "stages.0.blocks.1.mlp": "Sequential",
        "stages.0.blocks.1.mlp.0": "Linear",
        "stages.0.blocks.1.mlp.1": "SqueezeExcitation",
        "stages.0.blocks.1.mlp.1.fc1": "Linear",
    }
    modules = [ModuleKind(n, k, k == "Sequential") for n, k in kinds.items()]
    assert block_names(modules) == ["stages.0.blocks.0", "stages.0.blocks.1"]
