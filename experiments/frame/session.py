"""What an experiment runs in: progress, finished steps, stored arrays.

An experiment is a sequence of named steps. A finished step is on the disk, complete or
not at all, and is read from there when the experiment runs again. Features that do not
fit in memory are resumed batch by batch, matchings tile by tile.
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

from experiments.frame.environment import described
from experiments.frame.worker import Report
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
    """Where an experiment keeps finished steps, and where it reports its progress.

    Attributes:
      folder: of finished steps and runs, of one config only; None: a new temporary
        folder.
      report: called as ``report(description, done, total)``.
      client: a Dask client that the matchings run on; None: this machine.
      only: the parts of the study to be run; empty: all.
    """

    folder: Path | None = None
    report: Report = silent
    client: "Client | None" = None
    only: tuple[str, ...] = ()

    @cached_property
    def _place(self) -> Path:
        return self.folder or Path(tempfile.mkdtemp(prefix="semrsm-"))

    def _file(self, name: str) -> Path:
        """A file below the folder, also for a network that is named by its path."""
        path = self._place / name.lstrip("/")
        path.parent.mkdir(parents=True, exist_ok=True)
        return path

    def step(self, name: str, compute: Callable[[], Arrays]) -> dict[str, np.ndarray]:
        """The arrays that `compute` returns, computed once and read afterwards.

        Args:
          name: of the step, which determines all that it computes within the config; a
            slash makes a folder.
          compute: returns arrays by name; text and numbers as arrays without axes.

        Raises:
          OSError: the step cannot be written, for example because the disk is full; it
            is then computed again next time.
        """
        path = self._file(f"{name}.npz")
        if not path.exists():
            arrays = {key: np.asarray(value) for key, value in compute().items()}
            with new_file(path) as temporary, temporary.open("wb") as stream:
                np.savez(stream, allow_pickle=False, **arrays)
        with np.load(path, allow_pickle=False) as stored:
            return {key: stored[key] for key in stored.files}

    def features(
        self,
        name: str,
        model: Any,
        images: Any,
        layers: Sequence[str],
        batch_size: int = 32,
    ) -> FeatureStore:
        """The representations of images, on the disk, resumed batch by batch.

        Args:
          name: of the store, as of a step.
          model: a network that `semrsm_jax.features.extract_to_store` takes.
          images: (N, H, W, 3), or an `ImageFolder`, which is read as it is needed.
          layers: names of layers of the network.
          batch_size: images a pass.
        """

        def progress(done: int, total: int) -> None:
            self.report(f"Extracting {name}", done, total)

        path = self._file(f"{name}.zarr")
        return extract_to_store(
            model, images, layers, path, batch_size=batch_size, progress=progress
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
          x: features that `semrsm_jax.engine.run` takes.
          y: other features; None: x with itself.
          matcher: the rule that pairs tokens.
          center: "channel", "position" or None, as in `semrsm_jax.engine.run`.
        """

        def progress(at: Progress) -> None:
            self.report(f"{at.stage.capitalize()} {name}", at.done, at.total)

        return run_engine(
            x,
            y,
            store=self._file(f"{name}.zarr"),
            matcher=matcher,
            center=center,
            cluster=self.client,
            progress=progress,
        )
