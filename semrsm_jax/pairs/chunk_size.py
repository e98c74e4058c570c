"""How many pairs a chunk has."""

from jax.typing import DTypeLike

from semrsm_jax._representations import accumulation_dtype
from semrsm_jax._resources import Device, cores, default_device, free_memory
from semrsm_jax.matching.base import Shape
from semrsm_jax.pairs.executor import Rule

# Pairs in flight by default: as many as fill the processor's cache, so that an affinity
# is matched while it is near, but enough to keep every core busy, as long as memory
# allows. At S=1024, 128 MiB in flight took 1.3 times as long as 32.
_CACHE_BYTES = 32 * 2**20
_PAIRS_PER_CORE = 4
_MEMORY_SHARE = 1 / 8

# Affinities of a chunk, in numbers, where the solver on the host takes one pair after
# the other: a tenth of a second. Its threads wait for each other after a chunk.
_HOST_ENTRIES = 2**25

# The most pairs that are matched at once: more gain nothing.
_MOST_PAIRS = 1024


def bytes_in_flight(
    x_shape: Shape,
    y_shape: Shape,
    dtype: DTypeLike,
    rule: Rule,
    pairs: int,
    device: Device,
) -> int:
    """Bytes that a chunk of pairs of samples (N, S, C) and (M, T, C) takes."""
    if _one_by_one(rule, device):
        pairs = min(pairs, _PAIRS_PER_CORE * cores())
    return pairs * pair_bytes(x_shape, y_shape, dtype, rule)


def pair_bytes(x_shape: Shape, y_shape: Shape, dtype: DTypeLike, rule: Rule) -> int:
    """Bytes that a pair of samples (N, S, C) and (M, T, C) takes while in flight."""
    (_, tokens, channels), others = x_shape, y_shape[1]
    # The tokens of both samples and the matched ones, beside the matcher's own.
    numbers = (2 * tokens + others) * channels
    numbers += rule.workspace(tokens, others, channels)
    return numbers * accumulation_dtype(dtype).itemsize


def pairs_in_flight(
    x_shape: Shape,
    y_shape: Shape,
    dtype: DTypeLike,
    rule: Rule,
    budget: int | None = None,
    device: Device | None = None,
    long: bool = False,
) -> int:
    """How many pairs of samples (N, S, C) and (M, T, C) a chunk has.

    Args:
      x_shape: (N, S, C).
      y_shape: (M, T, C).
      dtype: that they are matched in.
      rule: how.
      budget: bytes that they may take, see `pair_statistics`.
      device: where; None is JAX's default.
      long: more, where the threads of the host match one each. Not where one chunk
        decides about the next, nor under jit.
    """
    size = pair_bytes(x_shape, y_shape, dtype, rule)
    if budget is None:
        place: Device = device or default_device()
        share = int(free_memory(place) * _MEMORY_SHARE)
        busy = max(_CACHE_BYTES, _PAIRS_PER_CORE * cores() * size)
        if long and _one_by_one(rule, place):
            busy = max(busy, _HOST_ENTRIES // (x_shape[1] * y_shape[1]) * size)
        budget = min(busy, share) if place.platform == "cpu" else share
    return max(1, min(budget // size, _MOST_PAIRS))


def _one_by_one(rule: Rule, device: Device) -> bool:
    """Whether pairs of a device are matched by the host's threads, one each."""
    on_host = rule.bound is None and rule.matcher.host_solver() is not None
    return on_host and device.platform == "cpu"
