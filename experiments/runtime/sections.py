"""The sections of the benchmark, and the processes in which they run."""

import functools
import json
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from typing import Any, NamedTuple

import numpy as np

from experiments._common.session import Session
from experiments._common.worker import Outcome, Report, worker
from experiments.runtime import (
    adversarial,
    depth,
    features,
    large,
    scaling,
    table5,
    threads,
    whole_rsm,
)
from experiments.runtime.config import Layer, RuntimeConfig


class Task(NamedTuple):
    """A part of a section.

    Attributes:
      run: called as ``run(config, features, report)``.
      layers: called with the config, the features that `run` needs.
      one_core: it is to have a single core.
      fresh: it is to have a process that did nothing before, to measure its memory.
    """

    run: Callable[[RuntimeConfig, features.Features, Report], dict[str, Any]]
    layers: Callable[[RuntimeConfig], tuple[Layer, ...]]
    one_core: bool = False
    fresh: bool = False


SECTIONS: dict[str, tuple[Task, ...]] = {
    "table5": (Task(table5.run, table5.layers, one_core=True),),
    "depth": (Task(depth.run, depth.layers),),
    "adversarial": (Task(adversarial.run, adversarial.layers, one_core=True),),
    "threads": (Task(threads.run, threads.layers),),
    "rsm": (Task(whole_rsm.run, whole_rsm.layers),),
    "scaling": (Task(scaling.run, scaling.layers, one_core=True),),
    "large": (
        Task(large.pair, large.pair_layers, fresh=True),
        Task(large.exact, large.exact_layers, fresh=True),
        Task(large.whole_rsm, large.pair_layers, fresh=True),
    ),
}


def run(
    config: RuntimeConfig, names: Sequence[str], session: Session
) -> dict[str, dict[str, Any]]:
    """Runs sections one after the other, never two at a time.

    Args:
      config: the settings.
      names: of the sections.
      session: keeps each section that is finished, which then is only read.

    Returns:
      What each section measured, with the seconds it took; `busy` is the share of its
      core that a section of one core got.
    """
    computed: features.Features = {}
    with ExitStack() as stack:

        @functools.cache
        def shared(one_core: bool) -> Callable[..., Outcome]:
            return stack.enter_context(worker(session.report, one_core))

        def inputs(task: Task) -> features.Features:
            layers = task.layers(config)
            missing = tuple(layer for layer in layers if layer not in computed)
            if missing:
                found = shared(False)(features.compute, config, missing)
                computed.update(found.value)
            return {layer: computed[layer] for layer in layers}

        def section(name: str) -> dict[str, Any]:
            result: dict[str, Any] = {"seconds_in_all": 0.0}
            for task in SECTIONS[name]:
                given = inputs(task)
                with ExitStack() as own:
                    if task.fresh:
                        call = own.enter_context(worker(session.report, task.one_core))
                    else:
                        call = shared(task.one_core)
                    outcome = call(task.run, config, given)
                result |= outcome.value
                result["seconds_in_all"] += outcome.seconds
                if task.one_core:
                    result["busy"] = outcome.cores_used
            return result

        return {name: _kept(session, name, section) for name in names}


def _kept(
    session: Session, name: str, section: Callable[[str], dict[str, Any]]
) -> dict[str, Any]:
    found = session.step(name, lambda: {"json": np.array(json.dumps(section(name)))})
    return json.loads(str(found["json"]))
