"""RSMs to and from other tools: rsatoolbox, xarray, CSV.

NumPy needs no conversion: every RSM converts by `numpy.asarray`, every function takes
NumPy arrays, and `semrsm_jax.store` reads and writes .npy and .npz.
"""

from semrsm_jax.exchange.conversion import (
    Conversion,
    Negative,
    OneMinus,
    SquaredDistance,
)
from semrsm_jax.exchange.csv_file import read_csv, write_csv
from semrsm_jax.exchange.labeled import LabeledRSM
from semrsm_jax.exchange.rsa_toolbox import from_rsatoolbox, to_rsatoolbox
from semrsm_jax.exchange.x_array import from_xarray, to_dataset, to_xarray

__all__ = [
    "Conversion",
    "LabeledRSM",
    "Negative",
    "OneMinus",
    "SquaredDistance",
    "from_rsatoolbox",
    "from_xarray",
    "read_csv",
    "to_dataset",
    "to_rsatoolbox",
    "to_xarray",
    "write_csv",
]
