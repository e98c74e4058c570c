"""Linear probes of layers: what a layer's maps state about a label."""

import math

import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import Float, Int

from semrsm_jax import center

PENALTIES = np.logspace(-5, 1, 7)  # over the mean squared norm


def pooled(x: Float[np.ndarray, "N S C"], grid: int) -> Float[np.ndarray, "N T C"]:
    """Averages the patches of a map to at most `grid` rows; a CLS token is left out."""
    side = math.isqrt(x.shape[1])
    maps = jnp.asarray(x[:, -(side**2) :]).reshape(len(x), side, side, x.shape[-1])
    window = 2 * (-(-side // grid),)
    maps = nnx.avg_pool(maps, window, strides=window)
    return np.asarray(maps).reshape(len(x), -1, x.shape[-1])


def probe_accuracy(
    x: Float[np.ndarray, "N S C"], labels: Int[np.ndarray, " N"], folds: int, seed: int
) -> float:
    """Accuracy of a ridge classifier on whole maps, cross-validated.

    Ridge regression sees features only by their inner products, so the N coordinates
    that have those of the maps serve as well as all S * C channels.
    """
    from sklearn.linear_model import RidgeClassifierCV
    from sklearn.model_selection import StratifiedKFold, cross_val_score

    flat = np.asarray(center(x), np.float64).reshape(len(x), -1)
    values, vectors = np.linalg.eigh(flat @ flat.T)
    values = np.maximum(values, 0)
    features = vectors * np.sqrt(values / max(values.mean(), 1e-300))
    split = StratifiedKFold(folds, shuffle=True, random_state=seed)
    probe = RidgeClassifierCV(PENALTIES)
    return float(cross_val_score(probe, features, labels, cv=split).mean())
