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


def _timm(name: str, layers: dict, side: int = 64, **options: Any) -> Case:
    return Case(f"timm:{name}", side, layers, options)


def _torchvision(name: str, layers: dict, **options: Any) -> Case:
    return Case(f"torchvision:{name}", 64, layers, options)


def _hf(name: str, layers: dict, **options: Any) -> Case:
    return Case(f"transformers:{name}", 64, layers, options)


def _vit(
    name: str, prefix: int, side: int = 64, first: tuple[str, int] = ("NSC", 0)
) -> Case:
    """A ViT of timm, with two narrow blocks."""
    layers: dict[str, Any] = {"patch_embed": first, "blocks.*": sequence(prefix)}
    return _timm(name, layers, side, img_size=side, **_NARROW)


def _hf_vit(name: str, prefix: int, blocks: str = "encoder.layer.*", **options) -> Case:
    return _hf(name, {blocks: sequence(prefix)}, **(_TINY | options))


_NARROW = {"depth": 2, "embed_dim": 48, "num_heads": 3}
_SWIN = {"img_size": 64, "window_size": 4, "embed_dim": 24, "depths": (2, 2)}
_SWIN |= {"num_heads": (2, 2)}
_TINY = {"hidden_size": 24, "num_hidden_layers": 2, "num_attention_heads": 2}
_TINY |= {"intermediate_size": 32, "image_size": 64, "patch_size": 16}
_STAGES = {"hidden_sizes": [8, 16, 24, 32], "depths": [1, 1, 2, 1]}
_TOWERS = {"vision_config": _TINY}
_TOWERS |= {"text_config": {"hidden_size": 24, "num_hidden_layers": 1}}
BLOCKS, STAGES = {"blocks.*": sequence(0)}, "stages.*.blocks.*"

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
    _timm(
        "cait_xxs24_224",
        {"patch_embed": sequence(0)} | BLOCKS | {"blocks_token_only.*": sequence(1)},
        **{"img_size": 64} | _NARROW,
    ),
    _timm(
        "xcit_nano_12_p16_224",
        BLOCKS | {"cls_attn_blocks.*": sequence(1)},
        **{"img_size": 64, "depth": 2},
    ),
    _timm(
        "convit_tiny",
        {"blocks.0": sequence(0), "blocks.1": sequence(0), "blocks.2": sequence(1)},
        **{"img_size": 64, "depth": 3, "local_up_to_layer": 2, "embed_dim": 12},
    ),
    _timm("mixer_s32_224", {"blocks.*.mlp_tokens.fc1": None} | BLOCKS, 96, img_size=96),
    _timm("resmlp_12_224", BLOCKS, img_size=64),
    _timm("gmlp_ti16_224", BLOCKS, img_size=64),
    _timm(
        "swin_tiny_patch4_window7_224",
        {"layers.*.blocks.*": LAST, "norm": LAST, "patch_embed": LAST},
        **_SWIN,
    ),
    _timm("swinv2_tiny_window8_256", {"layers.*.blocks.*": LAST}, **_SWIN),
    _timm(
        "samvit_base_patch16",
        {"blocks.*": LAST, "neck.*": MAP},
        **{"img_size": 64, "depth": 2, "embed_dim": 24, "num_heads": 2},
        global_attn_indexes=(1,),
    ),
    _timm("convnext_atto", {STAGES: MAP}),
    _timm("convnextv2_atto", {STAGES: MAP}),
    _timm("efficientnet_b0", {"blocks.*.*": MAP}),
    _timm("mobilenetv3_small_100", {"blocks.*.*": MAP}),
    _timm(
        "caformer_s18",
        {"stages.[01].blocks.*": MAP, "stages.[23].blocks.*": sequence(0)},
    ),
    _timm("poolformer_s12", {STAGES: MAP}),
    _timm("hiera_tiny_224", {"blocks.*": ("rolled", 0)}, img_size=(64, 64)),
    _timm("densenet121", {"features.denseblock*.denselayer*": MAP}),
    _timm("resnet18", {"layer*.*": MAP}),
    _timm("regnety_002", {"s*.b*": MAP}),
    _timm("pvt_v2_b0", {STAGES: sequence(0)}),
    _timm("levit_128s", {STAGES: sequence(0)}, 128, img_size=128),
    _timm("coatnet_nano_rw_224", {STAGES: MAP}, img_size=64),
    _timm("edgenext_xx_small", {STAGES: MAP}),
    _timm(
        "gcvit_xxtiny",
        {STAGES: LAST, "stages.*.global_block.blocks.conv*": MAP},
        224,
    ),
    _timm("mvitv2_tiny", {STAGES: sequence(0)}, img_size=64),
    _timm(
        "crossvit_tiny_240",
        {"blocks.*.blocks.*.*": sequence(1), "blocks.*.fusion.*": sequence(1)}
        | {"blocks.*": None},
        240,
    ),
    _torchvision("resnet18", {"layer*.*": MAP}),
    _torchvision("swin_t", {"features.*": LAST, "features.[1357].*": LAST}),
    _torchvision("vit_b_16", {"encoder.layers.*": sequence(1)}, image_size=64),
    _torchvision("convnext_tiny", {"features.*.*.block.2": LAST, "features.*.*": MAP}),
    _torchvision("densenet121", {"features.denseblock*.denselayer*": MAP}),
    _torchvision("efficientnet_b0", {"features.*.*": MAP}),
    _torchvision("mobilenet_v3_small", {"features.*": MAP}),
    _hf_vit("ViT", 1, "layers.*"),
    _hf_vit("DeiT", 2, "layers.*"),
    _hf_vit("Beit", 1, "layers.*"),
    _hf_vit("Data2VecVision", 1),
    _hf_vit("Dinov2WithRegisters", 4, num_register_tokens=3),
    _hf_vit("DINOv3ViT", 5, "model.layer.*", num_register_tokens=4),
    _hf_vit("SiglipVision", 0, "encoder.layers.*"),
    _hf("Siglip", {"vision_model.encoder.layers.*": sequence(0)}, **_TOWERS),
    _hf("CLIP", {"vision_model.encoder.layers.*": sequence(1)}, **_TOWERS),
    _hf_vit("Yolos", 1, num_detection_tokens=3, image_size=[64, 64]),
    _hf(
        "Swin",
        {"encoder.layers.*.blocks.*": sequence(0)},
        **{"image_size": 64, "embed_dim": 24, "depths": [2, 2], "num_heads": [2, 2]},
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
