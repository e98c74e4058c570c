"""The paper's Tables 1 and 4: correlations of similarity with the JSD of the outputs.

Each row: cosine, inner product, RBF; of each without and with permutation invariance.
The RBF of ResNet18 without it stands as +0.176 in Table 1; Table 4, of more images, has
-0.174.
"""

from collections.abc import Mapping
from types import MappingProxyType

Row = tuple[float, float, float, float, float, float]

KERNELS = ("cosine", "inner product", "RBF")

# 2,000 images, Pearson.
TABLE_1: Mapping[str, Row] = MappingProxyType(
    {
        "resnet18": (-0.276, -0.326, -0.259, -0.270, 0.176, -0.199),
        "resnet50": (-0.248, -0.320, -0.243, -0.270, 0.040, 0.029),
        "resnet101": (-0.192, -0.276, -0.174, -0.240, 0.091, 0.084),
        "convnextv2-base": (-0.134, -0.098, -0.132, -0.171, 0.117, 0.090),
        "vit-b16": (-0.046, -0.100, -0.045, -0.026, -0.077, -0.122),
        "vit-l32": (-0.138, -0.188, -0.138, -0.144, -0.134, -0.166),
        "dinov2-giant-classifier": (-0.012, -0.044, -0.013, -0.031, -0.008, -0.048),
    }
)
# 20,000 images.
TABLE_4: Mapping[str, Mapping[str, Row]] = MappingProxyType(
    {
        "pearson": {
            "resnet18": (-0.279, -0.328, -0.264, -0.272, -0.174, -0.197),
            "resnet50": (-0.256, -0.305, -0.249, -0.269, 0.028, 0.015),
            "resnet101": (-0.235, -0.330, -0.211, -0.274, 0.076, 0.067),
            "convnextv2-base": (-0.162, -0.126, -0.160, -0.184, 0.077, 0.050),
            "vit-b16": (-0.058, -0.098, -0.056, -0.031, -0.079, -0.120),
            "vit-l32": (-0.142, -0.189, -0.143, -0.152, -0.131, -0.164),
            "dinov2-giant-classifier": (-0.016, -0.046, -0.016, -0.030, -0.013, -0.052),
        },
        "spearman": {
            "resnet18": (-0.231, -0.337, -0.239, -0.225, -0.435, -0.476),
            "resnet50": (-0.032, 0.007, -0.046, -0.040, 0.128, 0.132),
            "resnet101": (-0.007, -0.053, -0.007, -0.077, 0.071, 0.068),
            "convnextv2-base": (-0.017, 0.026, -0.013, -0.045, 0.143, 0.128),
            "vit-b16": (-0.013, -0.230, -0.021, 0.029, -0.220, -0.313),
            "vit-l32": (-0.034, -0.276, -0.029, -0.014, -0.335, -0.392),
            "dinov2-giant-classifier": (-0.014, -0.037, -0.015, -0.022, -0.015, -0.042),
        },
    }
)


def published_table(metric: str, samples: int) -> tuple[Mapping[str, Row], str]:
    """The paper's table to compare with, and what the paper calls it.

    Args:
      metric: ``"pearson"`` or ``"spearman"``.
      samples: images; at 2,000 and below, Pearson correlations are those of Table 1.
    """
    if samples <= 2000 and metric == "pearson":
        return TABLE_1, "Table 1"
    return TABLE_4[metric], "Table 4"


def published(
    metric: str, network: str, kernel: str, samples: int
) -> tuple[float | None, float | None]:
    """What the paper has without and with permutation invariance; None where nothing.

    Args:
      metric: as in `published_table`.
      network: as in `semrsm_jax.models.VARIANTS`.
      kernel: of `KERNELS`.
      samples: as in `published_table`.
    """
    row = published_table(metric, samples)[0].get(network)
    if row is None:
        return None, None
    place = 2 * KERNELS.index(kernel)
    return row[place], row[place + 1]
