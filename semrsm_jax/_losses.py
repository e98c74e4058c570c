"""Semantic similarity as a loss: scalars to be minimized, for optax.

Each is a pure function of representations, to be differentiated with `jax.grad` and
compiled with `jax.jit`. With a soft matching, ``Sinkhorn()``, the loss also sees how
the matching itself would change; with a hard one, ``Exact()`` or ``Identity()``, the
gradient is that of the fixed permutation (envelope theorem).

Every argument is differentiated. Put ``jax.lax.stop_gradient`` around what must not
be trained, such as a teacher's representations.
"""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike
from jaxtyping import Array, Float

from semrsm_jax import _checks, _representations
from semrsm_jax._kernels import RBF, Cosine, Kernel, Linear
from semrsm_jax._narrowed import warn_of_lost_variation
from semrsm_jax._rsm import rsm, rsm_with_unconverged
from semrsm_jax.comparison import cka
from semrsm_jax.comparison.narrowing import to_device
from semrsm_jax.matching.base import Matcher, check_matcher
from semrsm_jax.matching.results import Unconverged, warn_unconverged
from semrsm_jax.matching.sinkhorn import Sinkhorn
from semrsm_jax.pairs.norms import squared_norms
from semrsm_jax.pairs.statistics import PairStatistics


def semantic_cka_loss(
    x: ArrayLike,
    y: ArrayLike,
    matcher: Matcher = Sinkhorn(),
    kernel: Kernel = Linear(),
    *,
    estimator: str = "biased",
    x_mask: ArrayLike | None = None,
    y_mask: ArrayLike | None = None,
) -> Float[Array, ""]:
    """One minus the CKA of two networks' RSMs over the same samples, Eq. 2 and 4.

    Each network is compared with itself only, so tokens and channels may differ in
    number. ``matcher=Identity()`` gives the spatio-semantic CKA loss, the baseline.

    Args:
      x: representations (N, S, C) of one network, for example a student's.
      y: representations (N, T, D) of another of the same samples, in the same order.
      matcher: the rule that pairs the tokens of two samples, on both sides.
      kernel: the similarity of matched representations.
      estimator: of HSIC, ``"biased"`` or ``"unbiased"``, see `cka`. The biased one
        grows with the channels when the batch is small.
      x_mask: (N, S), True where a token takes part. None: all do.
      y_mask: (N, T), True where a token takes part. None: all do.

    Returns:
      A scalar, 0 for equal similarity structures; 1, with gradient 0, where an RSM is
      constant.

    Raises:
      TypeError: as `rsm`.
      ValueError: as `rsm` and `cka`, or the numbers of samples differ.

    References:
      Kornblith et al., "Similarity of neural network representations revisited", 2019.

    Examples:
      >>> import numpy as np
      >>> from semrsm_jax import semantic_cka_loss
      >>> x = np.random.default_rng(0).normal(size=(6, 9, 4)).astype("float32")
      >>> print(f"{semantic_cka_loss(x, 2 * x):.3f}")
      0.000
    """
    _checks.estimator(estimator)
    x, x_mask = _checked("x", x, x_mask)
    y, y_mask = _checked("y", y, y_mask)
    if x.shape[0] != y.shape[0]:
        raise ValueError(
            "x and y must hold the same samples, got "
            f"{x.shape[0]} and {y.shape[0]} of them"
        )
    K, of_x = rsm_with_unconverged(x, None, matcher, kernel, x_mask=x_mask)
    L, of_y = rsm_with_unconverged(y, None, matcher, kernel, x_mask=y_mask)
    warn_unconverged(of_x.and_those(of_y))
    return 1 - cka(K, L, estimator)


