"""The reader of folders of all data sets, and its errors."""

import os
import textwrap
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Int

from experiments.frame.session import silent
from semrsm_jax.cli.console import Report
from semrsm_jax.features import ImageFolder, open_files
from semrsm_jax.features.image_folder import Preprocess

_SHOWN = 5  # files that an error names


@dataclass(frozen=True)
class DataSet:
    """Where a data set is available, and what its unpacked folder holds.

    Attributes:
      name: what its authors call it.
      source: where it is available, and on what terms.
      layout: the files that are read, as an indented tree below the folder.
    """

    name: str
    source: str
    layout: str

    @property
    def help(self) -> str:
        """What ``--data`` must be, in a sentence."""
        files = ", ".join(line.strip() for line in self.layout.strip().splitlines())
        return f"The unpacked folder of {self.name} ({files}). {self.source}"

    def folder(self, path: str | os.PathLike | None) -> Path:
        """The folder, which must exist.

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

    def error(self, message: str, entries: Iterable[object] = ()) -> ValueError:
        """The error that states what is wrong, the source of the data and its layout.

        Args:
          message: what is wrong.
          entries: the files that it concerns, of which up to five are listed.
        """
        listed = "".join(f"\n  {entry}" for entry in list(entries)[:_SHOWN])
        layout = textwrap.indent(textwrap.dedent(self.layout).strip("\n"), "  ")
        return ValueError(
            f"{self.name}: {message}{listed}\nAvailable at: {self.source}\n"
            f"The folder must look like this:\n{layout}"
        )

    def check_exist(self, paths: Sequence[Path], kind: str) -> None:
        """Checks that files or folders exist.

        Args:
          paths: what must exist.
          kind: what they are, for the error.

        Raises:
          ValueError: some do not exist.
        """
        missing = [path for path in paths if not path.exists()]
        if missing:
            raise self.error(
                f"{len(missing)} of {len(paths)} {kind} do not exist:", missing
            )

    def draw(self, total: int, samples: int | None, seed: int) -> Int[np.ndarray, " n"]:
        """The places of `samples` images, drawn without replacement, in their order.

        Args:
          total: how many images the folder holds.
          samples: how many to draw; None takes all.
          seed: of the draw.

        Raises:
          ValueError: there are fewer, or none.
        """
        if total < (1 if samples is None else samples):
            raise self.error(f"it holds {total} images, {samples or 'some'} are needed")
        if samples is None:
            return np.arange(total)
        drawn = np.random.default_rng(seed).choice(total, samples, replace=False)
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
          ValueError: files are broken or missing.
        """

        def progress(done: int, total: int) -> None:
            report(f"Checking images of {self.name}", done, total)

        folder = open_files(root, paths, preprocess, on_error="skip", progress=progress)
        if folder.skipped:
            raise self.error(
                f"{len(folder.skipped)} of {len(paths)} images below {root} cannot be "
                "read; download them again:",
                (f"{broken.id}: {broken.reason}" for broken in folder.skipped),
            )
        return folder
