"""Both kinds of RSM of every network and layer, kept as they are finished."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import cache, partial
from typing import NamedTuple

import jax
import numpy as np
from jaxtyping import Float

from experiments.frame.networks import Network, Tokens
from experiments.frame.session import Session, silent
from experiments.translation.config import Case, WindowsConfig
from experiments.translation.pictures import Crops
from semrsm_jax import Matcher
from semrsm_jax.demo import (
    Stage,
    TranslationConfig,
    TranslationResult,
    compare,
    windows,
)
from semrsm_jax.demo.photographs import Crops as ShownCrops
from semrsm_jax.store import open_similarity


class Measured(NamedTuple):
    """One network on the windows of its case, layer by layer.

    Attributes:
      case: its windows.
      network: what was measured.
      result: as the demo has it, with the crops of the first batch.
    """

    case: Case
    network: Network
    result: TranslationResult


def run(config: WindowsConfig, session: Session = Session()) -> list[Measured]:
    """Compares both RSMs at every layer of every network of all cases."""
    results = []
    networks = sum(len(case.networks) for case in config.cases)
    for case in config.cases:
        crops = config.pictures(config, case, session)
        for network in case.networks:

            def progress(done: int, total: int) -> None:
                before = len(results) * total
                session.report("Comparing windows", before + done, networks * total)

            settings = _settings(config, case, network)
            stages = compare(
                settings,
                crops.scenes,
                _tokens(case, network, crops),
                "trained" if network.trained else "random",
                partial(_rsm, config, session, f"{case.name}/{network.name}"),
                lambda batch, compute, case=case, network=network: session.step(
                    f"{case.name}/{network.name}/batch-{batch}/rsms", compute
                ),
                progress,
            )
            shown = ShownCrops(crops.read(0), (), (), np.zeros((0, 3), int))
            result = TranslationResult(settings, shown, stages)
            results.append(Measured(case, network, result))
    return results


def _settings(config: WindowsConfig, case: Case, network: Network) -> TranslationConfig:
    """The settings of the demo that measure a network of a case."""
    return TranslationConfig(
        crops=config.batches * config.crops,
        crops_per_batch=config.crops,
        seed=config.seed,
        crop_size=case.crop,
        window_size=case.window,
        stages=tuple(Stage(layer, config.matcher) for layer in network.layers),
        kernel=config.kernel,
        replicates=config.replicates,
        confidence=config.confidence,
    )


def _tokens(
    case: Case, network: Network, crops: Crops
) -> Callable[[int], Mapping[str, jax.Array]]:
    """The tokens of windows; the network is opened at the first batch that needs it."""

    @cache
    def opened() -> Tokens:
        return network.open(windows(crops.read(0), case.window))

    return lambda batch: opened()(windows(crops.read(batch), case.window))


def _rsm(
    config: WindowsConfig,
    session: Session,
    place: str,
    name: str,
    x: jax.Array,
    matcher: Matcher,
) -> Float[np.ndarray, "2n 2n"]:
    # One line of progress is enough: there are hundreds of short runs.
    store = replace(session, report=silent).run(f"{place}/{name}", x, matcher=matcher)
    return open_similarity(store.path, config.kernel)[:]
