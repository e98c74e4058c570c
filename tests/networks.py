"""Small random images, and networks with random weights; nothing is compiled."""

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from semrsm_jax.models.checkpoint._loading import network_of_shapes


def pixels(size: tuple[int, int], n: int = 2, seed: int = 0) -> np.ndarray:
    """Normalized images (n, *size, 3)."""
    rng = np.random.default_rng(seed)
    return rng.normal(size=(n, *size, 3)).astype(np.float32)


def assert_same_values(first: nnx.Module, second: nnx.Module) -> None:
    """Two networks have the same parameters and statistics, to the last bit."""
    jax.tree.map(np.testing.assert_array_equal, nnx.state(first), nnx.state(second))


def abstract(network: type, config: object) -> nnx.Module:
    """A network of shapes only; nothing is computed."""
    return network_of_shapes(lambda: network(config, rngs=nnx.Rngs(0)))


def random_network(network: type, config: object, seed: int = 0) -> nnx.Module:
    """A network in evaluation mode, its weights drawn by NumPy."""
    rng = np.random.default_rng(seed)

    def draw(path: tuple, leaf: jax.ShapeDtypeStruct) -> jax.Array:
        name = jax.tree_util.keystr(path)
        fan_in = np.prod(leaf.shape[:-1]) if len(leaf.shape) > 1 else 10
        values = rng.normal(scale=max(fan_in, 1) ** -0.5, size=leaf.shape)
        if "scale" in name or "var" in name or "factor" in name:
            values = 1 + 0.5 * np.abs(values)
        return jnp.asarray(values, leaf.dtype)

    # `nnx.merge` would sort the layers by name.
    model = abstract(network, config)
    nnx.update(model, jax.tree_util.tree_map_with_path(draw, nnx.state(model)))
    model.eval()
    return model