def rsm_alignment_loss(
    x: ArrayLike,
    target: ArrayLike,
    matcher: Matcher = Sinkhorn(),
    kernel: Kernel = Linear(),
    *,
    x_mask: ArrayLike | None = None,
    known: ArrayLike | None = None,
) -> Float[Array, ""]:
    """One minus the correlation of an RSM with a given similarity matrix.

    Pearson's correlation over the entries off the diagonal: a sample's
    similarity with itself does not describe how samples relate, and human judgments
    seldom include it. Neither the scale nor the zero of the target matters.

    Args:
      x: representations (N, S, C), for example a student's.
      target: similarities (N, N) of the same samples in the same order, such as a
        teacher's RSM or judgments of people; the higher, the more alike.
      matcher: the rule that pairs the tokens of two samples.
      kernel: the similarity of matched representations.
      x_mask: (N, S), True where a token takes part. None: all do.
      known: (N, N) boolean, True where an entry of the target counts, for judgments
        that were not all collected. None: all do. An unknown entry may be NaN.

    Returns:
      A scalar in [0, 2]; 1, with gradient 0, where the RSM or the target is constant.

    Raises:
      TypeError: as `rsm`, the target is not real, or `known` not boolean.
      ValueError: as `rsm`, fewer than 3 samples, a target or `known` of another shape,
        or a known similarity that is NaN or infinite.

    References:
      Kriegeskorte et al., "Representational similarity analysis", 2008.
    """
    x, x_mask = _checked("x", x, x_mask)
    n = x.shape[0]
    if n < 3:
        raise ValueError(f"x must hold at least 3 samples, got {n}")
    target = _checks.real_array_on_host("target", target, rank=2)
    if target.shape != (n, n):
        raise ValueError(
            f"target must have shape {(n, n)}, the samples of x, got {target.shape}"
        )
    counted = ~np.eye(n, dtype=bool)
    if known is not None:
        counted = counted & _known(known, (n, n))
    xp: Any = jnp if _checks.is_traced(target, counted) else np
    # Entries that do not count are as one that does, so that they set no scale.
    fill = xp.ravel(target)[xp.argmax(counted)]
    target = xp.where(counted, target, xp.where(counted.any(), fill, 0))
    target = to_device("target", target, 2, shift=True, scale=True)
    K = rsm(x, None, matcher, kernel, x_mask=x_mask)
    # Pearson's correlation of the counted entries; 0 where either is constant.
    return 1 - jnp.sum(_standardized(K, counted) * _standardized(target, counted))


def semantic_triplet_loss(
    anchor: ArrayLike,
    positive: ArrayLike,
    negative: ArrayLike,
    matcher: Matcher = Sinkhorn(),
    kernel: Kernel = Cosine(),
    *,
    margin: float = 0.1,
    anchor_mask: ArrayLike | None = None,
    positive_mask: ArrayLike | None = None,
    negative_mask: ArrayLike | None = None,
) -> Float[Array, ""]:
    """The hinge loss of anchors that shall be nearer to positives than to negatives.

    The mean over triplets of max(0, margin + k(anchor, negative) - k(anchor,
    positive)). All triplets are matched at once; give fewer where memory is short.

    Args:
      anchor: representations (N, S, C).
      positive: representations (N, T, C), one for each anchor.
      negative: representations (N, U, C), one for each anchor.
      matcher: the rule that pairs the tokens of two samples.
      kernel: the similarity of matched representations.
      margin: by how much the positive must be more similar, in the units of the kernel.
      anchor_mask: (N, S), True where a token takes part. None: all do.
      positive_mask: (N, T), True where a token takes part. None: all do.
      negative_mask: (N, U), True where a token takes part. None: all do.

    Returns:
      A scalar of at least 0.

    Raises:
      TypeError: as `rsm`.
      ValueError: as `rsm`, numbers of samples or channels that differ, a margin below
        0, or an RBF whose bandwidth is not a number: a rule would take it from
        each pair alone.

    References:
      Schroff et al., "FaceNet", 2015, Eq. 2, for similarities in place of distances.
    """
    given = [
        _checked("anchor", anchor, anchor_mask),
        _checked("positive", positive, positive_mask),
        _checked("negative", negative, negative_mask),
    ]
    sides, masks = [side for side, _ in given], [mask for _, mask in given]
    if len({(side.shape[0], side.shape[2]) for side in sides}) > 1:
        shapes = ", ".join(str(side.shape) for side in sides)
        raise ValueError(
            "anchor, positive and negative must have as many samples and channels as "
            f"each other, got shapes {shapes}"
        )
    margin = _checks.finite_number("margin", margin)
    if isinstance(kernel, RBF) and not isinstance(kernel.bandwidth, float | int):
        raise ValueError(
            "kernel RBF needs a number as its bandwidth here, such as "
            f"RBF(bandwidth=1.0), got {kernel.bandwidth!r}"
        )

    check_matcher(matcher)
    similarities, unconverged = [], Unconverged()
    for other in (1, 2):
        matcher.validate(sides[0].shape, sides[other].shape)
        statistics, missed = _of_each_pair(
            matcher, (sides[0], sides[other]), (masks[0], masks[other])
        )
        similarities.append(jax.vmap(lambda each: kernel(each)[0, 0])(statistics))
        unconverged = unconverged.and_those(missed)
    warn_unconverged(unconverged)
    near, far = similarities
    return jnp.mean(jax.nn.relu(margin + far - near))


