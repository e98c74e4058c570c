"""Time of extracting features from ViT-B/16, against transformers and torch.

    python -m experiments.benchmarks.extraction  # 5 minutes, 2 quiet cores
    python -m experiments.benchmarks.extraction --scale smoke  # tiny, seconds

It needs torch and transformers. One network of random weights, saved by transformers
and loaded by both; the same images, batch size and cores; the two take turns within one
run. It writes extraction.json to results/extraction.

Expected: ours / transformers at most 1.5, the tokens alike within 1e-4 of the largest
value. The ratio is the median of the ratios of each turn.
"""

import dataclasses
import statistics
import tempfile
from collections.abc import Iterator, Mapping
from typing import Any

import jax
import numpy as np
from jaxtyping import Float

from experiments.frame.command_line import command
from experiments.frame.finding import Measurement
from experiments.frame.study import benchmark
from experiments.frame.timing import take_turns
from experiments.frame.worker import Report, usable_cores
from semrsm_jax.features import extract
from semrsm_jax.models import load

LAYER = "vit.layernorm"
GOAL = 1.5


@dataclasses.dataclass(frozen=True)
class ExtractionConfig:
    """What is timed; the defaults are those of ViT-B/16.

    Attributes:
      images: how many.
      batch_size: images a pass, for both.
      rounds: turns of each.
      image_size: rows and columns in pixels.
      width: channels of the tokens.
      depth: number of layers.
      heads: of the attention.
      seed: of weights and images.
    """

    images: int = 64
    batch_size: int = 16
    rounds: int = 3
    image_size: int = 224
    width: int = 768
    depth: int = 12
    heads: int = 12
    seed: int = 0


SCALES = {
    "full": ExtractionConfig(),
    "smoke": ExtractionConfig(4, 2, 1, image_size=32, width=16, depth=2, heads=2),
}


def measure(config: ExtractionConfig, report: Report) -> dict[str, Any]:
    """Times both, and compares what they give."""
    import torch
    import transformers

    torch.set_num_threads(usable_cores())
    torch.manual_seed(config.seed)
    report("Building the network", 0, None)
    theirs = transformers.ViTModel(
        transformers.ViTConfig(
            image_size=config.image_size,
            hidden_size=config.width,
            num_hidden_layers=config.depth,
            num_attention_heads=config.heads,
            intermediate_size=4 * config.width,
        ),
        add_pooling_layer=False,
    ).eval()
    with tempfile.TemporaryDirectory() as folder:
        theirs.save_pretrained(folder)
        ours = load(folder)
    shape = (config.images, config.image_size, config.image_size, 3)
    images = np.random.default_rng(config.seed).normal(size=shape).astype(np.float32)
    channels_first = torch.from_numpy(images).permute(0, 3, 1, 2)
    batches = [b.contiguous() for b in channels_first.split(config.batch_size)]

    def of_transformers(number: int) -> Float[np.ndarray, "N S C"]:
        with torch.no_grad():
            parts = [theirs(batch).last_hidden_state.numpy() for batch in batches]
        return np.concatenate(parts)

    def of_ours(number: int) -> jax.Array:
        return extract(ours, images, [LAYER], batch_size=config.batch_size)[LAYER]

    report("Warming up", 0, None)
    calls = {"ours": of_ours, "transformers": of_transformers}
    description = "Extracting, in turns"
    turns = take_turns(calls, config.rounds, report, description, warm=True)
    ours_tokens, expected = (np.asarray(turns.results[name]) for name in calls)
    each = zip(turns.seconds["ours"], turns.seconds["transformers"], strict=True)
    difference = np.abs(ours_tokens - expected).max() / np.abs(expected).max()
    return {
        "cores": usable_cores(),
        "median_seconds": turns.medians(),
        "ratio": statistics.median(ours / theirs for ours, theirs in each),
        "goal": GOAL,
        "disagreement": float(difference),
        "feature_bytes": ours_tokens.nbytes,
        "torch": torch.__version__,
        "transformers": transformers.__version__,
    }


def measurements(
    config: ExtractionConfig, result: Mapping[str, Any]
) -> Iterator[Measurement]:
    """The times, their ratio and how alike the tokens are."""
    name = f"{config.images} images, {config.batch_size} a pass"
    for network, seconds in result["median_seconds"].items():
        yield Measurement(f"{name}, {network}", seconds, "s")
    yield Measurement(f"{name}, ours / transformers", result["ratio"], goal=GOAL)
    difference = "largest difference / largest value"
    yield Measurement(difference, result["disagreement"], goal=1e-4)


_NEEDS = {"torch": "torch", "transformers": "transformers"}
app = command(benchmark("extraction", __doc__, SCALES, measure, measurements, _NEEDS))

if __name__ == "__main__":
    app()
