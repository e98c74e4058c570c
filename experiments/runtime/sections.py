"""The sections of the benchmark, and the processes in which they run."""

import functools
import json
from collections.abc import Callable
from contextlib import ExitStack
from typing import Any, NamedTuple

import numpy as np

from experiments.frame.session import Session
from experiments.frame.worker import Outcome, Report, worker
from experiments.runtime import adversarial, depth, features, large, speed, table5
from experiments.runtime.config import Layer, RuntimeConfig

Results = dict[str, dict[str, Any]]  # of each section that ran


class Task(NamedTuple):
    """A part of a section.

    Attributes:
      run: called as ``run(config, features, report)``.
      layers: of a config, those whose features `run` needs.
      one_core: whether it gets a single core.
      fresh: whether it gets a new process, to measure its memory.
    """

    run: Callable[[RuntimeConfig, features.Features, Report], dict[str, Any]]
    layers: Callable[[RuntimeConfig], tuple[Layer, ...]]
    one_core: bool = False
    fresh: bool = False


def _of_sizes(field: str) -> Callable[[RuntimeConfig], tuple[Layer, ...]]:
    return lambda config: tuple(size.layer for size in getattr(config, field))


SECTIONS: dict[str, tuple[Task, ...]] = {
    "table5": (Task(table5.run, _of_sizes("table"), one_core=True),),
    "depth": (Task(depth.run, lambda config: config.depth),),
    "adversarial": (Task(adversarial.run, lambda config: (), one_core=True),),
    "threads": (Task(speed.threads, _of_sizes("threads")),),
    "rsm": (Task(speed.whole_rsm, _of_sizes("rsm")),),
    "scaling": (Task(speed.scaling, lambda c: (*c.scaling, c.quality), one_core=True),),
    "large": (
        Task(large.pair, lambda config: (config.large,), fresh=True),
        Task(large.exact, lambda config: (config.large_exact,), fresh=True),
        Task(large.whole_rsm, lambda config: (config.large,), fresh=True),
    ),
}


def run(config: RuntimeConfig, session: Session) -> Results:
    """Runs the sections of the session one after the other, never two at a time.

    Returns:
      What each section measured, with the seconds it took; `busy` is the share of its
      core that a section of one core got. Finished sections are kept in the session.
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
                computed.update(shared(False)(features.compute, config, missing).value)
            return {layer: computed[layer] for layer in layers}

        def section(name: str) -> dict[str, np.ndarray]:
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
            return {"json": np.array(json.dumps(result))}

        results = {}
        for name in config.sections:
            if not session.only or name in session.only:
                step = session.step(name, functools.partial(section, name))
                results[name] = json.loads(str(step["json"]))
        return results
