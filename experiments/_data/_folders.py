"""What a data set's folder must look like, and the error where it does not."""

import os
import textwrap
from dataclasses import dataclass
from pathlib import Path


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
            f"{self.name}: {wrong}.\nTo be had: {self.source}\n"
            f"The folder must look like this:\n{layout}"
        )
