"""What can be compiled for accelerators, where none is at hand."""

import jax
import jax.numpy as jnp
import pytest

from semrsm_jax import (
    BatchOptimal,
    CircularShift,
    DualBound,
    Exact,
    Greedy,
    Identity,
    Sinkhorn,
    TopKGreedy,
    match,
    rsm,
)
from semrsm_jax.matching import device_steps

PLATFORMS = ("cuda", "rocm", "tpu")
X = jax.ShapeDtypeStruct((3, 16, 4), jnp.float32)


def lower(function, platform):
    return jax.jit(function).trace(X).lower(lowering_platforms=(platform,)).as_text()


@pytest.mark.parametrize("platform", PLATFORMS)
@pytest.mark.parametrize(
    "matcher",
    [
        Exact(solver="device"),
        Exact(solver="optax"),
        BatchOptimal(8, sweeps=1, solver="device"),
        TopKGreedy(4, solver="device"),
        Greedy(),
        Sinkhorn(),
        Sinkhorn(block=8),
        CircularShift((4, 4)),
        Identity(),
    ],
    ids=repr,
)
def test_solved_on_the_device(matcher, platform):
    assert "callback" not in lower(lambda x: rsm(x, matcher=matcher), platform)


@pytest.mark.parametrize("solver", ["auction", "scipy", "ortools"])
def test_solvers_on_the_host_need_the_platform_they_run_on(solver):
    """A callback belongs to a process: it is compiled where it runs."""
    with pytest.raises(ValueError, match="platform"):
        lower(lambda x: match(x, x, matcher=Exact(solver=solver)).value, "cuda")


def test_the_dual_bound_is_solved_on_the_host():
    with pytest.raises(ValueError, match="platform"):
        lower(lambda x: DualBound(4)(x, x), "cuda")


@pytest.mark.slow
def test_steps_of_the_device_solver(rng):
    """A matrix whose best columns differ needs one round a block of rows."""
    easy = jnp.eye(16)
    hard = jnp.asarray(rng.normal(size=(16, 3)) @ rng.normal(size=(3, 16)))
    one, many = device_steps(jnp.stack([easy, hard]))
    assert one == 1 and many > one
