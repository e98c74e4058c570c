"""Networks of timm, torchvision and transformers, and how their layers are read.

Written by hand: for each network, by pattern of layer, the axes of what the layer gives
and the number of tokens before the patches. None: two readings are possible.
"""

from typing import Any, NamedTuple

MAP, LAST = ("NCHW", 0), ("NHWC", 0)


def sequence(prefix: int) -> tuple[str, int]:
    """Tokens (N, S, C), `prefix` of them before the patches."""
    return "NSC", prefix


class Case(NamedTuple):
    """A network.

    Attributes:
      source: the library and the name there.
      side: of the images.
      layers: how layers are read, by pattern; the first pattern that fits counts.
      options: of its constructor, to make it small.
      cls: whether the first prefix token is a CLS token.
    """

    source: str
    side: int
    layers: dict[str, tuple[str, int] | None]
    options: dict[str, Any] = {}
    cls: bool = True

    def __str__(self) -> str:
        return self.source


def _vit(
    name: str, prefix: int, side: int = 64, first: tuple[str, int] = ("NSC", 0)
) -> Case:
    """A ViT of timm, with two narrow blocks."""
    options = {"img_size": side, "depth": 2, "embed_dim": 48, "num_heads": 3}
    layers: dict[str, Any] = {"patch_embed": first, "blocks.*": sequence(prefix)}
    return Case(f"timm:{name}", side, layers, options)


_TINY = {
    "hidden_size": 24,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 32,
    "image_size": 64,
    "patch_size": 16,
}
_STAGES = {"hidden_sizes": [8, 16, 24, 32], "depths": [1, 1, 2, 1]}


def _hf(name: str, layers: dict, side: int = 64, **options: Any) -> Case:
    return Case(f"transformers:{name}", side, layers, options)


def _hf_vit(name: str, prefix: int, blocks: str = "encoder.layer.*", **options) -> Case:
    return _hf(name, {blocks: sequence(prefix)}, **(_TINY | options))


_SWIN = {"img_size": 64, "window_size": 4, "embed_dim": 24, "depths": (2, 2)}
_SWIN |= {"num_heads": (2, 2)}

