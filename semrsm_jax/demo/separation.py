"""How well RSMs separate overlapping pairs from unrelated ones, with intervals.

Scenes are resampled, not pairs: pairs share windows, and crops of one photograph
resemble each other. A replicate draws as many scenes as there are, with replacement; a
pair then counts as often as its scenes are drawn together, the product of their counts.
"""

from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from semrsm_jax.comparison.inference import Interval, score_interval


class Estimate(NamedTuple):
    """A number and its bootstrap interval."""

    value: float
    low: float
    high: float


class Scores(NamedTuple):
    """Similarities and scores of one kind of RSM at one stage.

    Attributes:
      rsms: (B, 2n, 2n), batch by batch: n upper windows, then their lower ones.
      overlapping: (B * n,), similarities of the two windows of each crop.
      unrelated: (B * 2n(n - 1),), similarities of windows of different scenes.
      auroc: of separating the two.
      nearest_partner: share of windows whose nearest neighbor in their batch is their
        overlapping partner.
    """

    rsms: Float[np.ndarray, "B 2n 2n"]
    overlapping: Float[np.ndarray, " P"]
    unrelated: Float[np.ndarray, " Q"]
    auroc: Estimate
    nearest_partner: Estimate


class PairRanking(NamedTuple):
    """Which unrelated pairs each overlapping pair exceeds, and which scenes are shown.

    Attributes:
      scenes: (P,), that of each overlapping pair.
      others: (2, Q), both scenes of each unrelated pair, in the order of similarity.
      below: (P,), how many unrelated pairs are less similar.
      up_to: (P,), how many are less or equally similar.
      asking: (W,), the scene of each window.
      hits: (W,), whether the nearest neighbor of each window is its partner.
    """

    scenes: Int[np.ndarray, " P"]
    others: Int[np.ndarray, "2 Q"]
    below: Int[np.ndarray, " P"]
    up_to: Int[np.ndarray, " P"]
    asking: Int[np.ndarray, " W"]
    hits: Bool[np.ndarray, " W"]


def score(
    spatio_semantic: Float[np.ndarray, "B 2n 2n"],
    semantic: Float[np.ndarray, "B 2n 2n"],
    scenes: Int[np.ndarray, "B n"],
    replicates: int,
    confidence: float,
    seed: int,
) -> tuple[Scores, Scores, Estimate]:
    """Scores both kinds of RSM on the same bootstrap replicates.

    Args:
      spatio_semantic: (B, 2n, 2n), symmetric; window i overlaps window i + n.
      semantic: (B, 2n, 2n), symmetric, of the same windows.
      scenes: (B, n), the number of each crop's scene, all of a batch different.
      replicates: of the bootstrap.
      confidence: of the intervals, for example 0.95.
      seed: of the replicates; the same one draws the same scenes.

    Returns:
      The scores of each, and the AUROC of the semantic RSMs minus that of the others.
    """
    pairs = [_pairs(rsms) for rsms in (spatio_semantic, semantic)]
    rsms = spatio_semantic, semantic
    rankings = tuple(
        _ranking(each, *similarities, scenes)
        for each, similarities in zip(rsms, pairs, strict=True)
    )
    intervals = score_interval(
        rankings,
        separability,
        groups=np.arange(int(scenes.max()) + 1),
        key=seed,
        resamples=replicates,
        confidence=confidence,
    )
    first, first_hits, second, second_hits, gain = _estimates(intervals)
    return (
        Scores(spatio_semantic, *pairs[0], first, first_hits),
        Scores(semantic, *pairs[1], second, second_hits),
        gain,
    )


def separability(
    rankings: tuple[PairRanking, PairRanking], counts: Float[Array, " scenes"]
) -> Float[Array, "5"]:
    """AUROC and share of nearest partners of both, and the difference of the AUROCs.

    NaN where no pair is drawn.

    Args:
      rankings: of both kinds of RSM.
      counts: how often each scene is drawn.
    """
    values = []
    for ranking in rankings:
        positive = counts[ranking.scenes]
        negative = jnp.prod(counts[jnp.asarray(ranking.others)], axis=0)
        total = jnp.concatenate([jnp.zeros(1, counts.dtype), jnp.cumsum(negative)])
        # Ties are half won.
        won = positive @ (total[ranking.below] + total[ranking.up_to]) / 2
        # Only the windows that ask are resampled, not those they are compared with.
        asking = counts[ranking.asking]
        values.append(won / (jnp.sum(positive) * total[-1]))
        values.append(
            asking @ jnp.asarray(ranking.hits, counts.dtype) / jnp.sum(asking)
        )
    return jnp.stack([*values, values[2] - values[0]])


def partner_is_nearest(
    rsms: Float[np.ndarray, "*B 2n 2n"],
) -> Bool[np.ndarray, "*B 2n"]:
    """Whether each window is more similar to its partner than to any other.

    A window is not a neighbor of itself, and a tie counts as a miss.
    """
    index = np.arange(rsms.shape[-1])
    partner = np.roll(index, len(index) // 2)
    others = rsms.astype(float)
    others[..., index, index] = others[..., index, partner] = -np.inf
    return rsms[..., index, partner] > others.max(axis=-1)


def _pairs(
    rsms: Float[np.ndarray, "B 2n 2n"],
) -> tuple[Float[np.ndarray, " P"], Float[np.ndarray, " Q"]]:
    """Similarities of overlapping pairs, and of windows of different scenes."""
    n = rsms.shape[1] // 2
    overlapping = np.diagonal(rsms, offset=n, axis1=1, axis2=2).ravel()
    return overlapping, rsms[:, *_unrelated(n)].ravel()


def _unrelated(n: int) -> Int[np.ndarray, "2 q"]:
    """Rows and columns of the pairs of windows of different scenes in a batch."""
    rows, columns = np.triu_indices(2 * n, k=1)
    return np.stack([rows, columns])[:, columns - rows != n]


def _ranking(
    rsms: np.ndarray,
    overlapping: np.ndarray,
    unrelated: np.ndarray,
    scenes: Int[np.ndarray, "B n"],
) -> PairRanking:
    both = np.concatenate([scenes, scenes], axis=1)
    order = np.argsort(unrelated)
    others = [
        both[:, windows].ravel()[order] for windows in _unrelated(scenes.shape[1])
    ]
    below, up_to = (
        np.searchsorted(unrelated[order], overlapping, side)
        for side in ("left", "right")
    )
    hits = partner_is_nearest(rsms).ravel()
    return PairRanking(
        scenes.ravel(), np.stack(others), below, up_to, both.ravel(), hits
    )


def _estimates(intervals: Interval) -> list[Estimate]:
    numbers = np.stack([np.asarray(part, float) for part in intervals[:3]], axis=1)
    return [Estimate(*row) for row in numbers.tolist()]
