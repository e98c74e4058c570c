"""One chunk in a file: its values, not compressed, and their CRC-32C behind them."""

from pathlib import Path

import google_crc32c
import numpy as np

from semrsm_jax.store._schema import ChunkedArray
from semrsm_jax.store.output import new_file

_TRAILER = 4  # bytes of the checksum
_PIECE = 2**20  # bytes read at a time where only the checksum is wanted


def check_size(path: Path, array: ChunkedArray) -> tuple[int, int]:
    """Compares the size of a chunk's file with that of the chunks of the array.

    Returns:
      The size, and the time of the last change in ns.

    Raises:
      FileNotFoundError: it is not there.
      ValueError: it has another size.
    """
    status, expected = path.stat(), array.chunk_bytes + _TRAILER
    if status.st_size != expected:
        raise ValueError(f"{path} has {status.st_size} bytes, expected {expected}")
    return status.st_size, status.st_mtime_ns


def check_chunk(path: Path, array: ChunkedArray, expected: int) -> None:
    """Compares a chunk with its checksum, a piece at a time.

    Raises:
      FileNotFoundError: it is not there.
      ValueError: it is damaged.
    """
    with path.open("rb") as stream:
        crc, left = 0, array.chunk_bytes
        while left and (piece := stream.read(min(_PIECE, left))):
            crc, left = google_crc32c.extend(crc, piece), left - len(piece)
        if left or crc != expected or stream.read() != _trailer(crc):
            raise ValueError(f"{path} differs from its checksum")


def read_chunk(path: Path, array: ChunkedArray) -> np.ndarray:
    """A chunk, of full size, once compared with its checksum.

    Raises:
      FileNotFoundError: it is not there.
      ValueError: it is damaged.
    """
    check_size(path, array)
    contents = path.read_bytes()
    values, trailer = contents[:-_TRAILER], contents[-_TRAILER:]
    if _trailer(google_crc32c.value(values)) != trailer:
        raise ValueError(f"{path} differs from its checksum")
    return np.frombuffer(values, array.stored_dtype).reshape(array.chunks)


def write_chunk(path: Path, values: np.ndarray, array: ChunkedArray) -> int:
    """Writes a chunk in one step, of full size as all are; returns its checksum."""
    if values.shape != array.chunks:
        whole = np.full(array.chunks, np.nan, array.stored_dtype)
        whole[tuple(map(slice, values.shape))] = values
        values = whole
    contents = values.astype(array.stored_dtype, copy=False).tobytes()
    crc = google_crc32c.value(contents)
    # Not waited for: what a power cut takes is missed by its checksum, and waiting for
    # a slow disk six times a tile took up to 7 % of a run at S=256.
    with new_file(path, overwrite=True, wait=False) as temporary:
        with temporary.open("wb") as stream:
            stream.write(contents)
            stream.write(_trailer(crc))
    return crc


def _trailer(crc: int) -> bytes:
    return crc.to_bytes(_TRAILER, "little")
