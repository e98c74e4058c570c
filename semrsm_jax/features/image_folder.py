"""Folders of images: their files, and their pixels batch by batch."""

import dataclasses
import hashlib
import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, UInt8

from semrsm_jax import _checks
from semrsm_jax._resources import cores
from semrsm_jax.features.image_file import examine, file_digest, read_image
from semrsm_jax.features.preprocessing import ForeignPreprocessing, Preprocessing

SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".bmp", ".tif", ".tiff", ".gif")
_SHOWN = 5

Preprocess = Callable[[UInt8[np.ndarray, "H W 3"]], Float[np.ndarray, "h w 3"]]


class BrokenImage(NamedTuple):
    """A file that could not be read.

    Attributes:
      id: its path below the folder, with forward slashes.
      reason: why it could not be read.
    """

    id: str
    reason: str


@dataclasses.dataclass(frozen=True)
class ImageFolder:
    r"""The images of a folder, read when they are used; an input of `extract`.

    Attributes:
      root: the folder.
      ids: each image's path below it, with forward slashes, sorted; a byte of a name
        that is not UTF-8 is written as ``\xNN``.
      paths: the files.
      preprocess: from uint8 (H, W, 3), RGB, to the input of the network, (h, w, 3).
      skipped: the files that could not be read.
      digest: SHA-256, in hexadecimal, of all ids, file contents, and the preprocessing
        if it compares by value, as `Preprocessing` does.
      contents: SHA-256 of each file.
    """

    root: Path
    ids: tuple[str, ...]
    paths: tuple[Path, ...]
    preprocess: Preprocess
    skipped: tuple[BrokenImage, ...]
    digest: str
    contents: tuple[bytes, ...] = dataclasses.field(repr=False)

    def __len__(self) -> int:
        """The number of images."""
        return len(self.paths)

    def read(self, start: int, stop: int) -> Float[np.ndarray, "b h w 3"]:
        """Reads the images start <= n < stop and prepares them.

        Raises:
          ValueError: a file is missing or changed, or the prepared images differ in
            size.
        """
        paths = self.paths[start:stop]
        with ThreadPoolExecutor(cores()) as pool:
            images = list(pool.map(self._prepared, paths, self.contents[start:stop]))
        for image, path in zip(images, paths, strict=True):
            if image.shape != images[0].shape:
                raise ValueError(
                    "images must have one size once prepared, got "
                    f"{images[0].shape[:2]} for {paths[0]} and {image.shape[:2]} for "
                    f"{path}; the preprocessing must resize to one size, or crop or pad"
                )
        return np.stack(images)

    def _prepared(self, path: Path, content: bytes) -> Float[np.ndarray, "h w 3"]:
        known = isinstance(self.preprocess, Preprocessing | ForeignPreprocessing)
        image = self.preprocess.read(path) if known else read_image(path)
        try:
            if file_digest(path) != content:
                raise ValueError("changed since the folder was opened; open it again")
            return self.preprocess(image)
        except ValueError as error:
            raise ValueError(f"{path}: {error}") from error


def open_folder(
    folder: str | os.PathLike,
    preprocess: Preprocess,
    *,
    on_error: str = "raise",
    progress: Callable[[int, int], object] | None = None,
) -> ImageFolder:
    """Finds the images below a folder, and checks that each can be read.

    Every file is decoded once here, so that a broken file does not end a long
    computation: a JPEG at an eighth of its size, others in full.

    Args:
      folder: searched with all folders below it; links to folders are followed, but
        not in circles. Names that begin with a dot are left out.
      preprocess: prepares one image, for example `load_preprocessing(checkpoint)`.
      on_error: ``"raise"`` raises an error for a broken file, ``"skip"`` leaves such
        files out and lists them in `skipped`.
      progress: called as ``progress(done, total)``, in files, as they are checked.

    Returns:
      The images in the order of their ids.

    Raises:
      ValueError: the folder is missing or not a folder, holds no image, or, with
        ``"raise"``, a broken one; `on_error` is neither.
    """
    return open_files(
        folder, find_images(folder), preprocess, on_error=on_error, progress=progress
    )


