"""How well RSMs tell overlapping pairs from unrelated ones, with bootstrap intervals.

Scenes are resampled, not pairs: pairs share windows, and crops of one photograph
resemble each other. A replicate draws as many scenes as there are, with replacement; a
pair then counts as often as its scenes are drawn together, the product of their counts.
"""

from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int


class Estimate(NamedTuple):
    """A number and its bootstrap interval."""

    value: float
    low: float
    high: float


class Scores(NamedTuple):
    """What one kind of RSM says at one stage.

    Attributes:
      rsms: (B, 2n, 2n), batch by batch: n upper windows, then their lower ones.
      overlapping: (B * n,), similarities of the two windows of each crop.
      unrelated: (B * 2n(n - 1),), similarities of windows of different scenes.
      auroc: of telling the two apart.
      nearest_partner: share of windows whose nearest neighbour in their batch is their
        overlapping partner.
    """

    rsms: Float[np.ndarray, "B 2n 2n"]
    overlapping: Float[np.ndarray, " P"]
    unrelated: Float[np.ndarray, " Q"]
    auroc: Estimate
    nearest_partner: Estimate


def score(
    spatio_semantic: Float[np.ndarray, "B 2n 2n"],
    semantic: Float[np.ndarray, "B 2n 2n"],
    scenes: Int[np.ndarray, "B n"],
    weights: Float[np.ndarray, "R scenes"],
    confidence: float,
) -> tuple[Scores, Scores, Estimate]:
    """Scores both kinds of RSM on the same bootstrap replicates.

    Args:
      spatio_semantic: (B, 2n, 2n), symmetric; window i overlaps window i + n.
      semantic: likewise.
      scenes: (B, n), the number of each crop's scene, all of a batch different.
      weights: (R, scenes), see `scene_weights`.
      confidence: of the intervals, for example 0.95.

    Returns:
      The scores of each, and the AUROC of the semantic RSMs minus that of the others.
    """
    (spatio, before), (other, after) = (
        _score(rsms, scenes, weights, confidence)
        for rsms in (spatio_semantic, semantic)
    )
    gain = other.auroc.value - spatio.auroc.value
    return spatio, other, _interval(gain, after - before, confidence)


def scene_weights(
    scenes: int, replicates: int, rng: np.random.Generator
) -> Float[np.ndarray, "R scenes"]:
    """How often each scene is drawn in each replicate."""
    drawn = rng.multinomial(scenes, np.full(scenes, 1 / scenes), replicates)
    return drawn.astype(float)


def auroc(
    positive: Float[np.ndarray, " P"], negative: Float[np.ndarray, " Q"]
) -> float:
    """The probability that a positive exceeds a negative, ties counting half.

    It is the area under the ROC curve, and Mann and Whitney's U over P * Q.
    """
    return float(_wins(positive, negative).mean())


def partner_is_nearest(
    rsms: Float[np.ndarray, "*B 2n 2n"],
) -> Bool[np.ndarray, "*B 2n"]:
    """Whether each window is more similar to its partner than to any other.

    A window is no neighbour of itself, and a tie counts as a miss.
    """
    index = np.arange(rsms.shape[-1])
    partner = np.roll(index, len(index) // 2)
    others = rsms.astype(float)
    others[..., index, index] = others[..., index, partner] = -np.inf
    return rsms[..., index, partner] > others.max(axis=-1)


def _score(rsms, scenes, weights, confidence):
    """The scores of one kind of RSM, and its AUROC in each replicate."""
    n = scenes.shape[1]
    both = np.concatenate([scenes, scenes], axis=1)
    rows, columns = np.triu_indices(2 * n, k=1)
    unrelated = columns - rows != n
    rows, columns = rows[unrelated], columns[unrelated]
    positive = np.diagonal(rsms, offset=n, axis1=1, axis2=2).ravel()
    negative = rsms[:, rows, columns].ravel()
    wins = _wins(positive, negative)

    positive_weights = weights[:, scenes.ravel()]
    negative_weights = weights[:, both[:, rows].ravel()]
    negative_weights *= weights[:, both[:, columns].ravel()]
    replicates = _ratio(
        ((positive_weights @ wins) * negative_weights).sum(1),
        positive_weights.sum(1) * negative_weights.sum(1),
    )
    hits = partner_is_nearest(rsms).ravel()
    # Only the windows that ask are resampled, not those they are compared with.
    hit_weights = weights[:, both.ravel()]
    hit_replicates = _ratio(hit_weights @ hits, hit_weights.sum(1))
    scores = Scores(
        rsms,
        positive,
        negative,
        _interval(float(wins.mean()), replicates, confidence),
        _interval(float(hits.mean()), hit_replicates, confidence),
    )
    return scores, replicates


def _wins(positive: np.ndarray, negative: np.ndarray) -> np.ndarray:
    """(P, Q): 1 where the positive is the larger, 0.5 where they are equal."""
    return (np.sign(positive[:, None] - negative[None, :]) + 1.0) / 2


def _ratio(part: np.ndarray, whole: np.ndarray) -> np.ndarray:
    """NaN where a replicate draws no pair at all."""
    return np.divide(part, whole, out=np.full(len(part), np.nan), where=whole > 0)


def _interval(value: float, replicates: np.ndarray, confidence: float) -> Estimate:
    """The percentile interval of the replicates that have a value."""
    tail = (1 - confidence) / 2
    low, high = np.nanquantile(replicates, [tail, 1 - tail])
    return Estimate(value, float(low), float(high))
