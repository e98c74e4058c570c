"""Features from files, as tokens."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import jax
    import numpy as np

    from semrsm_jax._ids import NamedRows
    from semrsm_jax.engine import Features


@contextmanager
def naming(path: Path) -> Iterator[None]:
    """Puts the file's name before errors about its contents."""
    try:
        yield
    except (TypeError, ValueError) as error:
        kind = TypeError if isinstance(error, TypeError) else ValueError
        raise kind(f"{path}: {error}") from error


def feature_layers(
    path: Path, key: str | None, layers: Sequence[str] | None, layout: str | None
) -> "dict[str | None, Features]":
    """Features as tokens (N, S, C) by layer, read in blocks where the file allows it.

    ``["all"]`` takes every layer. Without layers the array that `key` names, or the
    only one, has the name None.
    """
    from semrsm_jax._layouts import layout_of
    from semrsm_jax.engine import Features, token_rows
    from semrsm_jax.store import feature_ids, feature_names, load_features

    names: list[str | None] = [None]
    if layers:
        if key is not None:
            raise ValueError("--key and --layer exclude each other")
        names = list(feature_names(path) if list(layers) == ["all"] else layers)
    features, ids = {}, feature_ids(path)
    for name in names:
        activations = load_features(path, key if name is None else name)
        with naming(path):
            order = layout_of("features", activations.shape, layout)
            rows = token_rows(activations, order)
        features[name] = Features(
            rows,
            ids=ids,
            source={
                "file": str(path),
                "key": key if name is None else name,
                # Not a part of what the run is: it is the tokens that are matched.
                "layout": str(order),
                "shape": list(activations.shape),
                "dtype": str(activations.dtype),
            },
        )
    return features


def load_sample(
    path: Path, key: str | None, layout: str | None, index: int | None, flag: str
) -> "jax.Array":
    """Reads the tokens (S, C) of one sample; only these where the file allows it.

    The file has features (S, C), or of several samples, of which the option `flag`
    gives the index.
    """
    import numpy as np

    from semrsm_jax import to_tokens
    from semrsm_jax._layouts import layout_of
    from semrsm_jax.store import load_features

    features = load_features(path, key)
    with naming(path):
        if features.ndim == 2 and layout is None:
            if index not in (None, 0):
                raise ValueError(
                    f"holds one sample, of shape {features.shape}; got {flag} {index}"
                )
            return to_tokens(np.asarray(features)[None], "NSC")[0]
        order = layout_of("features", features.shape, layout)
        count = features.shape[0]
        if index is None and count > 1:
            raise ValueError(f"holds {count} samples; {flag} must say which")
        index = index or 0
        if not 0 <= index < count:
            raise ValueError(f"{flag} must be from 0 to {count - 1}, got {index}")
        return to_tokens(features[index : index + 1], order)[0]


def with_ids(path: Path, rows: "np.ndarray") -> "NamedRows":
    """The rows of a file of features with its ids, as `same_samples` reads them."""
    from semrsm_jax._ids import NamedRows
    from semrsm_jax._rows import part
    from semrsm_jax.store import feature_ids

    read = part(rows, 0, len(rows)).read
    return NamedRows(rows.shape, rows.dtype, read, x_ids=feature_ids(path))