def open_files(
    folder: str | os.PathLike,
    paths: Sequence[Path],
    preprocess: Preprocess,
    *,
    on_error: str = "raise",
    progress: Callable[[int, int], object] | None = None,
) -> ImageFolder:
    """Makes an `ImageFolder` of given files below a folder.

    Args:
      folder: what the ids are relative to.
      paths: the files, at least one; they keep their order.
      preprocess: as in `open_folder`.
      on_error: as in `open_folder`.
      progress: as in `open_folder`.

    Returns:
      The images, for `extract`.

    Raises:
      ValueError: a file is broken or missing, as in `open_folder`.
    """
    _checks.one_of("on_error", on_error, ("raise", "skip"))
    root = Path(folder)
    digest, sound, broken = hashlib.sha256(), [], []
    if isinstance(preprocess, Preprocessing | ForeignPreprocessing):
        digest.update(repr(preprocess).encode())
    with ThreadPoolExecutor(cores()) as pool:
        for done, (path, examined) in enumerate(
            zip(paths, pool.map(examine, paths), strict=True), 1
        ):
            name = image_id(root, path)
            if isinstance(examined, ValueError):
                broken.append(BrokenImage(name, str(examined)))
            else:
                sound.append((name, path, examined))
                digest.update(f"{len(name)} {name} ".encode() + examined)
            if progress is not None:
                progress(done, len(paths))
    if broken and (on_error == "raise" or not sound):
        shown = "\n".join(f"  {image.id}: {image.reason}" for image in broken[:_SHOWN])
        more = f"\n  and {len(broken) - _SHOWN} more" if len(broken) > _SHOWN else ""
        hint = "; on_error='skip' (--on-error skip) leaves them out" if sound else ""
        raise ValueError(
            f"images: {len(broken)} of {len(paths)} files below {root} cannot be read"
            f"{hint}\n{shown}{more}"
        )
    ids, files, contents = zip(*sound, strict=True)
    skipped = tuple(broken)
    return ImageFolder(
        root, ids, files, preprocess, skipped, digest.hexdigest(), contents
    )


def find_images(folder: str | os.PathLike) -> list[Path]:
    """Lists the image files below a folder, sorted by their path below it.

    Raises:
      ValueError: the folder is missing, not a folder, cannot be searched, or holds no
        file with the suffix of an image.
    """
    root = Path(folder)
    if not root.exists():
        raise ValueError(f"images: {root} does not exist")
    if not root.is_dir():
        raise ValueError(f"images: {root} is a file, expected a folder of images")
    paths = sorted(_walk(root, ()), key=lambda path: image_id(root, path))
    if not paths:
        raise ValueError(
            f"images: no image below {root}; looked for {', '.join(SUFFIXES)}"
        )
    return paths


def match_images(
    folder: str | os.PathLike, ids: Sequence[str] | None, count: int | None
) -> tuple[list[Path], tuple[str, ...]]:
    """The image of each sample: by id, or by order if the samples have no ids.

    Args:
      folder: searched with all folders below it.
      ids: paths below the folder, or file names with or without suffix; None: samples
        have none.
      count: N; None where it is not known.

    Returns:
      N paths and N names.

    Raises:
      ValueError: as `find_images`, or an image is missing, or an id stands for several.
    """
    paths, root = find_images(folder), Path(folder)
    if ids is None:
        if count is not None and len(paths) != count:
            raise ValueError(
                f"images: {folder} must hold {count} images, one a sample, where "
                f"samples have no ids; got {len(paths)}"
            )
        return paths, tuple(image_id(root, path) for path in paths)
    by_id: dict[str, list[Path]] = {}
    for names in (lambda p: image_id(root, p), lambda p: p.name, lambda p: p.stem):
        # A path tells more than a name, and that more than one without its suffix.
        more: dict[str, list[Path]] = {}
        for path in paths:
            more.setdefault(names(path), []).append(path)
        by_id = more | by_id
    for name in ids:
        if len(files := by_id.get(name, [])) > 1:
            raise ValueError(
                f"images: the id {name!r} stands for {len(files)} files below {root}, "
                f"such as {image_id(root, files[0])!r} and "
                f"{image_id(root, files[1])!r}; name samples by their paths"
            )
    missing = [name for name in ids if name not in by_id]
    if missing:
        raise ValueError(
            f"images: {folder} must hold the images that the samples' ids name, "
            f"{len(missing)} of {len(ids)} are missing, for example {missing[0]!r}; "
            f"the folder holds for example {image_id(root, paths[0])!r}"
        )
    return [by_id[name][0] for name in ids], tuple(ids)


def image_id(root: Path, path: Path) -> str:
    """The path below `root`, with forward slashes, in characters that can be stored."""
    name = path.relative_to(root).as_posix()
    return os.fsencode(name).decode("utf-8", "backslashreplace")


def _walk(folder: Path, ancestors: tuple[tuple[int, int], ...]) -> Iterator[Path]:
    """Yields the image files below a folder."""
    try:
        status = folder.stat()
        entries = list(folder.iterdir())
    except OSError as error:
        raise ValueError(
            f"images: {folder} cannot be searched: {error.strerror or error}"
        ) from error
    here = (status.st_dev, status.st_ino)
    if here in ancestors:  # a link to a parent folder
        return
    for path in entries:
        if path.name.startswith("."):
            continue
        if path.is_dir():
            yield from _walk(path, (*ancestors, here))
        elif path.suffix.lower() in SUFFIXES:
            yield path
