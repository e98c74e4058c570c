"""What a data set's folder must look like, and the error where it does not."""

import os
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Int

from experiments._common.session import silent
from semrsm_jax.cli.console import Report
from semrsm_jax.features import ImageFolder, open_files
from semrsm_jax.features.image_folder import Preprocess


@dataclass(frozen=True)
class DataSet:
    """Where a data set comes from, and what its unpacked folder holds.

    Attributes:
      name: what its authors call it.
      source: where it is to be had, and on what terms.
      layout: the files that are read, as an indented tree below the folder.
    """

    name: str
    source: str
    layout: str

    @property
    def help(self) -> str:
        """What ``--data`` is to be, in a sentence."""
        files = ", ".join(line.strip() for line in self.layout.strip().splitlines())
        return f"The unpacked folder of {self.name} ({files}). {self.source}"

    def folder(self, path: str | os.PathLike | None) -> Path:
        """The folder, which must be there.

        Raises:
          ValueError: `path` is None, missing, or a file.
        """
        if path is None:
            raise self.error("--data must name its folder, got none")
        if not Path(path).exists():
            raise self.error(f"{path} does not exist")
        if not Path(path).is_dir():
            raise self.error(f"{path} is a file, expected a folder")
        return Path(path)

    def error(self, wrong: str) -> ValueError:
        """The error that says what is wrong, where to get the data, and its layout."""
        layout = textwrap.indent(textwrap.dedent(self.layout).strip("\n"), "  ")
        return ValueError(
            f"{self.name}: {wrong}\nTo be had: {self.source}\n"
            f"The folder must look like this:\n{layout}"
        )

    def draw(self, there: int, samples: int | None, seed: int) -> Int[np.ndarray, " n"]:
        """The places of `samples` of them, drawn without replacement, in their order.

        Args:
          there: how many images were found.
          samples: how many to draw; None takes all.
          seed: of the draw.

        Raises:
          ValueError: there are fewer, or none.
        """
        if there < (1 if samples is None else samples):
            raise self.error(f"it holds {there} images, {samples or 'some'} are needed")
        if samples is None:
            return np.arange(there)
        drawn = np.random.default_rng(seed).choice(there, samples, replace=False)
        return np.sort(drawn)

    def images(
        self,
        root: Path,
        paths: Sequence[Path],
        preprocess: Preprocess,
        report: Report = silent,
    ) -> ImageFolder:
        """The files below `root`, each of which must be readable.

        Args:
          root: what the ids are relative to.
          paths: the files, at least one; they keep their order.
          preprocess: from uint8 (H, W, 3) to what the network expects, float.
          report: called as ``report(description, done, total)``.

        Raises:
          ValueError: files are broken or missing; up to five are named.
        """

        def progress(done: int, total: int) -> None:
            report(f"Checking images of {self.name}", done, total)

        folder = open_files(root, paths, preprocess, on_error="skip", progress=progress)
        if folder.skipped:
            listed = "".join(f"\n  {b.id}: {b.reason}" for b in folder.skipped[:5])
            raise self.error(
                f"{len(folder.skipped)} of {len(paths)} images below {root} cannot be "
                f"read, and are to be downloaded again:{listed}"
            )
        return folder
