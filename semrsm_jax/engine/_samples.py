"""The inputs of a run: read block by block, and known by their content."""

import dataclasses
import hashlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np
from jax.typing import DTypeLike

from semrsm_jax import _checks
from semrsm_jax._rows import Rows
from semrsm_jax.pairs.selection import batches
from semrsm_jax.pairs.statistics import squared_norms

# Bytes that are read at once while the whole input is looked through.
_READ_BYTES = 2**24

CENTERS = {"channel": (0, 1), "position": (0,)}


class InputChangedError(ValueError):
    """An input is no longer what it was when the run began."""


@dataclass(frozen=True, eq=False)
class Block:
    """Some samples of an input, read where and when they are needed.

    Attributes:
      name: of the input, for errors.
      rows: what they are read from, by a slice.
      start: the first sample.
      stop: the one after the last.
      digest: the SHA-256 of the samples' own SHA-256.
      mean: subtracted from each sample; None: nothing.
      mask: (stop - start, S); None: all tokens take part.
      sq_norm: (stop - start,), the squared norms.
    """

    name: str
    rows: Any
    start: int
    stop: int
    digest: bytes
    mean: np.ndarray | None
    mask: np.ndarray | None
    sq_norm: np.ndarray

    def read(self, dtype: DTypeLike) -> np.ndarray:
        """The tokens (samples, S, C), once compared with what they were.

        Raises:
          InputChangedError: they are others.
        """
        tokens = self._checked()
        tokens = tokens.astype(dtype, copy=False)
        return tokens if self.mean is None else (tokens - self.mean).astype(dtype)

    @property
    def on_disk(self) -> bool:
        """Whether the samples are read from a file, rather than held in memory."""
        return isinstance(self.rows, Rows)

    def held(self) -> "Block":
        """The same block with its samples in memory, to be sent.

        Raises:
          InputChangedError: as `read`.
        """
        return dataclasses.replace(self, rows=_Held(self._checked(), self.start))

    def _checked(self) -> np.ndarray:
        tokens = np.asarray(self.rows[self.start : self.stop])
        found = hashlib.sha256(b"".join(map(_digest, tokens))).digest()
        if len(tokens) != self.stop - self.start or found != self.digest:
            raise InputChangedError(
                f"{self.name} changed during the run: samples {self.start} to "
                f"{self.stop - 1} are not what they were when it began"
            )
        return tokens


class _Held(NamedTuple):
    """Samples in memory, under the numbers that they have in the whole."""

    rows: np.ndarray
    first: int

    def __getitem__(self, part: Any) -> np.ndarray:
        return self.rows[part.start - self.first : part.stop - self.first]


@dataclass(frozen=True, eq=False)
class Samples:
    """One input of a run, looked through once.

    Attributes:
      name: for errors.
      rows: (N, S, C): a slice of the first axis reads these samples.
      mean: subtracted from each sample; None: nothing.
      mask: (N, S); None: all tokens take part.
      digests: (N, 32), the SHA-256 of each sample as it was given.
      sq_norm: (N,), squared norms of what is matched.
    """

    name: str
    rows: Any
    mean: np.ndarray | None
    mask: np.ndarray | None
    digests: np.ndarray
    sq_norm: np.ndarray

    @property
    def sha256(self) -> str:
        """The content's own name, whatever file it is in."""
        return hashlib.sha256(self.digests.tobytes()).hexdigest()

    def block(self, part: slice) -> Block:
        """Some of the samples."""
        return Block(
            self.name,
            self.rows,
            part.start,
            part.stop,
            hashlib.sha256(self.digests[part].tobytes()).digest(),
            self.mean,
            None if self.mask is None else self.mask[part],
            self.sq_norm[part],
        )


class Survey(NamedTuple):
    """What one look through an input tells.

    Attributes:
      digests: (N, 32), the SHA-256 of each sample.
      mean: (C,) or (S, C), in float64; None where none was asked for.
    """

    digests: np.ndarray
    mean: np.ndarray | None


def survey(
    name: str, rows: Any, center: str | None, report: Callable[[int], None]
) -> Survey:
    """Looks through all samples once.

    Args:
      name: of the input, for errors.
      rows: (N, S, C).
      center: which mean is taken: that of each ``"channel"``, or of each
        ``"position"`` and channel; None takes none.
      report: called with the number of samples read.

    Raises:
      ValueError: a value is not finite.
    """
    digests = np.empty((rows.shape[0], hashlib.sha256().digest_size), np.uint8)
    total: Any = 0.0
    for part, block in _parts(rows):
        _checks.finite(f"{name}, samples {part.start} to {part.stop - 1},", block)
        for number, sample in enumerate(block, part.start):
            digests[number] = np.frombuffer(_digest(sample), np.uint8)
        if center is not None:
            total = total + block.sum(axis=CENTERS[center], dtype=np.float64)
        report(part.stop)
    if center is None:
        return Survey(digests, None)
    summed = np.prod([rows.shape[axis] for axis in CENTERS[center]])
    return Survey(digests, total / summed)


def norms(
    rows: Any, mean: np.ndarray | None, mask: np.ndarray | None, dtype: DTypeLike
) -> np.ndarray:
    """The squared norms (N,) of the samples as they are matched."""
    found = []
    for part, block in _parts(rows):
        tokens = block.astype(dtype, copy=False)
        if mean is not None:
            tokens = (tokens - mean).astype(dtype)
        kept = None if mask is None else jnp.asarray(mask[part])
        found.append(np.asarray(squared_norms(tokens, kept, jnp.dtype(dtype))))
    return np.concatenate(found)


def _parts(rows: Any) -> Iterator[tuple[slice, np.ndarray]]:
    sample = rows.dtype.itemsize * int(np.prod(rows.shape[1:]))
    size = max(1, _READ_BYTES // sample)
    for part in batches(rows.shape[0], size):
        yield part, np.asarray(rows[part])


def _digest(sample: np.ndarray) -> bytes:
    return hashlib.sha256(np.ascontiguousarray(sample).view(np.uint8).data).digest()
