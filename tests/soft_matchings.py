"""What the tests of soft matching share: tokens, masked pairs, and a comparison."""

import jax
import numpy as np

from semrsm_jax import Sinkhorn, match

# Derivatives take epsilon as given: finite differences must not move it.
FIXED = Sinkhorn(epsilon=0.7, tolerance=1e-12, max_iterations=20000)
SOFT = Sinkhorn(epsilon=0.2, relative=True)

SHAPES = {
    "square": (7, 7, None),
    "more in x": (9, 5, None),
    "more in y": (5, 8, None),
    "masked": (8, 7, 2),
}


def draw_tokens(rng, *shape, dtype=np.float64):
    """Tokens of uneven norms, mostly of one direction, as features are."""
    norms = rng.lognormal(sigma=0.7, size=(*shape[:-1], 1))
    return (norms * (rng.normal(size=shape) + 0.5)).astype(dtype)


def draw_pair(rng, shape):
    """Both samples of one of `SHAPES` and their masks."""
    S, T, masked = SHAPES[shape]
    x, y = draw_tokens(rng, S, 4), draw_tokens(rng, T, 4)
    x_mask, y_mask = np.ones(S, bool), np.ones(T, bool)
    if masked:
        x_mask[:masked], y_mask[-1:] = False, False
    return x, y, x_mask, y_mask


def compiled_fields(matcher, names, x_mask=None, y_mask=None):
    """Fields of the soft matching as a compiled function of the tokens."""

    @jax.jit
    def fields(x, y):
        matching = match(x, y, matcher=matcher, x_mask=x_mask, y_mask=y_mask)
        return [getattr(matching, name) for name in names]

    return fields


def assert_close(result, expected, rtol):
    """To `rtol` of the largest entry."""
    expected = np.asarray(expected)
    scale = np.abs(expected).max()
    np.testing.assert_allclose(result, expected, rtol=rtol, atol=rtol * scale)
