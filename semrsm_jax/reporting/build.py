"""Builds the page from RSMs, images and features."""

import os
from collections.abc import Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
from jax.typing import ArrayLike

from semrsm_jax import _checks
from semrsm_jax._kernels import Kernel
from semrsm_jax.comparison import cka_matrix
from semrsm_jax.matching import Exact, Identity, Matcher
from semrsm_jax.pairs import pair_statistics
from semrsm_jax.reporting import correspondences, orders
from semrsm_jax.reporting.inputs import (
    Twins,
    asked_pairs,
    chosen_samples,
    named_images,
    one_set,
    opened,
    paired,
    with_features,
)
from semrsm_jax.reporting.layers import (
    SEMANTIC,
    SPATIAL,
    Layer,
    Tokens,
    check_same,
    grid_of,
    load_tokens,
    lost_share,
    similarity_bound,
)
from semrsm_jax.reporting.page import (
    SUFFIXES,
    Report,
    layer_data,
    render,
    require_bokeh,
)
from semrsm_jax.reporting.sources import Progress, Source, on_host, similar
from semrsm_jax.store import check_output, package_version

if TYPE_CHECKING:
    from semrsm_jax.features.preprocessing import Preprocessing

_Paths = str | os.PathLike | Sequence[str | os.PathLike]


def report(
    source: _Paths | ArrayLike | Mapping[str, ArrayLike],
    images: str | os.PathLike | Sequence[Any] | np.ndarray | None = None,
    output: str | os.PathLike | None = None,
    *,
    features: str | os.PathLike | None = None,
    labels: str | os.PathLike | Sequence[str] | None = None,
    layers: Sequence[str] | None = None,
    kernel: Kernel | None = None,
    matcher: Matcher = Exact(),
    grid: tuple[int, int] | None = None,
    preprocessing: "Preprocessing | None" = None,
    neighbors: int = 5,
    pairs: int | None = None,
    also: Sequence[tuple[int, int]] = (),
    samples: int | None = None,
    names: Sequence[str] | None = None,
    title: str | None = None,
    overwrite: bool = False,
    progress: Progress | None = None,
) -> Report:
    """Makes one page to look at RSMs: both definitions, and the matched patches.

    Beside the semantic RSM of each layer is the spatio-semantic one (Eq. 3): that of a
    second file or run over the same features with ``Identity``, or computed here if the
    features are known. A click on a cell shows both images with the
    patches that were matched. The page is one self-contained HTML file.

    Args:
      source: files of RSMs and folders of runs; or activations (N, S, C) or
        (N, H, W, C), or several layers of them by name, which are matched here.
      images: a folder, whose images are found by the samples' ids, or by order without
        ids; or N arrays (H, W, 3), uint8 or floats in [0, 1]. None: no images.
      output: where to write the page, ``.html``; None: it is only returned.
      features: a file, instead of the one that the RSM records. Without features the
        page has no correspondences.
      labels: N labels, or a .csv with the columns ``id`` and ``label``, or a file as
        `load_labels` reads it, of which each image gets the class it shows most of.
      layers: which of the layers; None: all.
      kernel: the similarity; None: that of a file, linear for a run or activations.
        A bandwidth that is a rule is found for each definition: from all samples, or
        from those shown where the RSM is computed here.
      matcher: for activations; files and runs record theirs.
      grid: rows and columns (H, W) of the token grid. None: that of the activations, or
        the one that fits the shape of the network's input. Prefix tokens such as CLS
        are matched but have no position in the image.
      preprocessing: of the images; None: that recorded in the features, else the
        whole image is shown.
      neighbors: how many nearest neighbors of a sample are shown, their
        correspondences stored first.
      pairs: the number of pairs of each layer whose correspondences are stored, at 2 S
        bytes up to S=256, 3 S above. None: as many as fit into 4 MiB in all.
      also: pairs (i, j) of rows whose correspondences are stored in any case.
      samples: the number of samples shown, evenly spread over N; None: all.
      names: of the N samples, instead of the ids of RSMs, features or images.
      title: of the page.
      overwrite: replace an `output` that exists.
      progress: called as ``progress(description, done, total)``.

    Returns:
      The `Report`, which notebooks show.

    Raises:
      ImportError: Bokeh is not installed.
      TypeError: as `pair_statistics`.
      ValueError: an input is missing, damaged, or does not fit the others; more than
        1,500 samples; an RSM is of two sets of samples, or the spatio-semantic one
        alone.
      OSError: the page cannot be written.
    """
    require_bokeh()
    if output is not None:
        check_output(output, overwrite, suffixes=SUFFIXES)
    neighbors = _checks.at_least("neighbors", neighbors, 1)
    report_progress = progress or (lambda description, done, total: None)
    sources = opened(source, layers, kernel, matcher, report_progress)
    sources = with_features(sources, features)
    count, ids = one_set(sources)
    chosen = chosen_samples(count, samples)
    asked = asked_pairs(also, count, chosen)
    files, called = named_images(images, ids, count)
    if names is not None and len(names) != count:
        raise ValueError(f"names must be one a sample, {count}, got {len(names)}")
    called = tuple(map(str, called if names is None else names))
    given = None if labels is None else orders.label_names(labels, ids, count)
    given = None if given is None else tuple(given[n] for n in chosen)

    twins = paired(sources)
    known = [
        None if o is None or o.features is None else load_tokens(o, count, chosen)
        for o in (semantic.origin for semantic, _ in twins)
    ]
    preprocessing = preprocessing or next((x.preprocessing for x in known if x), None)
    jpeg, size = None, None
    if files is not None:
        from semrsm_jax.reporting import pictures  # Pillow: not for every import

        jpeg, size = pictures.draw(
            [files[n] for n in chosen],
            preprocessing,
            partial(report_progress, "Reading images"),
        )
    shown = _layers(twins, known, chosen, grid, size, report_progress)
    rooms = [pairs] * len(shown)
    if pairs is None:
        rooms = correspondences.rooms(
            [layer.tokens or 1 for layer in shown],
            [correspondences.all_pairs(len(chosen), layer.matcher) for layer in shown],
        )
    shown = [
        _with_correspondences(layer, x, room or 0, neighbors, asked, report_progress)
        for layer, x, room in zip(shown, known, rooms, strict=True)
    ]
    estimator = "unbiased" if len(chosen) >= 4 else "biased"
    rsms = {
        f"{layer.name}, {kind}": K for layer in shown for kind, K in layer.rsms.items()
    }
    cka = cka_matrix(rsms, estimator=estimator)
    data = {
        "title": title or f"RSMs of {len(chosen)} samples",
        "names": [called[n] for n in chosen],
        "numbers": chosen.tolist(),  # in the whole RSM
        "labels": given,
        "images": jpeg,
        "orders": _orders(given, shown, len(chosen)),
        "layers": list(map(layer_data, shown)),
        "cka": {
            "names": list(rsms),
            "estimator": estimator,
            "matrix": [
                [float(v) if np.isfinite(v) else None for v in row] for row in cka
            ],
        },
        "neighbors": neighbors,
        "facts": _facts(count, chosen, preprocessing, jpeg is not None),
    }
    page = Report(render(data))
    if output is not None:
        page.save(output, overwrite=overwrite)
    return page


