"""Files in and out: the one place in the package that writes to the disk."""

from semrsm_jax.store.feature_file import load_features
from semrsm_jax.store.feature_store import FeatureStore
from semrsm_jax.store.output import check_output, new_file
from semrsm_jax.store.rsm_file import (
    RSMFile,
    load_rsm,
    package_version,
    save_rsm,
    sha256,
)

__all__ = [
    "FeatureStore",
    "RSMFile",
    "check_output",
    "load_features",
    "load_rsm",
    "new_file",
    "package_version",
    "save_rsm",
    "sha256",
]
