"""The preprocessor_config.json of the paper's checkpoints, and others, made small."""

MEAN, STD = [0.485, 0.456, 0.406], [0.229, 0.224, 0.225]
CLIP_MEAN = [0.48145466, 0.4578275, 0.40821073]
CLIP_STD = [0.26862954, 0.26130258, 0.27577711]


def square(side: int) -> dict[str, int]:
    return {"height": side, "width": side}


HALF = {"image_mean": [0.5, 0.5, 0.5], "image_std": [0.5, 0.5, 0.5], "resample": 2}
IMAGENET = {"image_mean": MEAN, "image_std": STD, "resample": 3}
OLD = {"do_normalize": True, "do_resize": True}
NEW = OLD | {"do_rescale": True, "rescale_factor": 0.00392156862745098}
CROP = {"do_center_crop": True}


def of(kind: str, *parts: dict, old: bool = False, **settings: object) -> dict:
    """A config for a class, the parts joined; old ones name a feature extractor."""
    key, ending = "image_processor_type", "ImageProcessor"
    if old:
        key, ending = "feature_extractor_type", "FeatureExtractor"
    config = {key: f"{kind}{ending}"}
    for part in (*parts, settings):
        config |= part
    return config


CONFIGS = {
    "vit": of("ViT", NEW, HALF, size=square(32)),
    "clipseg": of("ViT", OLD, IMAGENET, old=True, resample=2, size=44),
    "dinov2": of(
        "Bit",
        NEW | CROP | IMAGENET,
        crop_size=square(28),
        do_convert_rgb=True,
        size={"shortest_edge": 32},
    ),
    "clip": of(
        "CLIP",
        OLD | CROP,
        old=True,
        crop_size=28,
        image_mean=CLIP_MEAN,
        image_std=CLIP_STD,
        resample=3,
        size=28,
    ),
    "resnet": of("ConvNext", OLD, IMAGENET, old=True, crop_pct=0.875, size=29),
    "convnextv2": of(
        "ConvNext", NEW, IMAGENET, crop_pct=0.875, size={"shortest_edge": 28}
    ),
    "convnextv2-384": of("ConvNext", resample=3, size={"shortest_edge": 384}),
    "bit": of("Bit", CROP, HALF, crop_size=square(40), size={"shortest_edge": 40}),
    "crop-larger-than-the-image": of(
        "CLIP",
        CROP,
        image_processor_type="CLIPImageProcessorFast",
        crop_size={"height": 47, "width": 50},
        size={"shortest_edge": 30},
    ),
    "deit": of("DeiT", CROP, crop_size=square(28), size=square(32)),
    "sam": of(
        "Sam",
        OLD | IMAGENET,
        do_rescale=True,
        do_convert_rgb=True,
        do_pad=True,
        pad_size=square(64),
        resample=2,
        size={"longest_edge": 64},
    ),
    "normalized-only": of("CLIP", do_center_crop=False, do_resize=False),
    "raw": of(
        "ViT", do_normalize=False, do_rescale=False, size={"height": 20, "width": 30}
    ),
}
for _resample in range(6):
    CONFIGS[f"filter-{_resample}"] = CONFIGS["vit"] | {"resample": _resample}


CONFIGS |= {f"silent-{k}": of(k) for k in ("ViT", "DeiT", "CLIP", "Bit", "ConvNext")}
CONFIGS["clip-as-it-comes"] = CONFIGS["clip"] | {"do_convert_rgb": False}
CONFIGS["vit-converted"] = CONFIGS["vit"] | {"do_convert_rgb": True}
