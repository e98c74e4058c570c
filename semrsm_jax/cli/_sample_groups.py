"""Which samples depend on each other: ``--groups`` of every command with intervals."""

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Annotated, Any, Literal

import numpy as np
import typer

from semrsm_jax._ids import check_unique
from semrsm_jax.cli import options
from semrsm_jax.comparison.grouping import carried_groups
from semrsm_jax.store import Labels, align_labels
from semrsm_jax.store.csv_rows import names_in, read_csv_rows
from semrsm_jax.store.label_file import column_key

NONE, FOLDER, PREFIX = "none", "folder", "prefix"
_ID = ("id", "ids")


@dataclass(frozen=True)
class ResamplingOptions:
    """How samples are resampled; the help of each option says what it is."""

    bootstrap: options.Bootstrap = None
    groups: Annotated[
        str | None,
        options.statistics_option(
            metavar="COLUMN",
            help="Which samples depend on each other, as crops of one photograph: a "
            "column of --labels; folder or prefix, of their ids; or none. Whole groups "
            "are resampled and permuted. Default: the groups that the RSMs carry.",
        ),
    ] = None
    labels: Annotated[
        Path | None,
        options.statistics_option(
            "--labels",
            help="A .csv with a row a sample and a column of groups; rows are matched "
            "by the column id, where the RSMs have ids, else by their order.",
        ),
    ] = None
    drop_within: Annotated[
        bool,
        options.statistics_option(
            "--drop-within", help="Leave pairs within a group out of every value."
        ),
    ] = False
    confidence: options.Confidence = 0.95
    seed: options.Seed = 0

    @property
    def inputs(self) -> list[Path]:
        """The files that are read."""
        return [self.labels] if self.labels else []

    @property
    def within_groups(self) -> Literal["keep", "drop"]:
        """What becomes of pairs within a group."""
        return "drop" if self.drop_within else "keep"

    def members(self, rsms: Mapping[str, Any], asked: bool) -> tuple[str, ...] | None:
        """The group of each sample, by ``--groups``, or else as the RSMs carry it.

        `asked`: intervals or p-values are computed, so that groups matter.
        """
        if self.labels is not None and self.groups is None:
            raise ValueError("--labels needs --groups, the column that has the groups")
        first, *_ = rsms.values()
        # All are in the order of the first one that has ids.
        named = (getattr(each, "x_ids", None) for each in rsms.values())
        ids = next(filter(None, named), None)
        carried: Any = None if self.groups else carried_groups(None, *rsms.values())
        count = first.shape[0]
        members = groups_of(self.groups, self.labels, ids, count, carried, asked)
        if self.drop_within and members is None:
            raise ValueError("--drop-within needs --groups")
        return members

    def settings(self, members: Sequence[str] | None, samples: int) -> dict[str, Any]:
        """Itself as inference over RSMs takes it, with the group of each sample."""
        return {
            "key": self.seed,
            "resamples": self.bootstrap,
            "confidence": self.confidence,
            # None would be the groups that the RSMs carry.
            "groups": np.arange(samples) if self.groups == NONE else members,
            "within_groups": self.within_groups,
        }


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
) -> tuple[str, ...] | None:
    """A column of a file, in the order of the samples."""
    header, rows = read_csv_rows(path)
    keys = [column_key(each) for each in header]
    if keys.count(column_key(name)) != 1:
        raise ValueError(
            f"--groups must name a column of {path}, got {name!r}; it has "
            f"{', '.join(header)}"
        )
    groups = names_in(path, rows, keys.index(column_key(name)), name)
    own = next((keys.index(key) for key in _ID if key in keys), None)
    named = None if own is None else names_in(path, rows, own, "id")
    check_unique(f"{path}: ids", named)
    labels = Labels(np.empty((len(rows), 0)), ids=named, groups=groups)
    return align_labels(labels, ids, samples, str(path)).groups
