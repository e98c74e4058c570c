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
from semrsm_jax._rows import Rows, check_unchanged, part, unread
from semrsm_jax.pairs.selection import batches
from semrsm_jax.pairs.statistics import squared_norms

# Bytes that are read at once while the whole input is looked through.
_READ_BYTES = 2**24

CENTERS = {"channel": (0, 1), "position": (0,)}


@dataclass(frozen=True, eq=False)
class Block:
    """Some samples of an input, read where and when they are needed.

    Attributes:
      name: of the input, for errors.
      rows: (n, S, C), what they are read from.
      on_disk: whether that is a file, rather than memory of this process.
      start: the number of the first sample.
      digest: the SHA-256 of the samples' own SHA-256.
      sums: (n,), what `check_unchanged` compares them with.
      mean: subtracted from each sample; None: nothing.
      mask: (n, S); None: all tokens take part.
      sq_norm: (n,), the squared norms.
    """

    name: str
    rows: Any
    on_disk: bool
    start: int
    digest: bytes
    sums: np.ndarray
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

    def held(self) -> "Block":
        """The same block with its samples in memory, to be sent.

        Raises:
          InputChangedError: as `read`.
        """
        return dataclasses.replace(self, rows=self._checked(), on_disk=False)

    def _checked(self) -> np.ndarray:
        tokens = np.asarray(self.rows)
        check_unchanged(self.name, tokens, self.sums, self.start)
        return tokens


@dataclass(frozen=True, eq=False)
class Samples:
    """One input of a run, looked through once.

    Attributes:
      name: for errors.
      rows: (N, S, C): a slice of the first axis reads these samples.
      mean: subtracted from each sample; None: nothing.
      mask: (N, S); None: all tokens take part.
      digests: (N, 32), the SHA-256 of each sample as it was given.
      sums: (N,), see `check_unchanged`.
      sq_norm: (N,), squared norms of what is matched.
    """

    name: str
    rows: Any
    mean: np.ndarray | None
    mask: np.ndarray | None
    digests: np.ndarray
    sums: np.ndarray
    sq_norm: np.ndarray

    @property
    def sha256(self) -> str:
        """The content's own name, whatever file it is in."""
        return hashlib.sha256(self.digests.tobytes()).hexdigest()

    def block(self, samples: slice) -> Block:
        """Some of the samples."""
        held = isinstance(self.rows, np.ndarray)
        return Block(
            self.name,
            self.rows[samples]
            if held
            else part(self.rows, samples.start, samples.stop),
            isinstance(self.rows, Rows),
            samples.start,
            hashlib.sha256(self.digests[samples].tobytes()).digest(),
            self.sums[samples],
            self.mean,
            None if self.mask is None else self.mask[samples],
            self.sq_norm[samples],
        )


class Survey(NamedTuple):
    """What one look through an input tells.

    Attributes:
      digests: (N, 32), the SHA-256 of each sample.
      sums: (N,), what `check_unchanged` compares later readings with.
      mean: (C,) or (S, C), in float64; None where none was asked for.
    """

    digests: np.ndarray
    sums: np.ndarray
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
    sums, total = unread(rows.shape[0]), np.float64(0.0)
    for samples, block in _blocks(rows):
        where = f"{name}, samples {samples.start} to {samples.stop - 1},"
        _checks.finite(where, block)
        check_unchanged(name, block, sums[samples], samples.start)
        for number, sample in enumerate(block, samples.start):
            digests[number] = np.frombuffer(_digest(sample), np.uint8)
        if center is not None:
            total = total + block.sum(axis=CENTERS[center], dtype=np.float64)
        report(samples.stop)
    if center is None:
        return Survey(digests, sums, None)
    count = np.prod([rows.shape[axis] for axis in CENTERS[center]])
    return Survey(digests, sums, np.asarray(total / count))


def norms(
    rows: Any, mean: np.ndarray | None, mask: np.ndarray | None, dtype: DTypeLike
) -> np.ndarray:
    """The squared norms (N,) of the samples as they are matched."""
    blocks = []
    for samples, block in _blocks(rows):
        tokens = block.astype(dtype, copy=False)
        if mean is not None:
            tokens = (tokens - mean).astype(dtype)
        kept = None if mask is None else jnp.asarray(mask[samples])
        blocks.append(np.asarray(squared_norms(tokens, kept, jnp.dtype(dtype))))
    return np.concatenate(blocks)


def _blocks(rows: Any) -> Iterator[tuple[slice, np.ndarray]]:
    sample = rows.dtype.itemsize * int(np.prod(rows.shape[1:]))
    size = max(1, _READ_BYTES // sample)
    for samples in batches(rows.shape[0], size):
        yield samples, np.asarray(rows[samples])


def _digest(sample: np.ndarray) -> bytes:
    return hashlib.sha256(np.ascontiguousarray(sample).view(np.uint8).data).digest()
