"""CKA and HSIC of many RSMs with each other: layers, models, definitions."""

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

import numpy as np
from jax.typing import ArrayLike
from jaxtyping import Float

from semrsm_jax import _checks
from semrsm_jax._ids import same_samples
from semrsm_jax._resources import cores
from semrsm_jax.comparison import _row_blocks
from semrsm_jax.comparison._cka import CKA
from semrsm_jax.comparison._hsic import check_samples, normalizer
from semrsm_jax.comparison._row_blocks import CenteredRows, Products, named
from semrsm_jax.comparison.grouping import DROP, WITHIN

RSMs = Sequence[Any] | Mapping[str, Any]


def cka_matrix(
    rsms: RSMs,
    others: RSMs | None = None,
    estimator: str = "biased",
    *,
    groups: ArrayLike | None = None,
    within_groups: str = DROP,
) -> Float[np.ndarray, "R Q"]:
    """CKA of every two RSMs over the same samples, Eq. 2, with the values of `cka`.

    Each RSM is centered once, and all products are one matrix product, row block by row
    block: memory holds a few rows of each, so the RSMs may lie on disk.

    Args:
      rsms: R RSMs (N, N), a sequence or a mapping whose order is that of the result.
        Each is anything with a shape, a dtype and row slices: an array of NumPy or JAX,
        a memory map, a Zarr array, an opened store, which comes in the order of the
        first one's ids. They are read twice; an RSM that is
        not symmetric is read once more for every 256 MiB of rows. float64 is computed
        in float64, with and without x64, and narrower floats in float32.
      others: Q other RSMs of the same samples, as of another model; None compares
        `rsms` with themselves.
      estimator: of HSIC, ``"biased"`` or ``"unbiased"``, see `hsic`.
      groups: (N,) integers or text, equal for samples that depend on each other, as
        crops of one photograph do. None: each sample is alone.
      within_groups: ``"drop"`` leaves pairs within a group out, which needs the
        unbiased estimator; ``"keep"`` counts them as all others.

    Returns:
      (R, Q) in float64, never clamped; 0 where an RSM is constant, and NaN where the
      estimate of HSIC(K, K) is not positive, see `cka`.

    Raises:
      TypeError: an RSM is not real or not an array, or groups are neither integers nor
        text.
      ValueError: no RSMs, shapes that are not square or differ, NaN or infinity, an
        unknown estimator, or fewer than 4 samples for the unbiased one; groups as in
        `cka`.

    Examples:
      >>> import numpy as np
      >>> from semrsm_jax import cka_matrix
      >>> X, Y = np.random.default_rng(0).normal(size=(2, 20, 4))
      >>> matrix = cka_matrix({"first": X @ X.T, "second": Y @ Y.T})
      >>> matrix.shape, matrix.diagonal()
      ((2, 2), array([1.0, 1.0]))
    """
    _checks.one_of("within_groups", within_groups, WITHIN)
    groups = groups if within_groups == DROP else None
    products, _, _, _ = _products(rsms, others, estimator, groups)
    return ratios(products)


def ratios(products: Products) -> Float[np.ndarray, "R Q"]:
    """CKA from inner products; 0 where an RSM has no structure."""
    structured = (products.left != 0)[:, None] & (products.right != 0)
    with np.errstate(invalid="ignore"):
        own = np.sqrt(products.left)[:, None] * np.sqrt(products.right)
    return np.where(structured, products.cross / np.where(structured, own, 1), 0)


def hsic_matrix(
    rsms: RSMs, others: RSMs | None = None, estimator: str = "biased"
) -> Float[np.ndarray, "R Q"]:
    """HSIC of every two RSMs over the same samples, Eq. 1, with the values of `hsic`.

    Args:
      rsms: R RSMs (N, N), a sequence or a mapping, read by rows as in `cka_matrix`.
      others: Q other RSMs of the same samples; None compares `rsms` with themselves.
      estimator: ``"biased"`` or ``"unbiased"``, see `hsic`.

    Returns:
      (R, Q) in float64, in the units of an entry of one times one of the other.

    Raises:
      TypeError: as `cka_matrix`.
      ValueError: as `cka_matrix`.
    """
    products, left, right, n = _products(rsms, others, estimator)
    scales = ([each.scale for each in side] for side in (left, right))
    return products.cross / normalizer(n, estimator) * np.multiply.outer(*scales)


def _products(
    rsms: RSMs, others: RSMs | None, estimator: str, groups: ArrayLike | None = None
) -> tuple[Products, list[CenteredRows], list[CenteredRows], int]:
    """Inner products of both sides, the centered RSMs of each, and N."""
    _checks.estimator(estimator)
    sides = [named("rsms", rsms, "RSM")]
    sides += [] if others is None else [named("others", others, "RSM")]
    ordered = same_samples({k: rsm for side in sides for k, rsm in side.items()})
    sides = [{name: ordered[name] for name in side} for side in sides]
    for name, rsm in ordered.items():
        _check_square(name, rsm)
    first, rsm = next(iter(sides[0].items()))
    for name, other in (item for side in sides for item in side.items()):
        if other.shape != rsm.shape:
            raise ValueError(
                f"{name} must be over the same samples as {first}, got shapes "
                f"{tuple(other.shape)} and {tuple(rsm.shape)}"
            )
    check_samples(rsm.shape[0], estimator)
    # Each reads and sums for itself, with the interpreter's lock released.
    members = CKA(estimator).checked_groups(groups, rsm.shape[0])
    read = partial(_row_blocks.centered_rows, estimator=estimator, groups=members)
    with ThreadPoolExecutor(cores()) as pool:
        centered = [list(pool.map(read, side.keys(), side.values())) for side in sides]
    products = _row_blocks.inner_products(*centered)
    return products, centered[0], centered[-1], len(centered[0][0].row_effects)


def _check_square(name: str, rsm: Any) -> None:
    shape, dtype = getattr(rsm, "shape", None), getattr(rsm, "dtype", None)
    if shape is None or dtype is None:
        raise TypeError(
            f"{name} must be an array or offer shape, dtype and row slices, got "
            f"{type(rsm).__name__}"
        )
    _checks.real(name, rsm)
    if len(shape) != 2 or shape[0] != shape[1] or shape[0] == 0:
        raise ValueError(f"{name} must be square and not empty, got shape {shape}")
