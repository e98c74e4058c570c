"""Options of the commands that run a network over images."""

import re
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from semrsm_jax.cli.console import Report

if TYPE_CHECKING:
    from semrsm_jax.features import ImageFolder, LoadedNetwork

NETWORKS = """The network is one of: timm:NAME, torchvision:NAME, or hf:FOLDER_OR_ID (transformers), with the weights that come with the name and its own preprocessing; module:function, a function of yours that returns a network, or a network and what prepares an image; a name of the paper's (semrsm models lists them), or a checkpoint of these kinds, a folder or an id on the hub, which run in JAX."""  # noqa: E501 (lines are wrapped when shown)

_reading_option: Any = partial(typer.Option, rich_help_panel="How outputs are read")


Model = Annotated[
    str,
    typer.Option(
        "--model",
        "-m",
        metavar="NAME",
        help="timm:NAME, torchvision:NAME, hf:FOLDER_OR_ID, module:function, a name "
        "that semrsm models lists, a checkpoint's folder, or its id on the hub.",
    ),
]
NetworkLayers = Annotated[
    list[str] | None,
    typer.Option(
        "--layers",
        "-l",
        metavar="LAYER",
        help="Layers as --list-layers names them, or patterns such as 'blocks.*', with "
        "commas or one an option; last is what the paper compares, of other networks "
        "the last block. Default: last.",
    ),
]
Blocks = Annotated[
    bool, typer.Option("--blocks", help="All blocks of the network, as layers.")
]
Dtype = Annotated[
    Literal["float32", "bfloat16", "float16"],
    typer.Option(
        metavar="DTYPE",
        case_sensitive=False,
        help="What the network computes in: float32, bfloat16 or float16.",
    ),
]
OnError = Annotated[
    Literal["raise", "skip"],
    typer.Option(
        metavar="HOW",
        case_sensitive=False,
        help="If images cannot be read: raise, which lists them and stops; or "
        "skip, which leaves them out and lists them.",
    ),
]
Revision = Annotated[
    str | None, typer.Option(help="Branch, tag or commit of a checkpoint on the hub.")
]
Preprocessor = Annotated[
    Path | None,
    typer.Option(
        metavar="FILE",
        help="A preprocessor_config.json, in place of the network's own.",
    ),
]
Untrained = Annotated[
    bool,
    typer.Option(
        "--untrained",
        help="Random weights, for a network of timm, torchvision or transformers; "
        "no weights are fetched.",
    ),
]
PrefixTokens = Annotated[
    list[str] | None,
    _reading_option(
        metavar="LAYER=COUNT",
        help="Tokens before the patches, of all layers or of one: 5, or 'blocks.*=5'. "
        "Default: decided by layer.",
    ),
]
LayerLayout = Annotated[
    list[str] | None,
    _reading_option(
        "--layout",
        metavar="LAYER=ORDER",
        help="Axes of outputs, of all layers or of one: NHWC, or 'layers.*=NHWC' "
        "(NCHW, NSC, NCS). Default: decided by layer.",
    ),
]
AllowRandom = Annotated[
    bool,
    _reading_option(
        "--allow-random", help="Accept a network that is random in its forward pass."
    ),
]


def reading(
    prefix_tokens: Sequence[str] | None,
    layout: Sequence[str] | None,
    allow_random: bool,
) -> dict[str, Any]:
    """How outputs are read, as `extract` takes it."""
    return {
        "prefix_tokens": _parse_by_layer("--prefix-tokens", prefix_tokens, True),
        "layout": _parse_by_layer("--layout", layout, False),
        "allow_random": allow_random,
    }


def _parse_by_layer(option: str, texts: Sequence[str] | None, number: bool) -> Any:
    """A value for all layers, or a mapping by layer; None without any."""
    values: dict[str | None, Any] = {}
    for text in texts or ():
        layer, equals, value = text.rpartition("=")
        if number and not re.fullmatch(r"\d{1,6}", value):
            raise ValueError(f"{option} must be COUNT or LAYER=COUNT, got {text!r}")
        values[layer if equals else None] = int(value) if number else value.upper()
    if None in values and len(values) > 1:
        raise ValueError(
            f"{option} must be one value for all layers, or LAYER=VALUE each time, got "
            f"{', '.join(texts or ())}"
        )
    return values.get(None, values or None)


def open_images(
    loaded: "LoadedNetwork",
    images: Path,
    preprocessor: Path | None,
    on_error: Literal["raise", "skip"],
    report: Report,
    paths: Sequence[Path] | None = None,
) -> "ImageFolder":
    """The images of a folder, or some of them, prepared as network or file state."""
    from semrsm_jax.features import load_preprocessing, open_files
    from semrsm_jax.features.image_folder import find_images

    given = None if preprocessor is None else load_preprocessing(preprocessor)
    return open_files(
        images,
        paths or find_images(images),
        given or loaded.preprocessing(),
        on_error=on_error,
        progress=lambda done, total: report("Checking images", done, total),
    )


def chosen_layers(
    loaded: "LoadedNetwork", layers: Sequence[str] | None, blocks: bool
) -> list[str]:
    """The layers that are asked for."""
    if blocks and not loaded.blocks:
        raise ValueError(
            f"--blocks does not fit {loaded.name}, whose modules are not numbered; "
            "choose layers by name"
        )
    names = [*(loaded.blocks if blocks else ()), *(layers or ())]
    return loaded.select_layers(names or None)


def preprocessing_text(preprocess: Any) -> str:
    """What is recorded of a preprocessing; the same in every run."""
    name = getattr(preprocess, "__qualname__", None)
    return str(preprocess) if name is None else f"{preprocess.__module__}.{name}"
