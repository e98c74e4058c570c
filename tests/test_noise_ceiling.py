"""The noise ceiling, against rsatoolbox, and tokens in the order of a reference."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from marks import slow
from rsatoolbox_names import METHODS

from semrsm_jax import CKA, RSA, MutualKNN, align_tokens, cka, hsic, noise_ceiling, rsm
from semrsm_jax.comparison.grouping import SampleGroups
from semrsm_jax.comparison.inference._noise_ceiling import _Ceiling


@pytest.fixture
def repeats(rng):
    X = rng.normal(size=(9, 4)) + 0.5 * rng.normal(size=(4, 9, 4))
    return np.sum((X[:, :, None] - X[:, None]) ** 2, -1)


@pytest.mark.parametrize("method", ["pearson", *map(slow, [*METHODS][1:])])
def test_the_ceiling_is_that_of_rsatoolbox(repeats, x64, method):
    from rsatoolbox import rdm
    from rsatoolbox.inference.noise_ceiling import boot_noise_ceiling

    upper = np.triu_indices(9, 1)
    theirs = boot_noise_ceiling(
        rdm.RDMs(np.array([K[upper] for K in repeats])), METHODS[method]
    )
    ours = noise_ceiling(repeats, RSA(method))
    np.testing.assert_allclose(ours[:2], theirs, atol=1e-6)


@pytest.mark.slow
def test_the_ceiling_of_cka_and_its_interval(repeats, x64):
    ceiling = noise_ceiling(repeats, CKA(), key=0, resamples=40)
    others = [np.delete(np.arange(4), i) for i in range(4)]

    def unit(K):
        return K / np.sqrt(float(hsic(K, K, "unbiased")))

    pooled = [np.mean([unit(repeats[j]) for j in rest], axis=0) for rest in others]
    lower = np.mean(
        [cka(K, P, "unbiased") for K, P in zip(repeats, pooled, strict=True)]
    )
    assert float(ceiling.lower) == pytest.approx(lower)
    low, high = ceiling.interval.low, ceiling.interval.high
    assert low.shape == (2,) and bool(jnp.all(low < high))
    assert float(ceiling.lower) < float(ceiling.upper) < 1
    with pytest.raises(ValueError, match="must be defined"):
        noise_ceiling(np.ones_like(repeats))


@pytest.mark.parametrize("within", ["keep", "drop"])
def test_pairs_within_groups_count_as_in_intervals(repeats, x64, within):
    """Pairs as often as they count: those of a group drawn twice, twice or never."""
    upper = np.triu_indices(9, 1)
    groups = np.array([0, 0, 0, 1, 1, 2, 3, 4, 5])
    counts, same = 1 + (groups == 0), np.equal.outer(groups, groups)
    own = counts if within == "keep" else 0
    times = np.where(same, own, np.outer(counts, counts))[upper]
    data = jnp.asarray(repeats), SampleGroups(groups, within)
    ceiling = jax.jit(_Ceiling(RSA("pearson")))(data, 1.0 * counts)
    listed = [np.repeat(K[upper], times) for K in repeats]
    z = np.array([(v - v.mean()) / v.std() for v in listed])

    def mean_with(pooled):
        pairs = zip(z, pooled, strict=True)
        return np.mean([np.corrcoef(each, mean)[0, 1] for each, mean in pairs])

    lower = mean_with([np.delete(z, i, 0).mean(0) for i in range(4)])
    np.testing.assert_allclose(ceiling, [lower, mean_with([z.mean(0)] * 4)])


def test_bad_repeats_are_rejected(repeats, x64):
    for rsms in (repeats[:1], repeats[0]):
        with pytest.raises(ValueError, match="at least 2 RSMs"):
            noise_ceiling(rsms)
    with pytest.raises(TypeError, match="measure must be RSA"):
        noise_ceiling(repeats, MutualKNN(3))
    with pytest.raises(ValueError, match="must be defined"):
        noise_ceiling(np.ones_like(repeats), RSA("pearson"))


def test_aligned_tokens_depend_on_no_order_of_tokens(rng):
    concepts = np.eye(4) * 3
    x = np.stack([concepts + 0.1 * rng.normal(size=(4, 4)) for _ in range(6)])
    mixed = np.stack([rng.permutation(tokens) for tokens in x])
    aligned = np.asarray(align_tokens(mixed, reference=concepts))
    np.testing.assert_allclose(aligned, x, rtol=1e-6)
    # Up to one order for all samples, which the reference sets.
    free, other = (np.asarray(align_tokens(z)) for z in (x, mixed))
    np.testing.assert_allclose(
        np.einsum("isc,jsc->ij", free, free),
        np.einsum("isc,jsc->ij", other, other),
        rtol=1e-5,
    )
    half = np.float16(1e4 * mixed)  # of which squares leave the range
    np.testing.assert_array_equal(align_tokens(half), align_tokens(np.float32(half)))
    flat = free.reshape(6, -1)
    assert (flat @ flat.T <= np.asarray(rsm(mixed)) + 1e-4).all()


def test_bad_tokens_are_rejected(rng):
    with pytest.raises(ValueError, match="x must have 3 axes"):
        align_tokens(np.ones((3, 2)))
    with pytest.raises(ValueError, match="reference must have the 2 channels"):
        align_tokens(np.ones((3, 4, 2)), reference=np.ones((4, 3)))
