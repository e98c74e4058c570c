"""Both kinds of RSM of every layer and batch, kept as they are finished."""

from collections.abc import Iterator
from dataclasses import replace
from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from experiments._common.networks import Network, Tokens
from experiments._common.session import Session, silent
from experiments._translation.config import Case, Crops, TranslationConfig
from semrsm_jax._representations import center
from semrsm_jax.demo import separation
from semrsm_jax.demo.translation import StageResult, windows
from semrsm_jax.matching import Identity
from semrsm_jax.store import open_similarity


class Tried(NamedTuple):
    """One network on the windows of its case, layer by layer."""

    case: Case
    network: Network
    layers: tuple[StageResult, ...]


def measure(
    config: TranslationConfig, session: Session
) -> tuple[dict[str, Float[np.ndarray, "n size size 3"]], list[Tried]]:
    """All networks of both cases.

    Returns:
      The crops of each case's first batch, for figures, and what each network says.
    """
    shown, tried = {}, []
    total = sum(len(case.networks) for case in config.cases) * config.batches
    done = 0
    for case in config.cases:
        crops = config.pictures(config, case, session)
        shown[case.name] = crops.read(0)
        weights = separation.scene_weights(
            int(crops.scenes.max()) + 1,
            config.replicates,
            np.random.default_rng((config.seed, 1)),
        )
        for network in case.networks:
            batches = []
            for rsms in _batches(config, case, network, crops, session):
                batches.append(rsms)
                done += 1
                session.report("Comparing windows", done, total)
            layers = _scored(config, network, crops, weights, batches)
            tried.append(Tried(case, network, layers))
    return shown, tried


def _batches(
    config: TranslationConfig,
    case: Case,
    network: Network,
    crops: Crops,
    session: Session,
) -> Iterator[dict[str, np.ndarray]]:
    """The RSMs (layers, 2, 2n, 2n) of each batch, with S and C of each layer."""
    opened: list[Tokens] = []  # at the first batch that is missing
    # One line of progress is enough: there are hundreds of short runs.
    quiet = replace(session, report=silent)

    def compute(batch: int) -> dict[str, np.ndarray]:
        if not opened:
            opened.append(network.open(windows(crops.read(0), case.window)))
        features = opened[0](windows(crops.read(batch), case.window))
        found = [features[layer] for layer in network.layers]
        rsms = []
        for layer, x in zip(network.layers, map(center, found), strict=True):
            for matcher in (Identity(), config.matcher):
                kind = type(matcher).__name__.lower()
                name = f"{case.name}/{network.name}/batch-{batch}/{layer}-{kind}"
                run = quiet.run(name, x, matcher=matcher)
                rsms.append(open_similarity(run.path, config.kernel)[:])
        shape = len(found), 2, *rsms[0].shape
        return {
            "rsms": np.reshape(rsms, shape),
            "shapes": np.array([x.shape[1:] for x in found]),
        }

    for batch in range(config.batches):
        yield session.step(
            f"{case.name}/{network.name}/batch-{batch}/rsms",
            lambda batch=batch: compute(batch),
        )


def _scored(
    config: TranslationConfig,
    network: Network,
    crops: Crops,
    weights: Float[np.ndarray, "R scenes"],
    batches: list[dict[str, np.ndarray]],
) -> tuple[StageResult, ...]:
    rsms = np.stack([batch["rsms"] for batch in batches], axis=2)
    layers = []
    for name, (tokens, channels), (spatio, semantic) in zip(
        network.layers, batches[0]["shapes"], rsms, strict=True
    ):
        scores = separation.score(
            spatio, semantic, crops.scenes, weights, config.confidence
        )
        short = name.rpartition("encoder.")[2].removeprefix("vit.")
        shape = int(tokens), int(channels)
        kind = "trained" if network.trained else "random"
        layers.append(StageResult(short, *shape, config.matcher, *scores, kind))
    return tuple(layers)
