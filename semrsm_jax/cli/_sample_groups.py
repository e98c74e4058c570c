"""Which samples depend on each other: ``--groups`` of every command with intervals."""

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Any

import typer

from semrsm_jax.comparison.grouping import carried_groups
from semrsm_jax.store.csv_rows import read_csv_rows

NONE, FOLDER, PREFIX = "none", "folder", "prefix"
_ID = ("id", "ids")


def groups_of_rsms(
    rsms: Mapping[str, Any],
    wanted: str | None,
    labels: Path | None,
    asked: bool,
    drop: bool,
) -> tuple[str, ...] | None:
    """The group of each sample, by ``--groups``, or else as the RSMs carry it.

    `wanted` is a column of `labels`; folder or prefix, of the ids; none; or None.
    `asked`: intervals or p-values are computed, so that groups matter. `drop`: pairs
    within groups are left out, which needs groups.
    """
    if labels is not None and wanted is None:
        raise ValueError("--labels needs --groups, the column that has the groups")
    first = next(iter(rsms.values()))
    ids = getattr(first, "x_ids", None)
    carried: Any = carried_groups(None, *rsms.values())
    groups = groups_of(wanted, labels, ids, first.shape[0], carried, asked)
    if drop and groups is None:
        raise ValueError("--drop-within needs --groups")
    return groups


def groups_of(
    wanted: str | None,
    labels: Path | None,
    ids: Sequence[str] | None,
    samples: int,
    carried: Sequence[str] | None,
    asked: bool,
) -> tuple[str, ...] | None:
    """The group of each sample; asks for it where ids look like repeats."""
    if wanted is None:
        if carried is None and asked and ids is not None:
            _ask(ids)
        return None if carried is None else tuple(carried)
    if wanted == NONE:
        return None
    if wanted in (FOLDER, PREFIX):
        if ids is None:
            raise ValueError(
                f"--groups {wanted} needs ids of the samples, the RSM has none"
            )
        return groups_of_ids(ids, wanted)
    if labels is None:
        raise ValueError(
            f"--groups {wanted!r} needs --labels, a .csv that has this column; without "
            "it is folder or prefix (of the ids), or none"
        )
    return _column(labels, wanted, ids, samples)


def of_groups(groups: Sequence[str] | None) -> str:
    """The groups, in a line that tells the number of samples."""
    return "" if groups is None else f", {len(set(groups))} groups"


def groups_of_ids(ids: Sequence[str], by: str) -> tuple[str, ...]:
    """The folder of each id, or what stands before its last number.

    Args:
      ids: names of samples, such as ``"kitchen/scene3_crop2.png"``.
      by: ``"folder"`` or ``"prefix"``.
    """
    paths = [PurePosixPath(each.replace("\\", "/")) for each in ids]
    if by == FOLDER:
        return tuple(str(path.parent) for path in paths)
    last = re.compile(r"[\W_]*[^\W\d_]*[\W_]*\d+$")
    return tuple(str(path.parent / last.sub("", path.stem)) for path in paths)


def _ask(ids: Sequence[str]) -> None:
    """One line on stderr where ids look like several samples of each source."""
    for by in (PREFIX, FOLDER):
        sizes = Counter(groups_of_ids(ids, by))
        if 2 <= len(sizes) <= len(ids) / 2:
            example = next(iter(sizes))
            typer.secho(
                f"The ids look like {len(sizes)} groups by {by}, such as {example!r}; "
                "if their samples depend on each other, as crops of one photograph do, "
                f"give --groups {by}; --groups none says that they do not",
                err=True,
            )
            return


def _column(
    path: Path, name: str, ids: Sequence[str] | None, samples: int
) -> tuple[str, ...]:
    """A column of a file, in the order of the samples."""
    header, rows = read_csv_rows(path)
    keys = [each.strip().casefold() for each in header]
    if keys.count(name.strip().casefold()) != 1:
        raise ValueError(
            f"--groups must name a column of {path}, got {name!r}; it has "
            f"{', '.join(header)}"
        )
    place = keys.index(name.strip().casefold())
    values = [row[place].strip() for row in rows]
    own = next((keys.index(key) for key in _ID if key in keys), None)
    if own is not None and ids is not None:
        named = [row[own].strip() for row in rows]
        by_id = dict(zip(named, values, strict=True))
        if len(by_id) < len(named):
            (twice, count), *_ = Counter(named).most_common()
            raise ValueError(
                f"{path} must have one row for each id, got {count} of {twice!r}"
            )
        missing = [each for each in ids if each not in by_id]
        if missing:
            raise ValueError(
                f"{path} must have a row for each sample, by its id; {len(missing)} of "
                f"{len(ids)} are missing, for example {missing[0]!r}"
            )
        values = [by_id[each] for each in ids]
    if len(values) != samples:
        raise ValueError(
            f"{path} must have a row for each of {samples} samples, got {len(values)}"
        )
    if not all(values):
        raise ValueError(f"{path}: the group of sample {values.index('')} is empty")
    return tuple(values)
