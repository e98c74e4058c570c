"""A run on disk, tile by tile: a zarr group that is resumed where it stopped."""

import os
from collections.abc import Collection, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from typing import Any

import numpy as np

from semrsm_jax.matching.results import Unconverged
from semrsm_jax.pairs import PairStatistics
from semrsm_jax.store._chunks import ChunkStore, unit_key
from semrsm_jax.store._schema import Schema, check_same
from semrsm_jax.store.manifest import KIND, Manifest
from semrsm_jax.store.tiles import Tile

Matrices = Mapping[str, np.ndarray]

_REPAIR = "the same run again computes what is missing or damaged, and only that"


class RunStore:
    """The pair statistics of a run, written tile by tile, each whole or not at all.

    On disk it is a zarr group (format 3) that zarr and xarray open by themselves:
    ``inner``, ``sq_dist``, ``upper_bound`` and of a soft matcher ``column_error``
    (N, M), ``x_sq_norm`` (N,) and ``y_sq_norm`` (M,), NaN where nothing is computed
    yet, one chunk a tile and not compressed; and ``crc32c`` (tile rows, tile columns, 3
    or 4), the checksums of each tile, written last: a tile without them is missing.
    Every chunk carries its checksum, and the SHA-256 of the metadata stands beside
    them. Tiles below the diagonal that follow by symmetry are written with those they
    mirror.

    Attributes:
      path: the folder.
      manifest: what the run is.
      made: how it is made: files, versions, pairs in flight.
      grid: its tiles.
      matrices: the names of those (N, M) of the statistics.
      dtype: of the statistics.
    """

    def __init__(
        self, chunks: ChunkStore, manifest: Manifest, made: Mapping[str, Any]
    ) -> None:
        """Use `create` or `open`."""
        self._chunks = chunks
        self.path = chunks.path
        self.manifest = manifest
        self.grid, self.matrices = manifest.grid, manifest.matrices
        self.made = dict(made)
        self.dtype = np.dtype(manifest.dtype)

    @classmethod
    def create(
        cls,
        path: str | os.PathLike,
        manifest: Manifest,
        made: Mapping[str, Any],
        norms: Mapping[str, np.ndarray],
    ) -> "RunStore":
        """Makes a run, or goes on with the one that is there where it is the same.

        Args:
          path: the folder; those above it are made.
          manifest: what the run is.
          made: how it is made, where that may differ when it is resumed.
          norms: ``x_sq_norm`` (N,) and ``y_sq_norm`` (M,).

        Raises:
          ValueError: there is another run, or something else; the error names what
            differs.
          OSError: the folder cannot be written.
        """
        path = ChunkStore.create(path, manifest.schema(made))
        store = cls.open(path)
        present = store.manifest.attributes()
        check_same(path, "another run", present, manifest.attributes())
        with store.working():
            for name, values in norms.items():
                try:
                    store.sq_norm(name)
                except ValueError:
                    store._chunks.write_constant(name, values)
        return store

    @classmethod
    def open(cls, path: str | os.PathLike) -> "RunStore":
        """Opens a run, finished or not.

        Raises:
          ValueError: there is none, or its metadata is damaged.
        """

        def parse(
            attributes: dict[str, Any],
        ) -> tuple[tuple[Manifest, dict[str, Any]], Schema]:
            made = attributes.pop("made")
            manifest = Manifest.from_attributes(attributes)
            return (manifest, made), manifest.schema(made)

        (manifest, made), chunks = ChunkStore.open(path, KIND, "run", parse)
        return cls(chunks, manifest, made)

    def missing(self, *, verify: bool = False) -> list[Tile]:
        """The tiles that are still to be computed, in order.

        Args:
          verify: read all that is there and compare it with the checksums; damaged
            tiles count as missing. Without, only the sizes of the files are looked at.
        """
        missing = set(self._chunks.missing(verify=verify))
        return [t for t in self.grid if missing & set(self.grid.written_with(t))]

    def damaged(self) -> dict[Tile, str]:
        """What is wrong with each tile that is recorded as there, all values compared.

        Raises:
          ValueError: the norms are damaged.
        """
        for name in ("x_sq_norm", "y_sq_norm"):
            self.sq_norm(name)
        damages = {
            Tile(*unit): self._chunks.damage(unit)
            for unit in sorted(self._chunks.recorded())
        }
        return {tile: what for tile, what in damages.items() if what is not None}

    def bytes_on_disk(self) -> int:
        """The bytes of all files in the folder."""
        return sum(p.stat().st_size for p in self.path.rglob("*") if p.is_file())

    def has(self, tile: Tile) -> bool:
        """Whether a tile, and its mirror image, are recorded as there."""
        return all(map(self._chunks.has, self.grid.written_with(tile)))

    def working(self) -> AbstractContextManager[None]:
        """States that this process works on the run, until the block ends.

        Where it is the only one, what killed processes left is removed.
        """
        return self._chunks.working()

    @contextmanager
    def claim(self, tile: Tile) -> Iterator[bool]:
        """Yields whether the tile is this process's to compute, until the block ends.

        It is not where it is there already, or another process computes it. Claims are
        locks of the operating system: those of a process that dies are gone with it.
        """
        with self._chunks.claim(tile) as mine:
            # Who held the claim before may just have written the tile.
            yield mine and not self.has(tile)

    def to_compute(self) -> list[Tile]:
        """The tiles that are missing, once those that are damaged are taken back.

        All that is there is read and compared with the checksums.
        """
        for tile in self.grid:
            if self._is_damaged(tile):
                with self._chunks.claim(tile) as mine:
                    # Another process may just have repaired it, or be writing it.
                    if mine and self._is_damaged(tile):
                        self.forget(tile)
        return self.missing()

    def forget(self, tile: Tile) -> None:
        """Takes back that a tile is there, so that it is computed again."""
        for part in self.grid.written_with(tile):
            self._chunks.forget(part)

    def write(self, tile: Tile, matrices: Matrices) -> None:
        """Writes a tile, and its mirror image.

        Args:
          tile: its place.
          matrices: by name, its part of each of `matrices`.

        Raises:
          ValueError: a matrix has another shape, or values that are not finite.
          OSError: the disk is full, or the like; the tile is then missing as before.
        """
        shape = self._shape(tile)
        for name in self.matrices:
            if matrices[name].shape != shape or not np.isfinite(matrices[name]).all():
                raise ValueError(
                    f"{name} of tile {unit_key(tile)} must be finite and of shape "
                    f"{shape}, got shape {matrices[name].shape}"
                )
        self.forget(tile)
        for part in self.grid.written_with(tile):
            mirrored = part != tile
            self._chunks.write(
                part,
                {k: matrices[k].T if mirrored else matrices[k] for k in self.matrices},
            )

    def read(
        self, tile: Tile, names: Collection[str] | None = None
    ) -> dict[str, np.ndarray]:
        """The matrices of a tile, by name, once compared with its checksums.

        Args:
          tile: which one.
          names: of the matrices to read, of `matrices`; None: all.

        Raises:
          ValueError: it is not there yet, or damaged; the error names it.
        """
        damage = self._chunks.damage(tile, names=names, cached=True)
        if damage is not None:
            raise ValueError(f"{self.path}: tile {unit_key(tile)} {damage}; {_REPAIR}")
        rows, columns = self._shape(tile)
        return {
            name: self._chunks.read(tile, name)[:rows, :columns].astype(
                self.dtype, copy=False
            )
            for name in (self.matrices if names is None else names)
        }

    def unconverged(self) -> Unconverged:
        """The soft matchings that did not converge, of the tiles that are there.

        Raises:
          ValueError: as `read`.
        """
        total = Unconverged()
        for tile in self.grid if "column_error" in self.matrices else []:
            if self.has(tile):
                error = self.read(tile, ["column_error"])["column_error"]
                if self.grid.pairs(tile).triangle:
                    error = error[np.triu_indices(len(error))]
                total = total.and_those(Unconverged.of(error))
        return total

    def sq_norm(self, name: str) -> np.ndarray:
        """The array ``x_sq_norm`` (N,) or ``y_sq_norm`` (M,), once compared.

        Raises:
          ValueError: it differs from its checksum.
        """
        try:
            return self._chunks.constant(name).astype(self.dtype, copy=False)
        except ValueError as error:
            raise ValueError(f"{error}; {_REPAIR}") from error

    def statistics(self, start: int, stop: int) -> PairStatistics:
        """Rows start <= n < stop of the statistics, all columns; whole tiles are read.

        Raises:
          ValueError: as `read`.
        """
        side = self.grid.side
        rows = range(start // side, -(-stop // side))
        wanted = slice(start - rows.start * side, stop - rows.start * side)
        blocks = [
            [self.read(Tile(row, column)) for column in range(self.grid.shape[1])]
            for row in rows
        ]
        # NumPy arrays, where the type says those of JAX: they are only read.
        matrices: dict[str, Any] = {
            name: np.block([[tile[name] for tile in row] for row in blocks])[wanted]
            for name in self.matrices
        }
        x_sq_norm: Any = self.sq_norm("x_sq_norm")
        y_sq_norm: Any = self.sq_norm("y_sq_norm")
        return PairStatistics(
            **matrices, x_sq_norm=x_sq_norm[start:stop], y_sq_norm=y_sq_norm
        )

    def _is_damaged(self, tile: Tile) -> bool:
        return any(
            self._chunks.has(part) and self._chunks.damage(part)
            for part in self.grid.written_with(tile)
        )

    def _shape(self, tile: Tile) -> tuple[int, int]:
        x, y = self.grid.x_rows(tile), self.grid.y_rows(tile)
        return x.stop - x.start, y.stop - y.start
