"""Trains the small networks that experiments at scale "bundled", and the demo, use.

    python -m experiments.train --network vit-2
    python -m experiments.train --network all

Most learn from composed scenes to name the photograph behind and to count the objects;
that of the demo to name the photograph that a crop comes from. Weights go to
NAME.safetensors in float16, and what the network then gets right on other digits and
other parts of the photographs to NAME.json. What is there is not made again without
--overwrite; training that was interrupted goes on where it stopped.

Expected: the accuracies of the files in experiments/trained/checkpoints and, for the
demo's network, in semrsm_jax/demo; they come from this command. Each network takes some
minutes on two cores.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

import jax.numpy as jnp
import typer
from flax import nnx

from experiments.frame.command_line import app_of, check_choice
from experiments.frame.conduct import compare_code
from experiments.frame.environment import described, environment, plain
from experiments.frame.session import Session, fingerprint
from experiments.trained.networks import NETWORKS, TrainedNetwork
from experiments.trained.tasks import CROPS, SCENES, Task
from experiments.trained.training import OPTIMIZATION, train
from semrsm_jax.cli.console import Report, progress_bar, say, say_fields
from semrsm_jax.demo.networks import DEMO_NETWORK
from semrsm_jax.models import load_weights, save_weights
from semrsm_jax.store import new_file

Job = tuple[TrainedNetwork, Task]  # a network, and what it is trained for
JOBS: Mapping[str, Job] = {
    **{name: (network, SCENES) for name, network in NETWORKS.items()},
    "demo": (TrainedNetwork("resnet", DEMO_NETWORK, (), steps=1000), CROPS),
}
_UNFINISHED = "unfinished"  # folder of what a run that is interrupted goes on from
_PACKAGES = ("semrsm_jax", "jax", "jaxlib", "flax", "optax", "numpy", "scikit-image")


def run(
    network: Annotated[
        str, typer.Option(help=f"One of {', '.join(JOBS)}; or all of them.")
    ] = "all",
    output: Annotated[
        Path, typer.Option("--output", "-o", help="Folder for weights and accuracies.")
    ] = Path("results/train"),
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Train again what is there.")
    ] = False,
    quiet: Annotated[
        bool, typer.Option("--quiet", "-q", help="Show no progress.")
    ] = False,
) -> None:
    """Trains what was asked for and prints its accuracies."""
    check_choice("network", network, ("all", *JOBS))
    with progress_bar("steps", quiet) as report:
        for name in JOBS if network == "all" else (network,):
            accuracy = make(name, JOBS[name], output, report, overwrite)
            say(f"{output / name}.safetensors")
            say_fields({key: round(value, 4) for key, value in accuracy.items()})


def make(
    name: str, job: Job, output: Path, report: Report, overwrite: bool = False
) -> dict[str, float]:
    """Trains a network, measures it, writes both files, and returns the accuracies.

    Of the two files those that are there are kept, without `overwrite`.
    """
    weights, numbers = (output / f"{name}{end}" for end in (".safetensors", ".json"))
    if overwrite or not weights.exists():
        model = _train(name, job, output / _UNFINISHED, report)
        numbers.unlink(missing_ok=True)  # first: they never stand beside other weights
        save_weights(model, weights, dtype=jnp.float16, overwrite=True)
    if not numbers.exists():
        _measure(name, job, weights, numbers, report)
    return json.loads(numbers.read_text())["accuracy"]


def _train(name: str, job: Job, work: Path, report: Report) -> nnx.Module:
    network, task = job
    work.mkdir(parents=True, exist_ok=True)
    compare_code(work)
    return train(
        network,
        task.lessons(Session(work, report)),
        task.loss,
        work / f"{name}-{fingerprint(network, task.plans, OPTIMIZATION)}.npz",
        lambda done, total: report(f"Training {name}", done, total),
    )


def _measure(name: str, job: Job, weights: Path, numbers: Path, report: Report) -> None:
    """Measures what was written, not what was trained: float16 is a little less."""
    network, task = job
    model = network.build(0)
    load_weights(model, weights)
    model.eval()
    document = {
        "network": name,
        "accuracy": task.evaluate(model, report),
        "test": repr(task.test),
        "training": [repr(plan) for plan in task.plans],
        "optimization": repr(OPTIMIZATION),
        "config": described(network),
        "environment": environment(_PACKAGES),
    }
    with new_file(numbers, overwrite=True) as temporary:
        temporary.write_text(json.dumps(plain(document), indent=2) + "\n")


app = app_of(__doc__ or "", run)

if __name__ == "__main__":
    app()