def _of_each_pair(
    matcher: Matcher, sides: tuple[Array, Array], masks: tuple[Array | None, ...]
) -> tuple[PairStatistics, Unconverged]:
    """Statistics (N, 1, 1) of pairs of samples, and those that did not converge."""
    dtype = jnp.promote_types(sides[0].dtype, sides[1].dtype)
    x, y = (side.astype(dtype) for side in sides)
    norms = [
        _representations.squared_norms(side, mask, dtype)[:, None]
        for side, mask in zip((x, y), masks, strict=True)
    ]
    # The backward pass matches nothing again: it keeps permutations and bounds.
    kept = jax.checkpoint_policies.save_only_these_names("matching")
    matched = jax.checkpoint(matcher.statistics, policy=kept)(x, y, *masks)
    outside = jnp.isnan(norms[0] + norms[1])[..., None]
    values = [jnp.where(outside, jnp.nan, v[:, None, None]) for v in matched[:3]]
    error = matched.column_error
    missed = Unconverged() if error is None else Unconverged.of(error)
    return PairStatistics(values[0], values[1], values[2], *norms), missed


def _checked(
    name: str, value: ArrayLike, mask: ArrayLike | None
) -> tuple[Array, Array | None]:
    """Checked representations and their mask."""
    value = _checks.real_array_on_host(name, value, rank=3)
    warn_of_lost_variation(name, value)
    value = _checks.real_array(name, value)
    _checks.non_empty(name, value, "N S C")
    _checks.finite(name, value)
    mask = _checks.token_mask(f"{name}_mask", mask, value.shape[:2])
    if not _checks.is_traced(value, mask):
        squared_norms(name, value, mask, value.dtype)
    return value, mask


def _known(value: ArrayLike, shape: tuple[int, int]) -> Array | np.ndarray:
    value = value if isinstance(value, jax.Array) else np.asarray(value)
    if value.dtype != bool:
        raise TypeError(f"known must be boolean, got dtype {value.dtype}")
    if value.shape != shape:
        raise ValueError(f"known must have shape {shape}, got {value.shape}")
    return value


def _standardized(
    K: Float[Array, "N N"], counted: Array | np.ndarray
) -> Float[Array, "N N"]:
    """The counted entries less their mean, of norm 1; all zero where constant."""
    raw = jnp.max(jnp.abs(K), where=counted, initial=0)
    K = jnp.where(counted, K - jnp.mean(K, where=counted), 0)
    largest = jnp.max(jnp.abs(K))
    # Below this, what centering left is rounding.
    constant = largest <= 8 * jnp.finfo(K.dtype).eps * raw
    # Scaled before squaring, as float32 may overflow; no scale changes the result.
    K = jnp.where(
        constant, 0, K / jax.lax.stop_gradient(jnp.where(constant, 1, largest))
    )
    norm = jnp.sqrt(jnp.where(constant, 1, jnp.sum(K * K)))
    return K / norm
