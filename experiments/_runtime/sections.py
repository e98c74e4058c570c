"""The sections of the benchmark, and the processes in which they run."""

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from typing import Any, NamedTuple

from experiments._common.worker import Report, worker
from experiments._runtime import (
    adversarial,
    features,
    large,
    scaling,
    table5,
    threads,
    whole_rsm,
)
from experiments._runtime.config import Layer, RuntimeConfig


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
    config: RuntimeConfig, names: Sequence[str], show: Report
) -> dict[str, dict[str, Any]]:
    """Runs sections one after the other, never two at a time.

    Returns:
      What each section measured, with the seconds it took; `busy` is the share of its
      core that a section of one core got.
    """
    wanted = {
        layer
        for name in names
        for task in SECTIONS[name]
        for layer in task.layers(config)
    }
    results = {}
    with ExitStack() as stack:
        shared = {
            one_core: stack.enter_context(worker(show, one_core))
            for one_core in (False, True)
        }
        computed = shared[False](features.compute, config, tuple(wanted)).value
        for name in names:
            result: dict[str, Any] = {"seconds_in_all": 0.0}
            for task in SECTIONS[name]:
                inputs = {layer: computed[layer] for layer in task.layers(config)}
                with ExitStack() as own:
                    call = shared[task.one_core]
                    if task.fresh:
                        call = own.enter_context(worker(show, task.one_core))
                    outcome = call(task.run, config, inputs)
                result |= outcome.value
                result["seconds_in_all"] += outcome.seconds
                if task.one_core:
                    result["busy"] = outcome.cores_used
            results[name] = result
    return results
