"""The twelve networks that the paper measures, by name.

Five are feature extractors (section 4.2, Appendix D), seven classifiers (section 4.3,
Appendix E). The paper takes "the last hidden layer" of each "should they not
per-default provide image embeddings as output". What that is, layer by layer:

- Convolutional networks: the feature map of the last stage, before pooling. BiT's, a
  pre-activation network, is normalized and rectified once more, and only then what its
  model calls the last hidden state: that is taken.
- ViT and DINOv2: all tokens after the last layer normalization, the model's last hidden
  state. The classifiers read those.
- CLIP and CLIPSeg: all tokens of the tower's last layer, not normalized: CLIP's last
  normalization is trained for the CLS token alone, and its last hidden state is before
  it. CLIPSeg's decoder answers to a prompt, so that its features are of image and text;
  the tower's are of the image.
- SAM: the output of its neck, which is its image embedding.

The CLS token is among the tokens (`tokens="all"`), as in the paper's public code; in
front of the patches, as `prefix_tokens` says. A CLS token has no place on the grid.
"""

import dataclasses
import difflib
from collections.abc import Callable
from typing import Any

from flax import nnx

from semrsm_jax.models.bit import BiT, BiTConfig
from semrsm_jax.models.clip import CLIPVision, clip_vision_config
from semrsm_jax.models.clipseg import CLIPSeg, CLIPSegConfig
from semrsm_jax.models.convnextv2 import ConvNeXtV2, ConvNeXtV2Config
from semrsm_jax.models.resnet import ResNet, ResNetConfig
from semrsm_jax.models.sam import SAMConfig, SAMVision
from semrsm_jax.models.vit import DINOv2, ViT, ViTConfig


@dataclasses.dataclass(frozen=True)
class Variant:
    """One of the paper's networks.

    Attributes:
      name: the name here.
      title: the name in the paper.
      checkpoint: the repository on the Hugging Face hub.
      build: makes the network, as ``build(config, rngs=nnx.Rngs(0))``.
      config: its full size.
      tap: the paper's "last hidden layer".
      image_size: rows and columns of the preprocessed images, in pixels.
    """

    name: str
    title: str
    checkpoint: str
    build: Callable[..., nnx.Module]
    config: Any
    tap: str
    image_size: tuple[int, int] = (224, 224)

    @property
    def prefix_tokens(self) -> int:
        """Tokens before those of the grid: 1 where there is a CLS token."""
        return self.config.prefix_tokens

    @property
    def classifies(self) -> bool:
        """Whether the network is a classifier."""
        return bool(getattr(self.config, "num_classes", None))

    def token_grid(self, image_size: tuple[int, int] | None = None) -> tuple[int, int]:
        """Rows and columns of the tokens at `tap`, for plots and `CircularShift`.

        Args:
          image_size: rows and columns of the images; by default the preprocessor's.

        Returns:
          (H, W), with S = H W + `prefix_tokens`.
        """
        return self.config.token_grid(*(image_size or self.image_size))


_DINOV2_GIANT = ViTConfig(
    image_size=(518, 518),
    patch_size=(14, 14),
    width=1536,
    depth=40,
    heads=24,
    hidden=4096,
    epsilon=1e-6,
    layer_scale=True,
    swiglu=True,
    mask_token=True,
)


def _classifier(config: ViTConfig) -> ViTConfig:
    return dataclasses.replace(config, num_classes=1000)


def _resnet(depth: int) -> Variant:
    return Variant(
        f"resnet{depth}",
        f"ResNet{depth}",
        f"microsoft/resnet-{depth}",
        ResNet,
        ResNetConfig(depth, precision=None),
        "resnet.encoder.stages.3",
    )


_ALL = (
    Variant(
        "clip-b32",
        "CLIP (ViT/B32)",
        "openai/clip-vit-base-patch32",
        CLIPVision,
        clip_vision_config(),
        "vision_model.encoder.layers.11",
    ),
    Variant(
        "clipseg-rd64",
        "CLIPSeg (Rd64)",
        "CIDAS/clipseg-rd64",
        CLIPSeg,
        CLIPSegConfig(),
        "clip.vision_model.encoder.layers.11",
        (352, 352),
    ),
    Variant(
        "dinov2-giant",
        "DinoV2-Giant",
        "facebook/dinov2-giant",
        DINOv2,
        _DINOV2_GIANT,
        "dinov2.layernorm",
    ),
    # The paper writes "ViT/B32"; SAM's base encoder has patches of 16 pixels.
    Variant(
        "sam-b",
        "SAM ViT/B32",
        "facebook/sam-vit-base",
        SAMVision,
        SAMConfig(),
        "vision_encoder.neck",
        (1024, 1024),
    ),
    Variant(
        "bit-50",
        "BiT-50",
        "google/bit-50",
        BiT,
        BiTConfig(num_classes=1000),
        "bit.norm",
        (448, 448),
    ),
    _resnet(18),
    _resnet(50),
    _resnet(101),
    Variant(
        "convnextv2-base",
        "ConvNextV2-Base",
        "facebook/convnextv2-base-1k-224",
        ConvNeXtV2,
        ConvNeXtV2Config(num_classes=1000),
        "convnextv2.encoder.stages.3",
    ),
    Variant(
        "vit-b16",
        "ViT-B/16",
        "google/vit-base-patch16-224",
        ViT,
        _classifier(ViTConfig()),
        "vit.layernorm",
    ),
    Variant(
        "vit-l32",
        "ViT-L/32",
        "google/vit-large-patch32-384",
        ViT,
        _classifier(
            ViTConfig(
                image_size=(384, 384),
                patch_size=(32, 32),
                width=1024,
                depth=24,
                heads=16,
                hidden=4096,
            )
        ),
        "vit.layernorm",
        (384, 384),
    ),
    Variant(
        "dinov2-giant-classifier",
        "DinoV2-Giant",
        "facebook/dinov2-giant-imagenet1k-1-layer",
        DINOv2,
        _classifier(_DINOV2_GIANT),
        "dinov2.layernorm",
    ),
)

VARIANTS: dict[str, Variant] = {variant.name: variant for variant in _ALL}
"""The networks of the paper by their names on the command line (Appendix C)."""


def variant(name: str) -> Variant:
    """Finds one of the paper's networks.

    Args:
      name: a key of `VARIANTS`, for example ``"vit-b16"``.

    Returns:
      The checkpoint, the class and the layers of that network.

    Raises:
      ValueError: the name is unknown; the error lists the nearest names.

    Examples:
      >>> from semrsm_jax.models import variant
      >>> variant("vit-b16").checkpoint, variant("vit-b16").tap
      ('google/vit-base-patch16-224', 'vit.layernorm')
    """
    if name not in VARIANTS:
        near = difflib.get_close_matches(name, VARIANTS, n=3, cutoff=0.4)
        raise ValueError(
            f"unknown network {name!r}; "
            + (f"nearest are {', '.join(near)}; " if near else "")
            + f"all are {', '.join(VARIANTS)}"
        )
    return VARIANTS[name]