CASES = [
    _vit("vit_tiny_patch16_224", 1),
    _vit("vit_small_patch14_reg4_dinov2", 5, side=56),
    _vit("vit_base_patch16_siglip_224", 0),
    _vit("deit_tiny_distilled_patch16_224", 2),
    _vit("deit3_small_patch16_224", 1),
    _vit("beit_base_patch16_224", 1),
    _vit("eva02_tiny_patch14_224", 1, side=56),
    _vit("vit_small_patch16_dinov3", 5, first=LAST),
    _vit("vit_medium_patch16_reg4_gap_256", 4)._replace(cls=False),
    Case(
        "timm:cait_xxs24_224",
        64,
        {
            "patch_embed": sequence(0),
            "blocks.*": sequence(0),
            "blocks_token_only.*": sequence(1),
        },
        {"img_size": 64, "depth": 2, "embed_dim": 48, "num_heads": 3},
    ),
    Case(
        "timm:xcit_nano_12_p16_224",
        64,
        {"blocks.*": sequence(0), "cls_attn_blocks.*": sequence(1)},
        {"img_size": 64, "depth": 2},
    ),
    Case(
        "timm:convit_tiny",
        64,
        {"blocks.0": sequence(0), "blocks.1": sequence(0)} | {"blocks.2": sequence(1)},
        {"img_size": 64, "depth": 3, "local_up_to_layer": 2, "embed_dim": 12},
    ),
    Case(
        "timm:mixer_s32_224",
        96,
        {"blocks.*.mlp_tokens.fc1": None, "blocks.*": sequence(0)},
        {"img_size": 96},
    ),
    Case("timm:resmlp_12_224", 64, {"blocks.*": sequence(0)}, {"img_size": 64}),
    Case(
        "timm:gmlp_ti16_224",
        64,
        {"blocks.*": sequence(0)},
        {"img_size": 64},
    ),
    Case(
        "timm:swin_tiny_patch4_window7_224",
        64,
        {"layers.*.blocks.*": LAST, "norm": LAST, "patch_embed": LAST},
        _SWIN,
    ),
    Case(
        "timm:swinv2_tiny_window8_256",
        64,
        {"layers.*.blocks.*": LAST},
        _SWIN,
    ),
    Case(
        "timm:samvit_base_patch16",
        64,
        {"blocks.*": LAST, "neck.*": MAP},
        {"img_size": 64, "depth": 2, "embed_dim": 24, "num_heads": 2}
        | {"global_attn_indexes": (1,)},
    ),
    Case(
        "timm:convnext_atto",
        64,
        {"stages.*.blocks.*": MAP},
    ),
    Case("timm:convnextv2_atto", 64, {"stages.*.blocks.*": MAP}),
    Case("timm:efficientnet_b0", 64, {"blocks.*.*": MAP}),
    Case("timm:mobilenetv3_small_100", 64, {"blocks.*.*": MAP}),
    Case(
        "timm:caformer_s18",
        64,
        {"stages.[01].blocks.*": MAP, "stages.[23].blocks.*": sequence(0)},
    ),
    Case("timm:poolformer_s12", 64, {"stages.*.blocks.*": MAP}),
    Case(
        "timm:hiera_tiny_224", 64, {"blocks.*": ("rolled", 0)}, {"img_size": (64, 64)}
    ),
    Case("timm:densenet121", 64, {"features.denseblock*.denselayer*": MAP}),
    Case("timm:resnet18", 64, {"layer*.*": MAP}),
    Case("timm:regnety_002", 64, {"s*.b*": MAP}),
    Case("timm:pvt_v2_b0", 64, {"stages.*.blocks.*": sequence(0)}),
    Case("timm:levit_128s", 128, {"stages.*.blocks.*": sequence(0)}, {"img_size": 128}),
    Case("timm:coatnet_nano_rw_224", 64, {"stages.*.blocks.*": MAP}, {"img_size": 64}),
    Case("timm:edgenext_xx_small", 64, {"stages.*.blocks.*": MAP}),
    Case(
        "timm:gcvit_xxtiny",
        224,
        {"stages.*.blocks.*": LAST, "stages.*.global_block.blocks.conv*": MAP},
    ),
    Case(
        "timm:mvitv2_tiny",
        64,
        {"stages.*.blocks.*": sequence(0)},
        {"img_size": 64},
    ),
    Case(
        "timm:crossvit_tiny_240",
        240,
        {"blocks.*.blocks.*.*": sequence(1), "blocks.*.fusion.*": sequence(1)}
        | {"blocks.*": None},
    ),
    Case("torchvision:resnet18", 64, {"layer*.*": MAP}),
    Case("torchvision:swin_t", 64, {"features.*": LAST, "features.[1357].*": LAST}),
    Case(
        "torchvision:vit_b_16",
        64,
        {"encoder.layers.*": sequence(1)},
        {"image_size": 64},
    ),
    Case(
        "torchvision:convnext_tiny",
        64,
        {"features.*.*.block.2": LAST, "features.*.*": MAP},
    ),
    Case("torchvision:densenet121", 64, {"features.denseblock*.denselayer*": MAP}),
    Case("torchvision:efficientnet_b0", 64, {"features.*.*": MAP}),
    Case("torchvision:mobilenet_v3_small", 64, {"features.*": MAP}),
    _hf_vit("ViT", 1, "layers.*"),
    _hf_vit("DeiT", 2, "layers.*"),
    _hf_vit("Beit", 1, "layers.*"),
    _hf_vit("Data2VecVision", 1),
    _hf_vit("Dinov2WithRegisters", 4, num_register_tokens=3),
    _hf_vit("DINOv3ViT", 5, "model.layer.*", num_register_tokens=4),
    _hf_vit("SiglipVision", 0, "encoder.layers.*"),
    _hf(
        "Siglip",
        {"vision_model.encoder.layers.*": sequence(0)},
        vision_config=_TINY,
        text_config={"hidden_size": 24, "num_hidden_layers": 1},
    ),
    _hf(
        "CLIP",
        {"vision_model.encoder.layers.*": sequence(1)},
        vision_config=_TINY,
        text_config={"hidden_size": 24, "num_hidden_layers": 1},
    ),
    _hf_vit("Yolos", 1, num_detection_tokens=3, image_size=[64, 64]),
    _hf(
        "Swin",
        {"encoder.layers.*.blocks.*": sequence(0)},
        image_size=64,
        embed_dim=24,
        depths=[2, 2],
        num_heads=[2, 2],
        window_size=4,
    ),
    _hf("ConvNextV2", {"encoder.stages.*.layers.*": MAP}, **_STAGES),
    _hf("Hiera", {"encoder.stages.*.layers.*": ("rolled", 0)}, image_size=[64, 64]),
    _hf("Segformer", {"stages.*.blocks.*": sequence(0)}, **_STAGES),
    _hf("ResNet", {"encoder.stages.*.layers.*": MAP}, layer_type="basic", **_STAGES),
    _hf("ViTMAE", {"layers.*": None}, **_TINY),
]


def rows_of_the_page() -> list[str]:
    """The table of docs/guide/networks.md."""
    words = {"NCHW": "(N, C, H, W)", "NHWC": "(N, H, W, C)", "NSC": "(N, S, C)"}
    words["rolled"] = "(N, S, C), by mask unit"
    rows = []
    for case in CASES:
        library, _, name = case.source.partition(":")
        for pattern, reading in case.layers.items():
            axes = "raises" if reading is None else words[reading[0]]
            sequence = reading is not None and reading[0] == "NSC"
            prefix = str(reading[1]) if sequence else ""
            rows.append(f"| {library} | `{name}` | `{pattern}` | {axes} | {prefix} |")
            library = name = ""
    return [row.replace("| ``", "|") for row in rows]
