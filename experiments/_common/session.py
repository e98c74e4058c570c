"""What an experiment works with: progress, a memory of finished steps, stored arrays.

An experiment is a sequence of named steps. A step that is done is on the disk, whole or
not at all, and is read from there when the experiment is run again; features that are
too many for memory are resumed batch by batch, and matchings tile by tile.
"""

import hashlib
import json
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from experiments._common.environment import described
from semrsm_jax.cli.console import Report
from semrsm_jax.engine import Progress
from semrsm_jax.engine import run as run_engine
from semrsm_jax.features import extract_to_store
from semrsm_jax.matching import Exact, Matcher
from semrsm_jax.store import FeatureStore, RunStore, new_file

if TYPE_CHECKING:
    from distributed import Client

Arrays = Mapping[str, np.ndarray]


def silent(description: str, done: int, total: int | None) -> None:
    """Shows no progress."""


def fingerprint(*parts: Any) -> str:
    """Eight hex digits that change with any of the parts; dataclasses by their repr."""
    text = json.dumps([described(part) for part in parts])
    return hashlib.sha256(text.encode()).hexdigest()[:8]


@dataclass(frozen=True)
class Session:
    """Where an experiment keeps what is done, and how it tells of it.

    Attributes:
      folder: of finished steps and runs; those of another config must have another one.
        None: a new temporary folder.
      report: called as ``report(description, done, total)``.
      client: a Dask client that the matchings run on; None: this machine.
    """

    folder: Path | None = None
    report: Report = silent
    client: "Client | None" = None

    @cached_property
    def _place(self) -> Path:
        return self.folder or Path(tempfile.mkdtemp(prefix="semrsm-"))

    def _file(self, name: str) -> Path:
        """A file of the session; a network that is named by its path is no other."""
        return self._place / name.lstrip("/")

    def step(self, name: str, compute: Callable[[], Arrays]) -> dict[str, np.ndarray]:
        """The arrays that `compute` returns, computed once and read afterwards.

        Args:
          name: of the step, which says all of what it computes within the config; a
            slash makes a folder.
          compute: returns arrays by name; text and numbers as arrays of no axis.

        Raises:
          OSError: the disk is full, or the like; the step then is to be done again.
        """
        path = self._file(f"{name}.npz")
        if not path.exists():
            path.parent.mkdir(parents=True, exist_ok=True)
            found = {key: np.asarray(value) for key, value in compute().items()}
            with new_file(path) as temporary, temporary.open("wb") as stream:
                np.savez(stream, allow_pickle=False, **found)
        with np.load(path, allow_pickle=False) as stored:
            return {key: stored[key] for key in stored.files}

    def features(
        self,
        name: str,
        model: Any,
        images: Any,
        layers: Sequence[str],
        batch_size: int = 32,
        tokens: str = "all",
    ) -> FeatureStore:
        """The representations of images, on the disk, resumed batch by batch.

        Args:
          name: of the store, as of a step.
          model: what `semrsm_jax.features.extract_to_store` takes, as all that follows.
          images: likewise; an `ImageFolder` is read as it is needed.
          layers: likewise.
          batch_size: likewise.
          tokens: likewise.
        """

        def progress(done: int, total: int) -> None:
            self.report(f"Extracting {name}", done, total)

        path = self._file(f"{name}.zarr")
        path.parent.mkdir(parents=True, exist_ok=True)
        return extract_to_store(
            model,
            images,
            layers,
            path,
            batch_size=batch_size,
            tokens=tokens,
            progress=progress,
        )

    def run(
        self,
        name: str,
        x: Any,
        y: Any = None,
        matcher: Matcher = Exact(),
        center: str | None = None,
    ) -> RunStore:
        """The pair statistics of tokens (N, S, C) and (M, T, C), resumed tile by tile.

        Any kernel then comes from ``open_similarity(store.path, kernel)[:]`` without
        matching again.

        Args:
          name: of the run, as of a step.
          x: what `semrsm_jax.engine.run` takes.
          y: likewise; None: x with itself.
          matcher: the rule.
          center: what `semrsm_jax.engine.run` takes.
        """

        def progress(at: Progress) -> None:
            self.report(f"{at.stage.capitalize()} {name}", at.done, at.total)

        path = self._file(f"{name}.zarr")
        return run_engine(
            x,
            y,
            store=path,
            matcher=matcher,
            center=center,
            cluster=self.client,
            progress=progress,
        )
