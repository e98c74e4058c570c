"""Features of ViT-B/16: time of `extract` against Hugging Face and torch.

    python -m experiments.extraction                  # 64 images, some minutes
    python -m experiments.extraction --scale smoke    # tiny, seconds

Random weights, the same on both sides, loaded from one checkpoint; all cores; one layer
is kept. Both take turns within one process, and the figure is the median of the ratios
of each turn. It needs torch and transformers, and writes results/extraction.json.

Expected: ours / transformers at most 1.5, and tokens that agree within 1e-4 of their
largest value.
"""

import argparse
import json
import os
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from semrsm_jax.features import extract
from semrsm_jax.models import load
from semrsm_jax.store import new_file


@dataclass(frozen=True)
class ExtractionConfig:
    """What is timed.

    Attributes:
      images: in all.
      batch_size: images a pass, on both sides.
      image_size: side in pixels.
      patch_size: side of a patch in pixels.
      width: channels.
      depth: layers; the last one is kept.
      heads: of the attention.
      rounds: turns of both, after one that is not counted.
      seed: of weights and images.
    """

    images: int = 64
    batch_size: int = 8
    image_size: int = 224
    patch_size: int = 16
    width: int = 768
    depth: int = 12
    heads: int = 12
    rounds: int = 5
    seed: int = 0


SCALES = {
    "bundled": ExtractionConfig(),
    "smoke": ExtractionConfig(4, 2, 32, 16, 32, 2, 2, rounds=2),
}


def networks(config: ExtractionConfig) -> tuple[Any, Any]:
    """The transformers network and ours, with the same random weights."""
    import torch
    import transformers

    torch.manual_seed(config.seed)
    theirs = transformers.ViTModel(
        transformers.ViTConfig(
            hidden_size=config.width,
            num_hidden_layers=config.depth,
            num_attention_heads=config.heads,
            intermediate_size=4 * config.width,
            image_size=config.image_size,
            patch_size=config.patch_size,
        ),
        add_pooling_layer=False,
    ).eval()
    with tempfile.TemporaryDirectory() as folder:
        theirs.save_pretrained(folder)
        return theirs, load(folder)


def runners(
    config: ExtractionConfig, images: np.ndarray
) -> tuple[Callable[[], np.ndarray], Callable[[], np.ndarray]]:
    """Functions that compute the tokens of the last layer, ours and theirs."""
    import torch

    theirs, ours = networks(config)
    layer = f"vit.encoder.layer.{config.depth - 1}"
    given = jnp.asarray(images)
    tensor = torch.from_numpy(images.transpose(0, 3, 1, 2).copy())

    def run_ours() -> np.ndarray:
        kept = extract(ours, given, [layer], batch_size=config.batch_size)
        return np.asarray(kept[layer])

    def run_theirs() -> np.ndarray:
        kept = []
        hook = theirs.layers[-1].register_forward_hook(
            lambda *seen: kept.append(seen[2].numpy())
        )
        with torch.inference_mode():
            for start in range(0, config.images, config.batch_size):
                theirs(tensor[start : start + config.batch_size])
        hook.remove()
        return np.concatenate(kept)

    return run_ours, run_theirs


def seconds(run: Callable[[], object]) -> float:
    """Wall time of one run."""
    start = time.perf_counter()
    run()
    return time.perf_counter() - start


def measure(config: ExtractionConfig) -> dict[str, Any]:
    """Times both in turns, and compares what they give."""
    rng = np.random.default_rng(config.seed)
    shape = (config.images, config.image_size, config.image_size, 3)
    images = rng.normal(size=shape).astype(np.float32)
    run_ours, run_theirs = runners(config, images)
    ours, theirs = run_ours(), run_theirs()
    times = [(seconds(run_ours), seconds(run_theirs)) for _ in range(config.rounds)]
    return {
        "config": asdict(config),
        "cores": len(os.sched_getaffinity(0)),
        "device": str(jax.devices()[0]),
        "ours_s": statistics.median(ours for ours, _ in times),
        "transformers_s": statistics.median(theirs for _, theirs in times),
        "ratio": statistics.median(ours / theirs for ours, theirs in times),
        "largest_difference": float(np.abs(ours - theirs).max() / np.abs(theirs).max()),
    }


def main(arguments: Sequence[str] | None = None) -> None:
    """Runs the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--scale", choices=SCALES, default="bundled")
    parser.add_argument("-o", "--output", default="results/extraction.json", type=Path)
    options = parser.parse_args(arguments)
    result = measure(SCALES[options.scale])
    with new_file(options.output, overwrite=True) as path:
        path.write_text(json.dumps(result, indent=2) + "\n")
    print(
        f"{result['config']['images']} images on {result['cores']} cores: ours "
        f"{result['ours_s']:.2f} s, transformers {result['transformers_s']:.2f} s, "
        f"ratio {result['ratio']:.2f} (goal: at most 1.5); largest difference "
        f"{result['largest_difference']:.1e}\nwritten to {options.output}"
    )


if __name__ == "__main__":
    main()
