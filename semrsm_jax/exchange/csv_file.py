"""RSMs as CSV: ids of the columns in the first row, of the rows in the first column."""

import csv
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from semrsm_jax import _checks
from semrsm_jax._ids import checked_ids, matrix_of
from semrsm_jax.exchange.labeled import LabeledRSM, checked, numbered, own_ids
from semrsm_jax.store import check_output, new_file
from semrsm_jax.store.csv_rows import numbers, read_csv_rows

# Digits that give a float of so many bytes back exactly.
_DIGITS = {4: 9, 8: 17}
# Rows read from an RSM at a time.
_ROWS = 256


def write_csv(
    path: str | os.PathLike,
    K: Any,
    x_ids: Sequence[Any] | None = None,
    y_ids: Sequence[Any] | None = None,
    *,
    overwrite: bool = False,
) -> None:
    """Writes an RSM as CSV, completely or not at all; it reads back bit for bit.

    Args:
      path: ends in ``.csv``.
      K: RSM (N, M), or anything with ``shape`` and rows by slices, read some rows at a
        time.
      x_ids: names of the rows; None: those of `K`, or else their numbers, from 0.
      y_ids: names of the columns; None: those of `K`, or else their numbers, from 0.
      overwrite: replace an existing file.

    Raises:
      TypeError: `K` is not real.
      ValueError: other than two axes, ids that do not fit or are not unique, or as
        `check_output`.
      OSError: the disk is full, or the like; no file is left behind.
    """
    path = check_output(path, overwrite, suffixes=(".csv",))
    x_ids, y_ids = own_ids(x_ids, y_ids, K)
    K = _checks.with_shape(matrix_of(K))
    if len(K.shape) != 2:
        raise ValueError(f"K must have 2 axes (N, M), got shape {tuple(K.shape)}")
    _checks.non_empty("K", K, "N M")
    rows = numbered(checked_ids("x_ids", x_ids, K.shape[0]), K.shape[0])
    columns = numbered(checked_ids("y_ids", y_ids, K.shape[1]), K.shape[1])
    with (
        new_file(path, overwrite) as temporary,
        temporary.open("w", newline="", encoding="utf-8") as stream,
    ):
        writer = csv.writer(stream)
        writer.writerow(["", *columns])
        for start in range(0, len(rows), _ROWS):
            block, _, _ = checked("K", K[start : start + _ROWS], None, None)
            digits = _DIGITS.get(np.result_type(block.dtype, np.float32).itemsize, 17)
            for name, values in zip(rows[start:], block.tolist(), strict=False):
                writer.writerow([name, *(f"{value:.{digits}g}" for value in values)])


def read_csv(path: str | os.PathLike) -> LabeledRSM:
    """Reads a CSV file as `write_csv` makes it, or another tool with its layout.

    Args:
      path: the file.

    Returns:
      The matrix in float64, and the names.

    Raises:
      ValueError: the file is missing or not text, has no values, a row of another
        length, a field that is not a number, or names that are not unique.
    """
    path = Path(path)
    header, rows = read_csv_rows(path)
    if len(header) < 2:
        raise ValueError(f"{path} must hold values beside the ids of its rows")
    values = np.array(
        [numbers(path, line, row[1:]) for line, row in enumerate(rows, 2)]
    )
    rsm, x_ids, y_ids = checked(str(path), values, [row[0] for row in rows], header[1:])
    return LabeledRSM(rsm, x_ids, y_ids)
