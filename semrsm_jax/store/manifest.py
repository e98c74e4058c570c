"""What a run is: the description that resuming it takes again, and its arrays."""

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

from semrsm_jax.store._schema import ChunkedArray, Schema, plain
from semrsm_jax.store.tiles import TileGrid

KIND = "semrsm_jax run, version 2"
MATRICES = ("inner", "sq_dist", "upper_bound")


class Input(NamedTuple):
    """One side of a run: whose content, whatever its file is called.

    Attributes:
      sha256: of the samples' own SHA-256, one after the other.
      shape: (N, S, C).
      dtype: of the features as they were given.
      mask: the SHA-256 of the mask of tokens; None where there is none.
      preprocessing: what is done to the features before they are matched.
      sample_ids: names of the samples; None where they have none.
    """

    sha256: str
    shape: tuple[int, int, int]
    dtype: str
    mask: str | None = None
    preprocessing: dict[str, Any] | None = None
    sample_ids: tuple[str, ...] | None = None


@dataclass(frozen=True)
class Manifest:
    """The description of a run; only the same one may go on with what is there.

    Attributes:
      x: the input whose samples are the rows.
      y: that of the columns; None: x with itself.
      layer: which layer of the network this is; None where there is but one.
      matcher: name and settings.
      bound: of the further bound; None where there is none.
      dtype: of the statistics.
      tile: rows and columns of a tile.
      triangle: only tiles on and above the diagonal are computed.
      diagonal: whether samples are matched with themselves.
      semrsm_jax: the version of this package, since another may match otherwise.
      soft: whether ``column_error`` is among the matrices.
    """

    x: Input
    y: Input | None
    layer: str | None
    matcher: dict[str, Any]
    bound: dict[str, Any] | None
    dtype: str
    tile: int
    triangle: bool
    diagonal: bool
    semrsm_jax: str
    soft: bool = False

    @property
    def matrices(self) -> tuple[str, ...]:
        """The names of the matrices of the pair statistics."""
        return (*MATRICES, *(["column_error"] if self.soft else []))

    @cached_property
    def columns(self) -> Input:
        """The input whose samples are the columns."""
        return self.x if self.y is None else self.y

    @cached_property
    def grid(self) -> TileGrid:
        """The tiles."""
        return TileGrid(
            self.x.shape[0],
            self.columns.shape[0],
            self.tile,
            self.triangle,
            self.diagonal,
        )

    def attributes(self) -> dict[str, Any]:
        """The description as JSON gives it back."""
        fields = {f.name: getattr(self, f.name) for f in dataclasses.fields(self)}
        for side in ("x", "y"):
            if fields[side] is not None:
                fields[side] = fields[side]._asdict()
        return plain(fields)

    @classmethod
    def from_attributes(cls, attributes: Mapping[str, Any]) -> "Manifest":
        """The description that `attributes` gave.

        Raises:
          AttributeError, KeyError, TypeError, ValueError: they are damaged.
        """
        fields = dict(attributes)
        for side in ("x", "y"):
            if fields[side] is not None:
                given = Input(**fields[side])
                ids = None if given.sample_ids is None else tuple(given.sample_ids)
                fields[side] = given._replace(shape=tuple(given.shape), sample_ids=ids)
        return cls(**fields)

    def schema(self, made: Mapping[str, Any]) -> Schema:
        """The store of the run.

        Args:
          made: how the run is made, where that may differ when it is resumed.
        """
        grid, side = self.grid, self.tile
        matrix = ChunkedArray(
            (grid.rows, grid.columns), (side, side), self.dtype, ("x", "y")
        )
        return Schema(
            KIND,
            {**self.attributes(), "made": plain(made)},
            grid.shape,
            ("x_tile", "y_tile"),
            dict.fromkeys(self.matrices, matrix),
            {
                "x_sq_norm": ChunkedArray(
                    (grid.rows,), (grid.rows,), self.dtype, ("x",)
                ),
                "y_sq_norm": ChunkedArray(
                    (grid.columns,), (grid.columns,), self.dtype, ("y",)
                ),
            },
        )


def described(settings: Any) -> dict[str, Any]:
    """A frozen dataclass, such as a matcher, by its name and settings.

    Whatever else is callable is described by its ``repr``.
    """
    name = type(settings).__name__
    if dataclasses.is_dataclass(settings) and not isinstance(settings, type):
        names = [field.name for field in dataclasses.fields(settings)]
        values = {key: getattr(settings, key) for key in names}
        # A matcher made of others is described by their names too.
        return {"name": name} | {
            key: described(value) if dataclasses.is_dataclass(value) else value
            for key, value in values.items()
        }
    return {"name": name, "repr": repr(settings)}