def _layers(
    twins: Sequence[Twins],
    known: Sequence[Tokens | None],
    chosen: np.ndarray,
    grid: tuple[int, int] | None,
    image: tuple[int, int] | None,
    report_progress: Progress,
) -> list[Layer]:
    shown = []
    for (semantic, spatial), x in zip(twins, known, strict=True):
        name, read = semantic.name, semantic.read(chosen)
        if x is not None and read.statistics is not None:
            check_same(name, x, read.statistics)
        aligned = None
        if spatial is not None:
            aligned = spatial.read(chosen)
        elif x is not None and semantic.kernel is not None:
            progress = partial(report_progress, f"Comparing by position, {name}")
            stats = pair_statistics(x.values, matcher=Identity(), progress=progress)
            aligned = similar(on_host(stats), semantic.kernel)
        rsms, kernels, lost = {SEMANTIC: read.rsm}, {SEMANTIC: read.kernel}, None
        if aligned is not None:
            rsms[SPATIAL], kernels[SPATIAL] = aligned.rsm, aligned.kernel
            if read.statistics is not None and aligned.statistics is not None:
                lost = lost_share(read.statistics, aligned.statistics)
        for K in rsms.values():
            _checks.finite(f"the RSM of {name!r}", K)
        bound, note = similarity_bound(read), _why_none(semantic, x)
        layer = Layer(name, rsms, bound, lost, kernels, semantic.matcher, note=note)
        if x is not None:
            tokens = x.values.shape[1]
            patches = grid_of(name, tokens, grid, x.grid, image)
            layer = layer._replace(tokens=tokens, grid=patches)
        shown.append(layer)
    return shown


def _why_none(source: Source, x: Tokens | None) -> str:
    """The reason why a layer has no correspondences; empty if it has."""
    if source.matcher is None:
        return "the file does not state how its tokens were matched"
    if x is not None:
        return ""
    if source.origin is None:
        return "the features, or the mask of their tokens, are unknown"
    return "the file of features was moved; name it with --features FILE"


def _with_correspondences(
    layer: Layer,
    x: Tokens | None,
    most: int,
    neighbors: int,
    also: Sequence[tuple[int, int]],
    report_progress: Progress,
) -> Layer:
    if x is None or layer.matcher is None:
        return layer
    chosen = correspondences.choose_pairs(
        list(layer.rsms.values()), layer.lost, neighbors, most, also, layer.matcher
    )
    progress = partial(report_progress, f"Matching pairs of {layer.name}")
    matched = correspondences.match_pairs(x.values, chosen, layer.matcher, progress)
    return layer._replace(correspondences=matched)


def _orders(
    labels: tuple[str, ...] | None, layers: Sequence[Layer], count: int
) -> dict[str, list[int]]:
    by_name = {"as given": list(range(count))}
    if labels is not None:
        by_name["by label"] = sorted(range(count), key=labels.__getitem__)
    for layer in layers:
        for kind, K in layer.rsms.items():
            by_name[f"by clustering {layer.name}, {kind}"] = orders.by_clustering(K)
    return by_name


def _facts(
    count: int, chosen: np.ndarray, preprocessing: "Preprocessing | None", images: bool
) -> dict[str, str]:
    """Facts that a reader needs to interpret the page."""
    facts = {"made with": f"semrsm_jax {package_version('semrsm_jax')}"}
    if len(chosen) < count:
        facts["samples"] = f"{len(chosen)} of {count}, evenly spread"
    if images:
        facts["images"] = (
            "whole; the network may have seen a part of each, which the features do "
            "not record"
            if preprocessing is None
            else f"as the network saw them: {preprocessing}"
        )
    return facts
