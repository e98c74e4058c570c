"""What ``semrsm retrieve`` reads: labels, neighbours and images."""

from collections.abc import Sequence
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    import numpy as np

    from semrsm_jax.plotting import Retrieved
    from semrsm_jax.retrieval import Neighbors
    from semrsm_jax.retrieval.exclusion import Exclusion
    from semrsm_jax.store import Labels

# Pixels of the longer side of an image in a gallery.
_SIDE = 256


class ExcludeName(StrEnum):
    """What may not be retrieved."""

    NONE = "none"
    SELF = "self"
    GROUP = "group"


class Samples(NamedTuple):
    """The samples that are queries and database.

    Attributes:
      queries: how many.
      database: how many; None where a search does not tell.
      query_ids: their names, where they have any.
      database_ids: likewise.
    """

    queries: int
    database: int | None
    query_ids: tuple[str, ...] | None = None
    database_ids: tuple[str, ...] | None = None


class Sides(NamedTuple):
    """The labels of the queries and of the database, in the order of the RSMs."""

    queries: "Labels"
    database: "Labels"


def load_searches(paths: Sequence[Path], k: int) -> "dict[str, Neighbors]":
    """Reads the results of searches by name; none where they are something else.

    Raises:
      ValueError: as `load_features`; results and RSMs side by side, a result given
        twice, with less than k neighbours or of other queries.
    """
    from semrsm_jax.retrieval import Neighbors
    from semrsm_jax.store import load_features
    from semrsm_jax.store._array_files import open_arrays

    keys = ("index", "similarity")
    searched = [
        path.suffix.lower() == ".npz" and set(keys) <= set(open_arrays(path).arrays)
        for path in paths
    ]
    if not any(searched):
        return {}
    if not all(searched):
        raise ValueError("RSMs and results of searches cannot be given together")
    found: dict[str, Neighbors] = {}
    for path in paths:
        index, values = (load_features(path, key) for key in keys)
        if index.ndim != 2 or index.dtype.kind not in "iu":
            raise ValueError(
                f"{path} must hold an index (Q, k) of integers, got shape "
                f"{index.shape}, {index.dtype}"
            )
        if index.shape[1] < k:
            raise ValueError(
                f"{path} holds {index.shape[1]} neighbours a query, --k asks for {k}: "
                f"score fewer with --k {index.shape[1]}, or search with -k {k}"
            )
        if values.shape != index.shape:
            raise ValueError(
                f"{path} must hold similarities as its index, of shape {index.shape}, "
                f"got {values.shape}"
            )
        if str(path) in found:
            raise ValueError(f"{path} was given twice")
        found[str(path)] = Neighbors(index[:, :k], values[:, :k])
    if len({len(each.index) for each in found.values()}) > 1:
        raise ValueError("the results must be of the same queries")
    return found


def load_sides(queries: Path, database: Path | None, samples: Samples) -> Sides:
    """Reads the labels of both sides and puts them into the order of the samples.

    Raises:
      ValueError: as `load_labels`, or labels that do not fit the RSM or each other.
    """
    import numpy as np

    from semrsm_jax.store import load_labels

    own = load_labels(queries)
    others = own if database is None else load_labels(database)
    own = _aligned(own, queries, samples.query_ids, samples.queries, "rows")
    others = _aligned(
        others, database or queries, samples.database_ids, samples.database, "columns"
    )
    if own.classes is not None and others.classes is not None:
        if set(own.classes) != set(others.classes):
            odd = sorted(set(own.classes) ^ set(others.classes))
            raise ValueError(
                f"{queries} and {database} must be over the same classes; only one has "
                f"{', '.join(odd[:5])}"
            )
        order = [others.classes.index(name) for name in own.classes]
        others = others._replace(
            counts=np.asarray(others.counts)[:, order], classes=own.classes
        )
    return Sides(own, others)


def _aligned(
    labels: "Labels",
    path: Path,
    ids: Sequence[str] | None,
    count: int | None,
    axis: str,
) -> "Labels":
    if ids is not None and labels.ids is not None:
        places = {name: place for place, name in enumerate(labels.ids)}
        missing = [name for name in ids if name not in places]
        if missing:
            raise ValueError(
                f"{path} must have a row for each sample of the RSM, {len(missing)} of "
                f"{len(ids)} are missing, for example {missing[0]!r}"
            )
        return labels.take([places[name] for name in ids])
    if count is not None and len(labels.counts) != count:
        raise ValueError(
            f"{path} must have {count} rows, one for each of the RSM's {axis}, got "
            f"{len(labels.counts)}"
        )
    return labels


