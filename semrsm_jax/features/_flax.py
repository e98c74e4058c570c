"""What flax.nnx and flax.linen share: one compiled function of a state and images.

`_nnx.py` and `_linen.py` prepare a network as a static part and a state, and capture
the outputs of layers from both.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from semrsm_jax.features._backend import Call, Forward, Network, Read
from semrsm_jax.features._readings import Evidence, Reading, Stated
from semrsm_jax.features._tokens import TokenRule

# From a network to its static part and its state.
Prepare = Callable[[Network], tuple[Any, Any]]
# From both, images, names and a call to the outputs of the layers that are called.
Capture = Callable[[Any, Any, Any, tuple[str, ...], Call | None], dict[str, Any]]


@contextmanager
def running(
    prepare: Prepare,
    capture: Capture,
    network: Network,
    layers: tuple[str, ...],
    rule: TokenRule,
    size: int,
) -> Iterator[Forward]:
    """Yields the compiled function; smaller batches are padded, so that one serves."""
    static, state = prepare(network)

    def forward(
        images: np.ndarray | jax.Array,
    ) -> Mapping[str, Float[Array, "n S C"]]:
        count = images.shape[0]
        batch = jnp.asarray(images)
        if count < size:
            batch = jnp.pad(batch, ((0, size - count), (0, 0), (0, 0), (0, 0)))
        outputs = _compiled_forward(
            capture, static, state, batch, layers, rule, network.call
        )
        if count == size:
            return outputs
        return {name: tokens[:count] for name, tokens in outputs.items()}

    yield forward


def _forward(
    capture: Capture,
    static: Any,
    state: Any,
    images: Float[Array, "N H W C"],
    layers: tuple[str, ...],
    rule: TokenRule,
    call: Call | None,
) -> dict[str, Float[Array, "N S C"]]:
    """The tokens of the layers."""
    captured = capture(static, state, images, layers, call)
    for name in layers:
        if name not in captured:
            raise ValueError(f"layers: the model does not call {name!r}")
    return {name: _tokens(rule, name, captured[name], images) for name in layers}


# The static parts compare by value, so equal models share a compilation.
_compiled_forward = jax.jit(
    _forward, static_argnames=("capture", "static", "layers", "rule", "call")
)


def _tokens(
    rule: TokenRule, name: str, output: Any, images: Float[Array, "N H W C"]
) -> jax.Array:
    """The tokens of a layer's output for images."""
    if not isinstance(output, jax.Array):
        raise TypeError(
            f"layers: {name!r} gives {type(output).__name__}, expected an array"
        )
    reading, kept = _read(rule, name, output.shape, images)
    return reading.tokens(output, jnp.transpose)[:, kept]


def _read(
    rule: TokenRule, name: str, shape: tuple[int, ...], images: Any
) -> tuple[Reading, slice]:
    """How a layer is read; of flax networks it is known that channels are last."""
    samples, height, width, _ = images.shape
    evidence = Evidence((height, width), rule.stated, layout="NHWC")
    return rule.read(name, shape, samples, evidence)


def outputs(
    prepare: Prepare,
    capture: Capture,
    network: Network,
    layers: Sequence[str],
    images: Any,
) -> dict[str, tuple[Any, Read]]:
    """The layers that give one array, and how each is read, by tracing."""
    static, state = prepare(network)

    def trace(state: Any, images: Any) -> dict[str, Any]:
        return capture(static, state, images, tuple(layers), network.call)

    return {
        name: (output, partial(_read, name=name, shape=output.shape, images=images))
        for name, output in jax.eval_shape(trace, state, jnp.asarray(images)).items()
        if isinstance(output, jax.ShapeDtypeStruct)
    }


def stated_by(holders: Iterable[Any]) -> Stated:
    """What the first of some objects that has them states about prefix and patches."""
    facts: dict[str, Any] = {}
    for holder in holders:
        for name in ("prefix_tokens", "patch_size"):
            value = getattr(holder, name, None)
            if value is not None:
                facts.setdefault(name, value)
    match facts.get("patch_size"):
        case int(side):
            patch = (side, side)
        case (int(rows), int(columns)):
            patch = (rows, columns)
        case _:
            patch = None
    return Stated(facts.get("prefix_tokens"), patch=patch)
