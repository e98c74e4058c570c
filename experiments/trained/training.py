"""Training of a small network with AdamW.

Batches are drawn by the number of the step, so that training goes on after an
interruption exactly as it would have without one.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import nnx
from jaxtyping import Array, Float

from experiments.frame.session import Arrays
from experiments.trained.networks import TrainedNetwork
from semrsm_jax.demo.networks import normalize
from semrsm_jax.store import new_file

_SAVE_EVERY = 200  # steps

Progress = Callable[[int, int], object]
Loss = Callable[[Float[Array, "N O"], Mapping[str, Array]], Float[Array, ""]]


class Lesson(NamedTuple):
    """What a network learns from for part of its steps.

    Attributes:
      examples: arrays with the examples along their first axis, among them
        ``"images"``, (N, H, W, 3) from 0 to 255.
      share: of all steps.
      batch: images a step.
    """

    examples: Arrays
    share: float
    batch: int


@dataclass(frozen=True)
class Optimization:
    """How networks are trained, beside what `TrainedNetwork` says of each.

    Attributes:
      warm_up: share of the steps over which the learning rate rises; it then falls to
        0 along a cosine.
      weight_decay: of AdamW.
      largest_gradient: norm to which gradients are clipped.
    """

    warm_up: float = 0.1
    weight_decay: float = 0.02
    largest_gradient: float = 1.0


OPTIMIZATION = Optimization()  # of all networks; recorded beside their accuracies


def train(
    network: TrainedNetwork,
    lessons: Sequence[Lesson],
    loss: Loss,
    resume: Path | None = None,
    progress: Progress = lambda done, total: None,
) -> nnx.Module:
    """Trains a network from its seed.

    Args:
      network: its architecture, seed and steps.
      lessons: one after the other; their shares add up to one.
      loss: of logits (B, O) and a batch of the arrays of a lesson.
      resume: a file that keeps what is done so far and is removed in the end; None
        keeps nothing.
      progress: called as ``progress(done, total)``, in steps.

    Returns:
      The network in evaluation mode.

    Raises:
      ValueError: the file is of another network.
    """
    model = network.build(network.seed)
    model.train()
    optimizer = _optimizer(network)
    graph, parameters, rest = nnx.split(model, nnx.Param, ...)
    state = (parameters, rest, optimizer.init(parameters))
    # The step with which each lesson ends, the last one at the latest.
    ends = np.cumsum([lesson.share for lesson in lessons])[:-1] * network.steps
    start = 0
    if resume is not None and resume.exists():
        start, state = _restore(resume, state)
    for step in range(start, network.steps):
        examples, _, size = lessons[int(np.searchsorted(ends, step, side="right"))]
        rng = np.random.default_rng((network.seed, step))
        chosen = rng.integers(len(examples["images"]), size=size)
        batch = {name: jnp.asarray(part[chosen]) for name, part in examples.items()}
        state = _update(graph, optimizer, loss, state, batch)
        progress(step + 1, network.steps)
        if resume is not None and (step + 1) % _SAVE_EVERY == 0:
            _keep(resume, step + 1, state)
    parameters, rest, _ = state
    model = nnx.merge(graph, parameters, rest)
    model.eval()
    if resume is not None:
        resume.unlink(missing_ok=True)
    return model


def _optimizer(network: TrainedNetwork) -> optax.GradientTransformation:
    rate = optax.warmup_cosine_decay_schedule(
        0.0,
        network.learning_rate,
        round(OPTIMIZATION.warm_up * network.steps),
        network.steps,
    )
    return optax.chain(
        optax.clip_by_global_norm(OPTIMIZATION.largest_gradient),
        optax.adamw(rate, weight_decay=OPTIMIZATION.weight_decay),
    )


@partial(jax.jit, static_argnums=(0, 1, 2), donate_argnums=3)
def _update(
    graph: Any,
    optimizer: optax.GradientTransformation,
    loss: Loss,
    state: Any,
    batch: Mapping[str, Array],
) -> Any:
    parameters, rest, moments = state

    def objective(parameters: Any) -> tuple[jax.Array, Any]:
        # A copy: the running statistics of the caller's trace are not ours to change.
        model = nnx.merge(graph, parameters, rest, copy=True)
        logits = model(normalize(batch["images"].astype(jnp.float32) / 255))
        return loss(logits, batch), nnx.split(model, nnx.Param, ...)[2]

    gradients, rest = jax.grad(objective, has_aux=True)(parameters)
    updates, moments = optimizer.update(gradients, moments, parameters)
    return optax.apply_updates(parameters, updates), rest, moments


def _keep(path: Path, step: int, state: Any) -> None:
    leaves = {f"{i}": np.asarray(x) for i, x in enumerate(jax.tree.leaves(state))}
    with new_file(path, overwrite=True) as temporary, temporary.open("wb") as stream:
        np.savez(stream, allow_pickle=False, step=np.asarray(step), **leaves)


def _restore(path: Path, like: Any) -> tuple[int, Any]:
    leaves, structure = jax.tree.flatten(like)
    with np.load(path, allow_pickle=False) as stored:
        results = [stored[f"{i}"] for i in range(len(stored.files) - 1)]
        step = int(stored["step"])
    if [x.shape for x in results] != [x.shape for x in leaves]:
        raise ValueError(f"{path} must hold the state of this network; remove it")
    return step, jax.tree.unflatten(structure, [jnp.asarray(x) for x in results])
