"""Tokens of all samples in one order, for measures that take features."""

import jax.numpy as jnp
from jax.typing import ArrayLike
from jaxtyping import Array, Float

from semrsm_jax import _checks
from semrsm_jax._representations import accumulation_dtype
from semrsm_jax.matching.base import Matcher, match, matched_tokens
from semrsm_jax.matching.exact import Exact
from semrsm_jax.matching.results import SoftMatching

_ENTRIES = 2**26  # of the affinities that are held at a time


def align_tokens(
    x: ArrayLike, matcher: Matcher = Exact(), reference: ArrayLike | None = None
) -> Float[Array, "N S C"]:
    """The tokens of every sample in the order of the reference tokens they match.

    This is what "semantic" means for a measure that takes features: within each
    network, which has its own channels, every sample is matched with one reference
    (Eq. 4), so that position s of the result is the same concept in all samples. The
    result does not depend on the order of a sample's tokens. Two networks are aligned
    each for itself, then compared sample by sample. Unlike a semantic RSM, whose every
    entry has a matching of its own, the RSM of aligned tokens is positive
    semi-definite; it is at most the semantic one (linear kernel).

    Args:
      x: representations (N, S, C), see `to_tokens`.
      matcher: the rule that pairs the tokens; those of a soft one are weighted means.
      reference: tokens (R, C) that all samples are matched with; a token of it without
        a partner is zero. None: the sample whose mean token is nearest to the mean of
        all, which does not depend on the order of samples or tokens.

    Returns:
      The representations (N, S, C), or (N, R, C) for a reference of R tokens.

    Raises:
      TypeError: an array is not real, or `matcher` is not a Matcher.
      ValueError: `x` is not of rank 3, the reference not of rank 2 with its channels,
        an axis is empty, or a value is not finite.

    References:
      The matching is that of Eq. 4; alignment to one reference is that of generalized
      Procrustes analysis (Gower 1975) with permutations in place of rotations.

    Examples:
      >>> import numpy as np
      >>> from semrsm_jax import align_tokens
      >>> x = np.array([[[3.0, 0], [0, 2]], [[0, 1], [4, 0]]])
      >>> print(align_tokens(x, reference=x[0])[1])
      [[4. 0.]
       [0. 1.]]
    """
    x = _checks.real_array("x", x, rank=3)
    _checks.non_empty("x", x, "N S C")
    _checks.finite("x", x)
    if reference is None:
        # In half precision, squared distances would overflow.
        means = jnp.mean(x.astype(accumulation_dtype(x.dtype)), axis=1)
        distances = jnp.sum((means - jnp.mean(means, axis=0)) ** 2, axis=1)
        template = x[jnp.argmin(distances)]
    else:
        template = _checks.real_array("reference", reference, rank=2)
        if template.shape[-1] != x.shape[-1]:
            raise ValueError(
                f"reference must have the {x.shape[-1]} channels of x, got shape "
                f"{template.shape}"
            )
    step = max(1, _ENTRIES // (len(template) * x.shape[1]))
    parts = []
    for start in range(0, len(x), step):
        part = x[start : start + step]
        tokens = jnp.broadcast_to(template, (len(part), *template.shape))
        matching = match(tokens, part, matcher=matcher)
        if isinstance(matching, SoftMatching):
            parts.append(matching.partner)
        else:
            parts.append(matched_tokens(part, matching.permutation))
    return jnp.concatenate(parts)
