"""What a run is: the description that resuming it takes again, and its arrays."""

import dataclasses
import json
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from semrsm_jax.store._zarr_metadata import ZarrArray, read_described
from semrsm_jax.store.tiles import TileGrid

KIND = "semrsm_jax run, version 1"

# The array of the completion records, beside those of the statistics.
RECORDS = "tile_sha256"
_DIGEST = 32


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

    @cached_property
    def arrays(self) -> dict[str, ZarrArray]:
        """The arrays of the group, by name."""

        def array(shape, chunks, dtype):
            return ZarrArray(shape, chunks, np.dtype(dtype), ("bytes",), 3)

        grid, side = self.grid, self.tile
        matrix = array((grid.rows, grid.columns), (side, side), self.dtype)
        return {
            **dict.fromkeys(("inner", "sq_dist", "upper_bound"), matrix),
            "x_sq_norm": array((grid.rows,), (grid.rows,), self.dtype),
            "y_sq_norm": array((grid.columns,), (grid.columns,), self.dtype),
            RECORDS: array((*grid.shape, _DIGEST), (1, 1, _DIGEST), "uint8"),
        }

    def write(self, path: Path, made: Mapping[str, Any]) -> None:
        """Writes the metadata of the group and its arrays into an empty folder.

        Args:
          path: the folder.
          made: how the run is made, where that may differ when it is resumed.
        """
        import zarr

        attributes = {"kind": KIND, **_plain(self), "made": _plain(made)}
        group = zarr.create_group(path, zarr_format=3, attributes=attributes)
        for name, array in self.arrays.items():
            group.create_array(
                name,
                shape=array.shape,
                chunks=array.chunks,
                dtype=array.dtype,
                # Not compressed: the last bits of a similarity are noise.
                compressors=None,
                filters=None,
                # What is not computed yet is not a number.
                fill_value=0 if name == RECORDS else np.nan,
                chunk_key_encoding={"name": "default", "separator": "."},
                dimension_names=_DIMENSIONS[name],
            )
        with warnings.catch_warnings():
            # Not part of the format's text yet; xarray warns where it is missing.
            warnings.simplefilter("ignore")
            zarr.consolidate_metadata(path, zarr_format=3)
        # Older zarr lists the arrays as the disk does: the same run, the same bytes.
        file = path / "zarr.json"
        described = json.loads(file.read_text())
        members = described["consolidated_metadata"]["metadata"]
        described["consolidated_metadata"]["metadata"] = dict(sorted(members.items()))
        file.write_text(json.dumps(described, indent=2))

    @classmethod
    def read(cls, path: Path) -> "tuple[Manifest, dict[str, Any]]":
        """The description of the run in a folder, and how it is made.

        Raises:
          ValueError: there is none, or its arrays are not as it says.
        """

        def parse(attributes: dict[str, Any]) -> "tuple[Manifest, dict[str, Any]]":
            made = dict(attributes.pop("made"))
            for side in ("x", "y"):
                if attributes[side] is not None:
                    attributes[side] = _input(attributes[side])
            return cls(**attributes), made

        return read_described(path, KIND, "run", parse, lambda found: found[0].arrays)

    def refuse_other(self, path: Path, found: "Manifest") -> None:
        """Raises ValueError, naming what differs from the run at `path`."""
        differences = [
            f"{name} {there}, not {wanted}"
            for name, there, wanted in _differences(found, self)
        ]
        if differences:
            raise ValueError(
                f"{path} holds another run, of {'; '.join(differences)}. Write to "
                "another folder, or remove this one"
            )


def described(settings: Any) -> dict[str, Any]:
    """A frozen dataclass, such as a matcher, by its name and settings.

    Whatever else is callable is described by its ``repr``.
    """
    name = type(settings).__name__
    if dataclasses.is_dataclass(settings) and not isinstance(settings, type):
        names = [field.name for field in dataclasses.fields(settings)]
        values = {key: getattr(settings, key) for key in names}
        # A matcher made of others is told by their names too.
        return {"name": name} | {
            key: described(value) if dataclasses.is_dataclass(value) else value
            for key, value in values.items()
        }
    return {"name": name, "repr": repr(settings)}


_DIMENSIONS = {
    **dict.fromkeys(("inner", "sq_dist", "upper_bound"), ("x", "y")),
    "x_sq_norm": ("x",),
    "y_sq_norm": ("y",),
    RECORDS: ("x_tile", "y_tile", "byte"),
}


def _input(fields: Mapping[str, Any]) -> Input:
    found = Input(**fields)
    ids = found.sample_ids
    return found._replace(
        shape=tuple(found.shape), sample_ids=None if ids is None else tuple(ids)
    )


def _plain(value: Any) -> Any:
    """As JSON gives it back: mappings and lists alone."""
    if isinstance(value, Manifest):
        value = {f.name: getattr(value, f.name) for f in dataclasses.fields(value)}
    if isinstance(value, Input):
        value = value._asdict()
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    return json.loads(json.dumps(value))


def _differences(found: Any, wanted: Any, name: str = "") -> list[tuple[str, Any, Any]]:
    """Name, value there and value wanted of all that differs, short."""
    if isinstance(found, Manifest | Input):
        found, wanted = _plain(found), _plain(wanted)
    if not isinstance(found, dict) or not isinstance(wanted, dict):
        if found == wanted:
            return []
        return [(name, _short(found), _short(wanted))]
    pairs = ((key, found.get(key), wanted.get(key)) for key in {**found, **wanted})
    return [
        difference
        for key, there, here in pairs
        for difference in _differences(there, here, f"{name} {key}".strip())
    ]


def _short(value: Any) -> str:
    if isinstance(value, dict) and "sha256" in value:
        return f"features of SHA-256 {_short(value['sha256'])}"
    if isinstance(value, list) and len(value) > 4:
        return f"{len(value)} values, {value[0]!r} to {value[-1]!r}"
    text = value if isinstance(value, str) else repr(value)
    return f"{text[:16]}..." if len(text) == 64 else text
