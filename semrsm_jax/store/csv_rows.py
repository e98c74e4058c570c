"""Rows of a CSV file."""

import csv
from pathlib import Path


def read_csv_rows(path: Path) -> tuple[list[str], list[list[str]]]:
    """Reads a CSV file in UTF-8: its header, and rows that have as many fields.

    Raises:
      ValueError: the file is missing, cannot be read, is no text, holds no row below
        its header, or a row of another length.
    """
    try:
        with path.open(newline="", encoding="utf-8-sig") as stream:
            rows = list(csv.reader(stream))
    except FileNotFoundError as error:
        raise ValueError(f"{path} does not exist") from error
    except OSError as error:
        raise ValueError(f"{path} cannot be read: {error.strerror or error}") from error
    except (UnicodeDecodeError, csv.Error) as error:
        raise ValueError(f"{path} is not a CSV file in UTF-8: {error}") from error
    while rows and not any(map(str.strip, rows[-1])):  # a blank last line
        rows.pop()
    if len(rows) < 2:
        raise ValueError(f"{path} must hold a header and rows, got {len(rows)} lines")
    header, *rows = rows
    for number, row in enumerate(rows, 2):
        if len(row) != len(header):
            raise ValueError(
                f"{path}, row {number}, must have {len(header)} fields, got {len(row)}"
            )
    return header, rows


def names_in(
    path: Path, rows: list[list[str]], column: int, name: str
) -> tuple[str, ...]:
    """A column of names; ValueError where one is empty."""
    names = tuple(row[column].strip() for row in rows)
    if "" in names:
        raise ValueError(
            f"{path}, row {names.index('') + 2}, must hold a name in the column "
            f"{name!r}, got an empty field"
        )
    return names


def numbers(path: Path, number: int, fields: list[str]) -> list[float]:
    """The fields of a row as numbers."""
    try:
        return [float(field) for field in fields]
    except ValueError as error:
        raise ValueError(f"{path}, row {number}, must hold numbers: {error}") from error
