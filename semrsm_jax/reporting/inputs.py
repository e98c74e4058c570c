"""The inputs of a report, checked and combined before any long computation."""

import os
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from semrsm_jax import _checks
from semrsm_jax._kernels import Kernel, Linear
from semrsm_jax.matching import Identity, Matcher
from semrsm_jax.reporting.sources import (
    Origin,
    Progress,
    Source,
    array_sources,
    open_sources,
)
from semrsm_jax.store import feature_ids, feature_names

# With more, the page would be slow in a browser.
MOST_SAMPLES = 1500


def opened(
    source: Any,
    layers: Sequence[str] | None,
    kernel: Kernel | None,
    matcher: Matcher,
    progress: Progress,
) -> list[Source]:
    """Opens the source of `report`: files, runs, or activations."""
    if isinstance(source, str | os.PathLike):
        source = [source]
    paths = isinstance(source, Sequence) and len(source) > 0
    if paths and all(isinstance(path, str | os.PathLike) for path in source):
        sources = open_sources(source, kernel)
        _check_layers(layers, [each.name for each in sources])
        return [s for s in sources if layers is None or s.name in layers]
    arrays = dict(source) if isinstance(source, Mapping) else {"features": source}
    _check_layers(layers, arrays)
    arrays = {name: arrays[name] for name in layers or arrays}
    if not arrays:
        raise ValueError("source must hold at least one layer, got none")
    return array_sources(arrays, matcher, kernel or Linear(), progress)


def _check_layers(layers: Sequence[str] | None, names: Iterable[str]) -> None:
    known = list(dict.fromkeys(names))
    for name in layers or ():
        if name not in known:
            listed = ", ".join(map(repr, known))
            raise ValueError(f"layers must be of {listed}, got {name!r}")


def with_features(
    sources: Sequence[Source], features: str | os.PathLike | None
) -> list[Source]:
    """The sources, with the features of a file given by the user.

    Each gets the array of its name, or of its recorded key.

    Raises:
      ValueError: the file is missing or damaged, or has no such array.
    """
    if features is None:
        return list(sources)
    names = feature_names(features, unnamed=True)
    placed = []
    for source in sources:
        recorded = source.origin or Origin(None)
        wanted = [key for key in (source.name, recorded.key) if key in names]
        if not wanted and (len(sources) > 1 or len(names) > 1):
            raise ValueError(
                f"{features} must hold the layer {source.name!r}, got "
                f"{', '.join(map(repr, names)) or 'one without a name'}"
            )
        key = wanted[0] if wanted else None
        origin = recorded._replace(features=str(features), key=key)
        placed.append(source._replace(origin=origin))
    return placed


def one_set(sources: Sequence[Source]) -> tuple[int, tuple[str, ...] | None]:
    """The number and the ids of the samples of all RSMs.

    Raises:
      ValueError: they differ.
    """
    first, common = sources[0], None
    for each in sources:
        if each.count != first.count:
            raise ValueError(
                "RSMs must be over the same samples, got "
                f"{first.count} of {first.name!r} and {each.count} of {each.name!r}"
            )
        known = [each.ids]
        if each.origin and isinstance(each.origin.features, str):
            known.append(feature_ids(each.origin.features))
        for ids in known:
            if ids is not None and common is not None and tuple(ids) != common:
                raise ValueError(
                    "RSMs and their features must be of the same samples in the same "
                    f"order; the ids of {each.name!r} differ from those before"
                )
            common = common if ids is None else tuple(ids)
    return first.count, common


def chosen_samples(count: int, samples: int | None) -> np.ndarray:
    """The numbers of the shown samples, evenly spread."""
    if samples is not None:
        samples = min(_checks.at_least("samples", samples, 2), count)
    if (samples or count) > MOST_SAMPLES:
        raise ValueError(
            f"a page holds at most {MOST_SAMPLES:,} samples, got {samples or count:,}; "
            "take some of them, evenly spread, with samples=500 (--samples 500)"
        )
    return np.linspace(0, count - 1, samples or count).round().astype(int)


def asked_pairs(
    also: Sequence[tuple[int, int]], count: int, chosen: np.ndarray
) -> list[tuple[int, int]]:
    """The requested pairs, as indices among the chosen samples."""
    places = {int(number): place for place, number in enumerate(chosen)}
    for pair in also:
        if len(pair) != 2 or not all(0 <= n < count for n in pair):
            raise ValueError(
                f"also (--pair) must hold pairs of rows from 0 to {count - 1}, got "
                f"{pair}"
            )
        if not all(n in places for n in pair):
            raise ValueError(f"also: {pair} is not among the samples that are shown")
    return [(places[i], places[j]) for i, j in also]


def named_images(
    images: Any, ids: tuple[str, ...] | None, count: int
) -> tuple[Sequence[Any] | None, tuple[str, ...]]:
    """The images, and the name of each sample."""
    if isinstance(images, str | os.PathLike):
        from semrsm_jax.features import match_images  # Pillow: not for every import

        return match_images(images, ids, count)
    if images is not None and len(images) != count:
        raise ValueError(
            f"images must be one a sample, {count} of them, got {len(images)}"
        )
    return images, ids or tuple(f"sample {n}" for n in range(count))


def _same_features(first: Origin | None, second: Origin | None) -> bool:
    """Whether two RSMs were computed from the same array of a file."""
    paths = [origin and origin.features for origin in (first, second)]
    return all(isinstance(path, str) for path in paths) and first == second


# A semantic RSM, and the spatio-semantic one of the same features.
Twins = tuple[Source, Source | None]


def paired(sources: Sequence[Source]) -> list[Twins]:
    """Pairs the RSMs of the same features.

    Raises:
      ValueError: a spatio-semantic RSM has no semantic one, or a layer is given twice.
    """
    spatial = [s for s in sources if isinstance(s.matcher, Identity)]
    twins: list[Twins] = []
    for source in sources:
        if isinstance(source.matcher, Identity):
            continue
        same = (
            s
            for s in spatial
            if (s.content is not None and s.content == source.content)
            or s.name == source.name
            or _same_features(s.origin, source.origin)
        )
        twins.append((source, next(same, None)))
    if not twins:
        raise ValueError(
            f"{sources[0].name!r} was made with Identity: that is the spatio-semantic "
            "RSM alone; give the semantic one, of another matcher, too or instead"
        )
    names = [semantic.name for semantic, _ in twins]
    for name in names:
        if names.count(name) > 1:
            raise ValueError(f"layer {name!r} was given twice; layers chooses some")
    used = {id(twin) for _, twin in twins}
    for source in spatial:
        if id(source) not in used:
            raise ValueError(
                f"{source.name!r} is a spatio-semantic RSM (Identity) of other "
                "features than the semantic ones"
            )
    return twins