def exclusion(
    wanted: ExcludeName | None, sides: Sides | None, samples: Samples, one_set: bool
) -> "tuple[ExcludeName, Exclusion | None]":
    """The rule of what may not be retrieved, and its name.

    Args:
      wanted: None: the same group where there are groups, otherwise a sample itself
        where it is in the database.
      sides: the labels, with the groups.
      samples: queries and database.
      one_set: rows and columns are the same samples.

    Raises:
      ValueError: groups are wanted where there are none, or the RSM is not square.
    """
    import numpy as np

    from semrsm_jax import same_group, same_sample

    own, others = (None, None) if sides is None else (s.groups for s in sides)
    if wanted is None:
        wanted = ExcludeName.SELF if one_set else ExcludeName.NONE
        wanted = wanted if own is None or others is None else ExcludeName.GROUP
    if wanted is ExcludeName.GROUP:
        if own is None or others is None:
            raise ValueError(
                "--exclude group needs groups in --queries and --database: a column "
                "'group' or an array 'groups'"
            )
        return wanted, same_group(np.array(own), np.array(others))
    if wanted is ExcludeName.SELF:
        if samples.queries != samples.database:
            raise ValueError(
                "--exclude self needs a square RSM, got shape "
                f"{(samples.queries, samples.database)}"
            )
        return wanted, same_sample(samples.queries)
    return wanted, None


class Images:
    """Images of a folder, by id where they have one, otherwise by their order."""

    def __init__(
        self, folder: Path, ids: Sequence[str] | None, count: int | None
    ) -> None:
        from semrsm_jax.features.image_folder import find_images, image_id

        self._folder, self._ids = folder, ids
        found = find_images(folder)
        if ids is None:
            if count is not None and len(found) != count:
                raise ValueError(
                    f"{folder} must hold {count} images, one a sample, where samples "
                    f"have no ids; got {len(found)}"
                )
            self._paths = found
            self._ids = [image_id(folder, path) for path in found]
            return
        by_id = {image_id(folder, path): path for path in found}
        # Ids with and without suffix or folder are both common.
        by_id = {path.stem: path for path in found} | by_id
        missing = [name for name in ids if name not in by_id]
        if missing:
            raise ValueError(
                f"{folder} must hold the images that the ids name, {len(missing)} of "
                f"{len(ids)} are missing, for example {missing[0]!r}"
            )
        self._paths = [by_id[name] for name in ids]

    def shown(self, number: int, caption: str | None = None) -> "Retrieved":
        """An image at the size of a gallery, its id below it unless another text is."""
        import numpy as np
        from PIL import Image

        from semrsm_jax.features.image_file import read_image
        from semrsm_jax.plotting import Retrieved

        assert self._ids is not None
        if number >= len(self._paths):
            raise ValueError(
                f"{self._folder} must hold an image for each sample, got "
                f"{len(self._paths)}, and one for sample {number} is needed"
            )
        image = Image.fromarray(read_image(self._paths[number]))
        image.thumbnail((_SIDE, _SIDE))
        text = self._ids[number] if caption is None else caption
        return Retrieved(np.asarray(image), _short(text))


def _short(text: str) -> str:
    return text if len(text) <= 18 else f"...{text[-16:]}"


def gallery_rows(
    found: "dict[str, Neighbors]",
    images: tuple[Images, Images],
    queries: "Sequence[int] | np.ndarray",
    neighbors: int,
) -> "tuple[list[Retrieved], dict[str, list[list[Retrieved]]]]":
    """Queries and, for each RSM, what it retrieves, as a gallery takes them."""
    own, others = images
    shown = [own.shown(int(query)) for query in queries]
    retrieved = {
        name: [
            [
                others.shown(int(index), f"{similarity:.3g}")
                for index, similarity in zip(
                    each.index[query, :neighbors],
                    each.similarity[query, :neighbors],
                    strict=True,
                )
                if index >= 0
            ]
            for query in queries
        ]
        for name, each in found.items()
    }
    return shown, retrieved
