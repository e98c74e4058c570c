"""Representations captured from networks."""

from semrsm_jax.features._extract import extract, extract_to_store
from semrsm_jax.features._tokens import check_layers
from semrsm_jax.features.image_file import read_image
from semrsm_jax.features.image_folder import (
    BrokenImage,
    ImageFolder,
    match_images,
    open_files,
    open_folder,
)
from semrsm_jax.features.layers import (
    LayerRow,
    LayerTable,
    block_layers,
    layer_names,
    list_layers,
)
from semrsm_jax.features.network import LoadedNetwork, load_network
from semrsm_jax.features.preprocessing import Preprocessing
from semrsm_jax.features.preprocessor_config import (
    load_preprocessing,
    preprocessing_from_config,
)

__all__ = [
    "BrokenImage",
    "ImageFolder",
    "LayerRow",
    "LayerTable",
    "LoadedNetwork",
    "Preprocessing",
    "block_layers",
    "check_layers",
    "extract",
    "extract_to_store",
    "layer_names",
    "list_layers",
    "load_network",
    "load_preprocessing",
    "match_images",
    "open_files",
    "open_folder",
    "preprocessing_from_config",
    "read_image",
]
