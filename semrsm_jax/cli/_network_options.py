"""Options of the commands that run a network over images."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from semrsm_jax.cli.console import Report

if TYPE_CHECKING:
    from semrsm_jax.features import ImageFolder, LoadedNetwork
    from semrsm_jax.features.image_folder import Preprocess

NETWORKS = """The network is one of: timm:NAME, torchvision:NAME, or hf:FOLDER_OR_ID (transformers), with the weights that come with the name and its own preprocessing; module:function, a function of yours that returns a network, or a network and what prepares an image; a name of the paper's (semrsm models lists them), or a checkpoint of these kinds, a folder or an id on the hub, which run in JAX."""  # noqa: E501 (lines are wrapped when shown)

_reading_option: Any = partial(typer.Option, rich_help_panel="How outputs are read")


@dataclass(frozen=True)
class NetworkOptions:
    """A network and how it is run; the help of each option says what it is."""

    model: Annotated[
        str,
        typer.Option(
            "--model",
            "-m",
            metavar="NAME",
            help="timm:NAME, torchvision:NAME, hf:FOLDER_OR_ID, module:function, a "
            "name that semrsm models lists, a checkpoint's folder, or its id on the "
            "hub.",
        ),
    ]
    layers: Annotated[
        list[str] | None,
        typer.Option(
            "--layers",
            "-l",
            metavar="LAYER",
            help="Layers as --list-layers names them, or patterns such as 'blocks.*', "
            "with commas or one an option; last is what the paper compares, of other "
            "networks the last block. Default: last.",
        ),
    ] = None
    blocks: Annotated[
        bool, typer.Option("--blocks", help="All blocks of the network, as layers.")
    ] = False
    dtype: Annotated[
        Literal["float32", "bfloat16", "float16"],
        typer.Option(
            metavar="DTYPE",
            case_sensitive=False,
            help="What the network computes in: float32, bfloat16 or float16.",
        ),
    ] = "float32"
    on_error: Annotated[
        Literal["raise", "skip"],
        typer.Option(
            metavar="HOW",
            case_sensitive=False,
            help="If images cannot be read: raise, which lists them and stops; or "
            "skip, which leaves them out and lists them.",
        ),
    ] = "raise"
    revision: Annotated[
        str | None,
        typer.Option(help="Branch, tag or commit of a checkpoint on the hub."),
    ] = None
    preprocessor: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="A preprocessor_config.json, in place of the network's own.",
        ),
    ] = None
    untrained: Annotated[
        bool,
        typer.Option(
            "--untrained",
            help="Random weights, for a network of timm, torchvision or transformers; "
            "no weights are fetched.",
        ),
    ] = False
    prefix_tokens: Annotated[
        list[str] | None,
        _reading_option(
            metavar="LAYER=COUNT",
            help="Tokens before the patches, of all layers or of one: 5, or "
            "'blocks.*=5'. Default: decided by layer.",
        ),
    ] = None
    layout: Annotated[
        list[str] | None,
        _reading_option(
            "--layout",
            metavar="LAYER=ORDER",
            help="Axes of outputs, of all layers or of one: NHWC, or 'layers.*=NHWC' "
            "(NCHW, NSC, NCS). Default: decided by layer.",
        ),
    ] = None
    allow_random: Annotated[
        bool,
        _reading_option(
            "--allow-random",
            help="Accept a network that is random in its forward pass.",
        ),
    ] = False

    def load(self, report: Report) -> "LoadedNetwork":
        """Loads the network, with its weights unless they are not wanted."""
        from semrsm_jax.features import load_network

        report("Loading the network", 0, None)
        return load_network(
            self.model, self.dtype, self.revision, pretrained=not self.untrained
        )

    def chosen_layers(self, loaded: "LoadedNetwork") -> list[str]:
        """The layers that are asked for."""
        if self.blocks and not loaded.blocks:
            raise ValueError(
                f"--blocks does not fit {loaded.name}, whose modules are not numbered; "
                "choose layers by name"
            )
        names = [*(loaded.blocks if self.blocks else ()), *(self.layers or ())]
        return loaded.select_layers(names or None)

    def preprocessing(self, loaded: "LoadedNetwork") -> "Preprocess":
        """What prepares an image, as the file states or else the network."""
        from semrsm_jax.features import load_preprocessing

        given = self.preprocessor and load_preprocessing(self.preprocessor)
        return given or loaded.preprocessing()

    def open_images(
        self,
        loaded: "LoadedNetwork",
        images: Path,
        paths: Sequence[Path],
        report: Report,
    ) -> "ImageFolder":
        """Images of a folder, prepared for the network."""
        from semrsm_jax.features import open_files

        return open_files(
            images,
            paths,
            self.preprocessing(loaded),
            on_error=self.on_error,
            progress=lambda done, total: report("Checking images", done, total),
        )

    def reading(self) -> dict[str, Any]:
        """How outputs are read, as `extract` takes it."""
        return {
            "prefix_tokens": _by_layer("--prefix-tokens", self.prefix_tokens, True),
            "layout": _by_layer("--layout", self.layout, False),
            "allow_random": self.allow_random,
        }


def _by_layer(option: str, texts: Sequence[str] | None, number: bool) -> Any:
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


def preprocessing_text(preprocess: Any) -> str:
    """What is recorded of a preprocessing; the same in every run."""
    name = getattr(preprocess, "__qualname__", None)
    return str(preprocess) if name is None else f"{preprocess.__module__}.{name}"
