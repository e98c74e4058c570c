"""The inputs of a run: read block by block, and identified by their content."""

import dataclasses
import hashlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import jax.numpy as jnp
import numpy as np
from jax.typing import DTypeLike

from semrsm_jax import _checks
from semrsm_jax._representations import accumulation_dtype
from semrsm_jax._rows import Rows, check_unchanged, part, unread
from semrsm_jax.engine._inputs import CENTERS, host_mask, input_name
from semrsm_jax.engine._spec import Report, RunSpec
from semrsm_jax.engine.progress import Tally
from semrsm_jax.pairs.norms import squared_norms
from semrsm_jax.pairs.selection import batches

# Bytes that are read at once while an input is read as a whole.
_READ_BYTES = 2**24


@dataclass(frozen=True, eq=False)
class RunInput:
    """An input of a run that was read once, or a block of its samples.

    Attributes:
      name: for errors.
      rows: (N, S, C), read by slices.
      on_disk: whether the rows are read from a file, not held in memory.
      start: the number of the first sample in the input.
      mean: subtracted from each sample; None: nothing.
      mask: (N, S), True where a token takes part; None: all do.
      digests: (N, 32), the SHA-256 of each sample as it was given.
      sums: (N,), the checksums that later readings are compared with.
      sq_norm: (N,), squared norms of the samples as they are matched.
    """

    name: str
    rows: Any
    on_disk: bool
    start: int
    mean: np.ndarray | None
    mask: np.ndarray | None
    digests: np.ndarray
    sums: np.ndarray
    sq_norm: np.ndarray

    @property
    def sha256(self) -> str:
        """The SHA-256 of `digests`: it identifies the content, whatever its file."""
        return hashlib.sha256(self.digests.tobytes()).hexdigest()

    def key(self, dtype: DTypeLike) -> tuple[Any, ...]:
        """Equal for samples that are matched as the same tokens, with the same mask."""
        arrays = (self.digests, self.mask, self.mean)
        contents = (
            a if a is None else hashlib.sha256(a.tobytes()).digest() for a in arrays
        )
        return self.rows.shape, self.rows.dtype, np.dtype(dtype), *contents

    def block(self, samples: slice) -> "RunInput":
        """Some of the samples, not yet read where they are in a file."""
        held, start = isinstance(self.rows, np.ndarray), samples.start
        return dataclasses.replace(
            self,
            rows=self.rows[samples] if held else part(self.rows, start, samples.stop),
            start=self.start + start,
            mask=None if self.mask is None else self.mask[samples],
            digests=self.digests[samples],
            sums=self.sums[samples],
            sq_norm=self.sq_norm[samples],
        )

    def read(self, dtype: DTypeLike) -> np.ndarray:
        """The tokens (N, S, C) as they are matched.

        Raises:
          InputChangedError: they differ from what they were when the run began.
        """
        return _as_matched(self._checked(), self.mean, dtype)

    def held(self) -> "RunInput":
        """The same samples in memory, to be sent.

        Raises:
          InputChangedError: they differ from what they were when the run began.
        """
        return dataclasses.replace(self, rows=self._checked(), on_disk=False)

    def _checked(self) -> np.ndarray:
        tokens = np.asarray(self.rows)
        check_unchanged(self.name, tokens, self.sums, self.start)
        return tokens


def read_inputs(spec: RunSpec, report: Report) -> list[RunInput]:
    """Reads the inputs of a run: x, and y where there is one.

    Raises:
      ValueError: a value is not finite, or a norm leaves the range of the dtype.
    """
    tally = Tally("reading", sum(side.rows.shape[0] for side in spec.features))
    names = list(map(input_name, spec.names, spec.features))
    content, mean, before = [], None, 0
    for name, features in zip(names, spec.features, strict=True):
        count = features.rows.shape[0]
        digests, sums, mean = read_through(
            name,
            features.rows,
            # The mean is that of the last input, of y where there is one (App. D.1).
            spec.center if len(content) == len(names) - 1 else None,
            lambda done, before=before: report(tally.now(before + done)),
            host_mask(features),
        )
        content.append((digests, sums))
        before += count
    inputs = []
    for name, features, (digests, sums) in zip(
        names, spec.features, content, strict=True
    ):
        rows, mask = features.rows, host_mask(features)
        norms = _norms(name, rows, mean, mask, spec.dtype)
        on_disk = isinstance(rows, Rows)
        inputs.append(
            RunInput(name, rows, on_disk, 0, mean, mask, digests, sums, norms)
        )
    return inputs


