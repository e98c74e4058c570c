"""Files in and out: the one place in the package that writes to the disk."""

from semrsm_jax.store.feature_file import (
    feature_ids,
    feature_names,
    load_features,
    save_features,
)
from semrsm_jax.store.feature_store import FeatureStore
from semrsm_jax.store.label_file import Labels, load_labels
from semrsm_jax.store.label_order import align_classes, align_labels
from semrsm_jax.store.layers import open_run, open_runs
from semrsm_jax.store.output import check_output, new_file
from semrsm_jax.store.rsm_file import (
    RSMFile,
    load_rsm,
    package_version,
    save_rsm,
    sha256,
)
from semrsm_jax.store.run_store import RunStore
from semrsm_jax.store.similarity import Similarity, open_similarities, open_similarity

__all__ = [
    "FeatureStore",
    "Labels",
    "RSMFile",
    "RunStore",
    "Similarity",
    "align_classes",
    "align_labels",
    "check_output",
    "feature_ids",
    "feature_names",
    "load_features",
    "load_labels",
    "load_rsm",
    "new_file",
    "open_run",
    "open_runs",
    "open_similarities",
    "open_similarity",
    "package_version",
    "save_features",
    "save_rsm",
    "sha256",
]
