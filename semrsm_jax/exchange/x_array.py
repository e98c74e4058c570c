"""RSMs to and from xarray, with the samples' names as coordinates."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from jax.typing import ArrayLike

from semrsm_jax._extras import required
from semrsm_jax._ids import checked_ids, matrix_of, same_samples
from semrsm_jax.exchange.labeled import LabeledRSM, checked, own_ids
from semrsm_jax.pairs import PairStatistics

if TYPE_CHECKING:
    from xarray import DataArray, Dataset

# The dimensions: rows are samples of x, columns samples of y.
DIMENSIONS = ("x", "y")


def to_xarray(
    K: ArrayLike,
    x_ids: Sequence[Any] | None = None,
    y_ids: Sequence[Any] | None = None,
    *,
    name: str = "rsm",
    attributes: Mapping[str, Any] | None = None,
) -> "DataArray":
    """Converts an RSM to an `xarray.DataArray` with the dimensions "x" and "y".

    Args:
      K: RSM (N, M), whose own ids are taken where none are given.
      x_ids: names of the rows, the coordinate "x".
      y_ids: names of the columns, the coordinate "y".
      name: of the array.
      attributes: further metadata of the array.

    Returns:
      The DataArray, in the dtype of `K`.

    Raises:
      ImportError: xarray is not installed.
      TypeError: `K` is not real.
      ValueError: other than two axes, or ids that do not fit or are not unique.
    """
    xarray = required("xarray", "exchange")
    rsm, x_ids, y_ids = checked("K", matrix_of(K), *own_ids(x_ids, y_ids, K))
    return xarray.DataArray(
        rsm,
        dims=DIMENSIONS,
        coords=_coordinates(x_ids, y_ids),
        name=name,
        attrs=dict(attributes or {}),
    )


def to_dataset(
    rsms: Mapping[str, ArrayLike] | PairStatistics,
    x_ids: Sequence[Any] | None = None,
    y_ids: Sequence[Any] | None = None,
    *,
    attributes: Mapping[str, Any] | None = None,
) -> "Dataset":
    """Converts RSMs of the same samples, or pair statistics, to an `xarray.Dataset`.

    Args:
      rsms: name of each -> RSM (N, M); or the `PairStatistics`, whose squared norms
        (N,) and (M,) get one dimension each. RSMs that have ids come in the order of
        the first of them, whose ids are taken where none are given.
      x_ids: names of the rows, the coordinate "x".
      y_ids: names of the columns, the coordinate "y".
      attributes: further metadata of the dataset.

    Returns:
      The Dataset, an array each.

    Raises:
      ImportError: as `to_xarray`.
      TypeError: as `to_xarray`.
      ValueError: as `to_xarray`, no RSM, or RSMs of different shapes.
    """
    xarray = required("xarray", "exchange")
    one_axis = {}
    if isinstance(rsms, PairStatistics):
        one_axis = {"x_sq_norm": "x", "y_sq_norm": "y"}
        rsms = {k: v for k, v in rsms._asdict().items() if v is not None}
    if not rsms:
        raise ValueError("rsms must hold at least one RSM, got none")
    if not one_axis:
        x_ids, y_ids = own_ids(x_ids, y_ids, *rsms.values())
        rsms = same_samples(rsms)
    variables, shape = {}, None
    for name, value in rsms.items():
        if name in one_axis:
            variables[name] = (one_axis[name], np.asarray(value))
            continue
        rsm, rows, columns = checked(f"rsms[{name!r}]", value, x_ids, y_ids)
        if shape not in (None, rsm.shape):
            raise ValueError(
                f"rsms must be over the same samples, got shapes {shape} and "
                f"{rsm.shape}"
            )
        shape = rsm.shape
        variables[name] = (DIMENSIONS, rsm)
    coordinates = _coordinates(rows, columns)
    return xarray.Dataset(variables, coords=coordinates, attrs=dict(attributes or {}))


def from_xarray(array: "DataArray") -> LabeledRSM:
    """Converts an `xarray.DataArray` of two dimensions, rows first.

    Args:
      array: (N, M), its dimensions of any name; their coordinates, where there are
        any, become the samples' names.

    Returns:
      The RSM and the names.

    Raises:
      TypeError: the values are not real.
      ValueError: other than two dimensions, or coordinates that are not unique.
    """
    if array.ndim != 2:
        raise ValueError(
            f"array must have 2 dimensions, rows and columns, got {array.dims}"
        )
    rsm, *_ = checked("array", array.values, None, None)
    names = [
        checked_ids(str(d), array.coords[d].values.tolist(), array.sizes[d])
        if d in array.coords
        else None
        for d in array.dims
    ]
    return LabeledRSM(rsm, *names)


def _coordinates(
    x_ids: tuple[str, ...] | None, y_ids: tuple[str, ...] | None
) -> dict[str, list[str]]:
    pairs = zip(DIMENSIONS, (x_ids, y_ids), strict=True)
    return {dimension: list(ids) for dimension, ids in pairs if ids is not None}
