"""A run on disk, tile by tile: a zarr group that is resumed where it stopped."""

import hashlib
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from semrsm_jax.pairs import PairStatistics
from semrsm_jax.store._locks import Lock
from semrsm_jax.store.manifest import RECORDS, Manifest
from semrsm_jax.store.output import check_folder, new_file, new_folder, sweep
from semrsm_jax.store.tiles import Tile

MATRICES = ("inner", "sq_dist", "upper_bound")
Matrices = Mapping[str, np.ndarray]

# The one chunk of an array of norms, and its checksum beside it.
_NORM, _NORM_DIGEST = "c.0", ".sha256"

_MEND = "the same run again computes what is missing or damaged, and only that"


class RunStore:
    """The pair statistics of a run, written tile by tile, each whole or not at all.

    On disk it is a zarr group (format 3) that zarr and xarray open by themselves:
    ``inner``, ``sq_dist`` and ``upper_bound`` (N, M), ``x_sq_norm`` (N,) and
    ``y_sq_norm`` (M,), NaN where nothing is computed yet, one chunk a tile and not
    compressed; and ``tile_sha256`` (tile rows, tile columns, 32), the checksum of each
    tile, written last: a tile without it does not count as there. Tiles below the
    diagonal that follow by symmetry are written with those they mirror.

    Attributes:
      path: the folder.
      manifest: what the run is.
      made: how it is made: files, versions, pairs in flight.
    """

    def __init__(self, path: Path, manifest: Manifest, made: Mapping[str, Any]) -> None:
        """Use `create` or `open`."""
        self.path = path
        self.manifest = manifest
        self.grid = manifest.grid
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
        path = check_folder(path)
        if not path.exists() or not any(path.iterdir()):
            with new_folder(path) as temporary:
                manifest.write(temporary, made)
        store = cls.open(path)
        manifest.refuse_other(path, store.manifest)
        store._mend_norms(norms)
        return store

    @classmethod
    def open(cls, path: str | os.PathLike) -> "RunStore":
        """Opens a run, finished or not.

        Raises:
          ValueError: there is none, or its metadata is damaged.
        """
        path = Path(os.path.realpath(path))
        return cls(path, *Manifest.read(path))

    def missing(self, *, verify: bool = False) -> list[Tile]:
        """The tiles that are still to be computed, in order.

        Args:
          verify: read all that is there and compare it with the checksums; damaged
            tiles count as missing. Without, only the records are looked at.
        """
        if verify:
            present = {t for t in self.grid.all() if self._checked(t)[1] is None}
        else:
            present = self._recorded()
        return [
            tile
            for tile in self.grid
            if not present.issuperset(self.grid.written_with(tile))
        ]

    def damaged(self) -> dict[Tile, str]:
        """What is wrong with each tile that is recorded as there, read as a whole."""
        found = {tile: self._checked(tile)[1] for tile in sorted(self._recorded())}
        return {tile: damage for tile, damage in found.items() if damage is not None}

    def bytes_on_disk(self) -> int:
        """What the folder takes."""
        return sum(p.stat().st_size for p in self.path.rglob("*") if p.is_file())

    def has(self, tile: Tile) -> bool:
        """Whether a tile, and its mirror image, are recorded as there."""
        return all(self._record(part).exists() for part in self.grid.written_with(tile))

    @contextmanager
    def working(self) -> Iterator[None]:
        """Says that this process works on the run, until the block ends.

        Where it is the only one, what others left when they were killed is removed.
        """
        with Lock(self.path / RECORDS / ".lock") as lock:
            if lock.alone():
                sweep(self.path)
                for claim in (self.path / RECORDS).glob(".lock.*"):
                    claim.unlink(missing_ok=True)
            lock.share()
            yield

    @contextmanager
    def claim(self, tile: Tile) -> Iterator[bool]:
        """Yields whether the tile is this process's to compute, until the block ends.

        It is not where it is there already, or another process is at it. Claims are
        locks of the operating system: those of a process that dies are gone with it.
        """
        with self._locked(tile) as mine:
            # Whoever held the claim before may just have written the tile.
            yield mine and not self.has(tile)

    def to_compute(self) -> list[Tile]:
        """The tiles that are missing, once those that are damaged are taken back.

        All that is there is read and compared with the checksums.
        """
        for tile in self.grid:
            if self._is_damaged(tile):
                with self._locked(tile) as mine:
                    # Another process may just have mended it, or be at it.
                    if mine and self._is_damaged(tile):
                        self.forget(tile)
        return self.missing()

    def forget(self, tile: Tile) -> None:
        """Takes back that a tile is there, so that it is computed again."""
        for part in self.grid.written_with(tile):
            self._record(part).unlink(missing_ok=True)

    def write(self, tile: Tile, matrices: Matrices) -> None:
        """Writes a tile, and its mirror image; its record last.

        Args:
          tile: its place.
          matrices: by name, its part of ``inner``, ``sq_dist`` and ``upper_bound``.

        Raises:
          ValueError: a matrix has another shape, or values that are not finite.
          OSError: the disk is full, or the like; the tile is then missing as before.
        """
        shape = self._shape(tile)
        for name in MATRICES:
            if matrices[name].shape != shape or not np.isfinite(matrices[name]).all():
                raise ValueError(
                    f"{name} of tile {_key(tile)} must be finite and of shape {shape}, "
                    f"got shape {matrices[name].shape}"
                )
        self.forget(tile)
        for part in self.grid.written_with(tile):
            digest = hashlib.sha256()
            for name in MATRICES:
                values = matrices[name] if part == tile else matrices[name].T
                # A chunk is always of full size on the disk.
                chunk = np.full((self.grid.side,) * 2, np.nan, self._little_endian)
                chunk[: values.shape[0], : values.shape[1]] = values
                _write(self._chunk(name, part), chunk.data)
                digest.update(chunk.data)
            _write(self._record(part), digest.digest())

    def read(self, tile: Tile) -> dict[str, np.ndarray]:
        """The matrices of a tile, by name, once compared with its checksum.

        Raises:
          ValueError: it is not there yet, or damaged; the error names it.
        """
        chunks, damage = self._checked(tile)
        if damage is not None:
            raise ValueError(f"{self.path}: tile {_key(tile)} {damage}; {_MEND}")
        rows, columns = self._shape(tile)
        side = self.grid.side
        return {
            name: np.frombuffer(contents, self._little_endian)
            .reshape(side, side)[:rows, :columns]
            .astype(self.dtype, copy=False)
            for name, contents in chunks.items()
        }

    def sq_norm(self, name: str) -> np.ndarray:
        """The array ``x_sq_norm`` (N,) or ``y_sq_norm`` (M,), likewise.

        Raises:
          ValueError: it is damaged.
        """
        found = self._checked_norm(name)
        if found is None:
            raise ValueError(f"{self.path}: {name} is damaged; {_MEND}")
        return found.astype(self.dtype, copy=False)

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
            for name in MATRICES
        }
        x_sq_norm: Any = self.sq_norm("x_sq_norm")
        y_sq_norm: Any = self.sq_norm("y_sq_norm")
        return PairStatistics(
            **matrices,
            x_sq_norm=x_sq_norm[start:stop],
            y_sq_norm=y_sq_norm,
        )

    @contextmanager
    def _locked(self, tile: Tile) -> Iterator[bool]:
        """Yields whether the tile is this process's alone, until the block ends."""
        with Lock(self.path / RECORDS / f".lock.{_key(tile)}") as lock:
            mine = lock.alone()
            try:
                yield mine
            finally:
                if mine:
                    lock.remove()

    def _is_damaged(self, tile: Tile) -> bool:
        parts = self.grid.written_with(tile)
        return any(
            self._record(part).exists() and self._checked(part)[1] is not None
            for part in parts
        )

    @property
    def _little_endian(self) -> np.dtype:
        return self.dtype.newbyteorder("<")

    def _shape(self, tile: Tile) -> tuple[int, int]:
        x, y = self.grid.x_rows(tile), self.grid.y_rows(tile)
        return x.stop - x.start, y.stop - y.start

    def _chunk(self, name: str, tile: Tile) -> Path:
        return self.path / name / f"c.{_key(tile)}"

    def _record(self, tile: Tile) -> Path:
        return self._chunk(RECORDS, tile).with_name(f"c.{_key(tile)}.0")

    def _recorded(self) -> set[Tile]:
        names = {entry.name for entry in os.scandir(self.path / RECORDS)}
        return {t for t in self.grid.all() if self._record(t).name in names}

    def _checked(self, tile: Tile) -> tuple[dict[str, bytes], str | None]:
        """The chunks of a tile, and what is wrong with them, None where nothing is."""
        try:
            record = self._record(tile).read_bytes()
        except FileNotFoundError:
            return {}, "is not computed yet"
        try:
            chunks = {name: self._chunk(name, tile).read_bytes() for name in MATRICES}
        except FileNotFoundError as error:
            return {}, f"is damaged: {error.filename} does not exist"
        if hashlib.sha256(b"".join(chunks.values())).digest() != record:
            return {}, "is damaged: it differs from its checksum"
        return chunks, None

    def _mend_norms(self, norms: Mapping[str, np.ndarray]) -> None:
        for name, values in norms.items():
            if self._checked_norm(name) is None:
                _write_norm(self.path / name, values.astype(self._little_endian))

    def _checked_norm(self, name: str) -> np.ndarray | None:
        folder = self.path / name
        try:
            contents = (folder / _NORM).read_bytes()
            digest = (folder / _NORM_DIGEST).read_text()
        except (FileNotFoundError, UnicodeDecodeError):
            return None
        if hashlib.sha256(contents).hexdigest() != digest:
            return None
        return np.frombuffer(contents, self._little_endian)


def _key(tile: Tile) -> str:
    return f"{tile.row}.{tile.column}"


def _write_norm(folder: Path, values: np.ndarray) -> None:
    _write(folder / _NORM, values.data)
    digest = hashlib.sha256(values.data).hexdigest()
    _write(folder / _NORM_DIGEST, digest.encode())


def _write(path: Path, contents: bytes | memoryview) -> None:
    # Not waited for: what a power cut takes is missed by its checksum, and waiting for
    # a slow disk six times a tile took up to 7 % of a run at S=256.
    with new_file(path, overwrite=True, wait=False) as temporary:
        temporary.write_bytes(contents)
