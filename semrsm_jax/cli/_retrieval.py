"""What ``semrsm retrieve`` reads: labels, neighbours and images."""

from collections.abc import Sequence
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    import numpy as np

    from semrsm_jax.plotting import Retrieved
    from semrsm_jax.retrieval import Neighbors
    from semrsm_jax.retrieval.nearest import Exclusion
    from semrsm_jax.store import Labels, Similarity

# Pixels of the longer side of an image in a gallery.
_SIDE = 256


class ExcludeName(StrEnum):
    """What may not be retrieved."""

    NONE = "none"
    SELF = "self"
    GROUP = "group"


class Sides(NamedTuple):
    """The labels of the queries and of the database, in the order of the RSMs."""

    queries: "Labels"
    database: "Labels"


def load_sides(queries: Path, database: Path | None, rsm: "Similarity") -> Sides:
    """Reads the labels of both sides and puts them into the order of an RSM.

    Raises:
      ValueError: as `load_labels`, or labels that do not fit the RSM or each other.
    """
    import numpy as np

    from semrsm_jax.store import load_labels

    own = load_labels(queries)
    others = own if database is None else load_labels(database)
    own = _aligned(own, queries, rsm.x_ids, rsm.shape[0], "rows")
    others = _aligned(others, database or queries, rsm.y_ids, rsm.shape[1], "columns")
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
    labels: "Labels", path: Path, ids: Sequence[str] | None, count: int, axis: str
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
    if len(labels.counts) != count:
        raise ValueError(
            f"{path} must have {count} rows, one for each of the RSM's {axis}, got "
            f"{len(labels.counts)}"
        )
    return labels


def exclusion(
    wanted: ExcludeName | None, sides: Sides | None, rsm: "Similarity", one_set: bool
) -> "tuple[ExcludeName, Exclusion | None]":
    """The rule of what may not be retrieved, and its name.

    Args:
      wanted: None: the same group where there are groups, otherwise a sample itself
        where it is in the database.
      sides: the labels, with the groups.
      rsm: of the samples.
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
        if rsm.shape[0] != rsm.shape[1]:
            raise ValueError(
                f"--exclude self needs a square RSM, got shape {rsm.shape}"
            )
        return wanted, same_sample(rsm.shape[0])
    return wanted, None


class Images:
    """Images of a folder, by id where they have one, otherwise by their order."""

    def __init__(self, folder: Path, ids: Sequence[str] | None, count: int) -> None:
        from semrsm_jax.features.image_folder import find_images, image_id

        self._ids = ids
        found = find_images(folder)
        if ids is None:
            if len(found) != count:
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