def read_through(
    name: str,
    rows: Any,
    center: str | None,
    report: Callable[[int], None] = lambda done: None,
    mask: np.ndarray | None = None,
) -> tuple[np.ndarray, np.ndarray, np.ndarray | None]:
    """Reads all samples once, and checks their values.

    Args:
      name: of the input, for errors.
      rows: (N, S, C), read by slices.
      center: which mean is taken: of each ``"channel"``, or of each ``"position"`` and
        channel; None takes none.
      report: called with the number of samples read.
      mask: (N, S), True where a token takes part in the mean. None: all do.

    Returns:
      The SHA-256 of each sample, (N, 32); their checksums as `check_unchanged` takes
      them, (N,); and the mean, (C,) or (S, C) in float64, None without `center`. It is
      0 at a position that takes part in no sample.

    Raises:
      ValueError: a value is not finite.
    """
    digests, sums, total = [], unread(rows.shape[0]), 0.0
    for samples, block in _blocks(rows):
        where = f"{name}, samples {samples.start} to {samples.stop - 1},"
        _checks.finite(where, block)
        check_unchanged(name, block, sums[samples], samples.start)
        digests.append(_digests(block))
        if center is not None:
            present = True if mask is None else mask[samples, :, None]
            total = total + block.sum(CENTERS[center], np.float64, where=present)
        report(samples.stop)
    if center is None:
        return np.concatenate(digests), sums, None
    present = np.broadcast_to(True if mask is None else mask, rows.shape[:2])
    count = np.maximum(present.sum(CENTERS[center]), 1)[..., None]
    return np.concatenate(digests), sums, total / count


def _norms(
    name: str,
    rows: Any,
    mean: np.ndarray | None,
    mask: np.ndarray | None,
    dtype: DTypeLike,
) -> np.ndarray:
    """The squared norms (N,) of the samples as they are matched."""
    norms = []
    for samples, block in _blocks(rows):
        tokens = _as_matched(block, mean, dtype)
        kept = None if mask is None else jnp.asarray(mask[samples])
        where = f"{name}, samples {samples.start} to {samples.stop - 1},"
        norms.append(np.asarray(squared_norms(where, tokens, kept, jnp.dtype(dtype))))
    return np.concatenate(norms)


def _as_matched(
    tokens: np.ndarray, mean: np.ndarray | None, dtype: DTypeLike
) -> np.ndarray:
    if mean is not None:
        # In the wider dtype: what the mean takes away costs no digit of the rest.
        wide = np.result_type(tokens.dtype, accumulation_dtype(dtype))
        tokens = tokens - mean.astype(wide)
    return _checks.on_host(tokens, dtype)


def _blocks(rows: Any) -> Iterator[tuple[slice, np.ndarray]]:
    sample = rows.dtype.itemsize * int(np.prod(rows.shape[1:]))
    for samples in batches(rows.shape[0], max(1, _READ_BYTES // sample)):
        yield samples, np.asarray(rows[samples])


def _digests(samples: np.ndarray) -> np.ndarray:
    """The SHA-256 (N, 32) of each sample."""
    contiguous = (np.ascontiguousarray(sample) for sample in samples)
    digests = [hashlib.sha256(s.view(np.uint8).data).digest() for s in contiguous]
    size = hashlib.sha256().digest_size
    return np.frombuffer(b"".join(digests), np.uint8).reshape(len(samples), size)
