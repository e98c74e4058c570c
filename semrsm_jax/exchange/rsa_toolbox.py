"""RSMs to and from rsatoolbox, whose RDMs hold dissimilarities among samples."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from jax.typing import ArrayLike

from semrsm_jax._extras import required
from semrsm_jax._ids import same_samples
from semrsm_jax.exchange.conversion import Conversion
from semrsm_jax.exchange.labeled import LabeledRSM, checked, own_ids

if TYPE_CHECKING:
    from rsatoolbox.rdm.rdms import RDMs

# Entries that mirror each other may differ by this share of the largest.
_ASYMMETRY = 1e-5


def to_rsatoolbox(
    rsms: Mapping[str, ArrayLike],
    conversion: Conversion,
    *,
    ids: Sequence[Any] | None = None,
) -> "RDMs":
    """Converts RSMs of the same samples to one `rsatoolbox.rdm.RDMs`.

    Args:
      rsms: name of each -> RSM (N, N), symmetric.
      conversion: how similarities become dissimilarities, see `OneMinus`, `Negative`
        and `SquaredDistance`. An RDM keeps no diagonal.
      ids: names of the samples; they become the pattern descriptor "id". None: those
        of the first RSM that has ids, in whose order the others come.

    Returns:
      The RDMs, in float64, with the names as the RDM descriptor "name" and the
      conversion as the dissimilarity measure.

    Raises:
      ImportError: rsatoolbox is not installed.
      TypeError: an RSM is not real.
      ValueError: no RSM, one that is not square or not symmetric, of another number of
        samples or one alone, NaN, ids that do not fit, or as `conversion`.
    """
    rdm = required("rsatoolbox", "exchange").rdm
    if not rsms:
        raise ValueError("rsms must hold at least one RSM, got none")
    ids, _ = own_ids(ids, None, *rsms.values())
    rsms = same_samples(rsms)
    dissimilarities = []
    for name, value in rsms.items():
        where = f"rsms[{name!r}]"
        K, x_ids, _ = checked(where, value, ids, None)
        _check_symmetric(where, K)
        if dissimilarities and K.shape != dissimilarities[0].shape:
            raise ValueError(
                f"{where} must be over the same samples as the others, got shapes "
                f"{K.shape} and {dissimilarities[0].shape}"
            )
        dissimilarities.append(conversion.dissimilarity(K.astype(np.float64)))
    return rdm.RDMs(
        np.stack(dissimilarities),
        dissimilarity_measure=repr(conversion),
        rdm_descriptors={"name": list(rsms)},
        pattern_descriptors={} if x_ids is None else {"id": list(x_ids)},
    )


def from_rsatoolbox(rdms: "RDMs", conversion: Conversion) -> dict[str, LabeledRSM]:
    """Converts `rsatoolbox.rdm.RDMs` to RSMs.

    Args:
      rdms: of any dissimilarity measure.
      conversion: how dissimilarities become similarities; rsatoolbox does not keep
        what they were made of.

    Returns:
      By the RDM descriptor "name", or else "index", the RSMs (N, N) in float64, with
      the pattern descriptor "id", where there is one, as the samples' names.

    Raises:
      ValueError: names that are not unique, or NaN, which rsatoolbox has for patterns
        that an RDM lacks.
    """
    described = rdms.rdm_descriptors
    names = [str(name) for name in described.get("name", described["index"])]
    if len(set(names)) != len(names):
        raise ValueError(f"rdms must have unique names, got {', '.join(names)}")
    ids = rdms.pattern_descriptors.get("id")
    rsms = {}
    for name, D in zip(names, rdms.get_matrices(), strict=True):
        if np.isnan(D).any():
            raise ValueError(f"rdms must hold every pair, got NaN in {name!r}")
        rsms[name] = checked("rdms", conversion.similarity(D), ids, ids)
    return rsms


def _check_symmetric(where: str, K: np.ndarray) -> None:
    n, m = K.shape
    if n != m or n < 2:
        raise ValueError(
            f"{where} must be square, of at least 2 samples, got shape {K.shape}"
        )
    if not np.isfinite(K).all():
        raise ValueError(f"{where} must be finite")
    if np.abs(K - K.T).max() > _ASYMMETRY * np.abs(K).max():
        raise ValueError(
            f"{where} must be symmetric, as an RDM is; (K + K.T) / 2 makes it so"
        )
