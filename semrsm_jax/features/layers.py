"""The layers of a network: their names, and what they give for images."""

import math
import re
from collections.abc import Container, Sequence
from typing import Any, NamedTuple

from semrsm_jax.features._backend import Call, ModuleKind, Network, backend_of
from semrsm_jax.features._sources import Images, ImageSource, as_source
from semrsm_jax.features._tokens import TokenRule

# A numbered module with such lists inside is a stage, whose elements are the blocks.
_OF_STAGES = re.compile(r"(blocks?|layers?|transformer_encoder)\.\d+")
_STAGES = re.compile(r"Stage$|DenseBlock$|^Sequential$|^List$|^Modul\w+List$")

# Numbered modules that are parts of a block or stand between stages.
_PARTS = re.compile(
    r"Embed|Merging|Downsamp|Transition|Norm|Pool|Attention|Attn|Mlp|MLP|Drop|Stem"
    r"|Conv(Layer|Norm|2d|Module|Bn)|Squeeze|SELayer|SEModule|PosEnc|PosConv"
)


class LayerRow(NamedTuple):
    """What a layer gives for one image, and how it is read.

    Attributes:
      name: as `extract` takes it.
      kind: the class of the module.
      shape: of the output, without the axis of the images.
      dtype: of the output, such as ``"float32"``.
      tokens: S; None where the output is not read as tokens.
      channels: C; None where the output is not read as tokens.
      grid: (rows, columns) of the patches; None where there is none or it is unknown.
      prefix: the number of tokens before the patches; None where it is unknown.
      block: whether it is a block: one of the numbered modules that a stage repeats.
      problem: why it is not read, as `extract` would raise it; empty if it is.
    """

    name: str
    kind: str
    shape: tuple[int, ...]
    dtype: str
    tokens: int | None
    channels: int | None
    grid: tuple[int, int] | None
    prefix: int | None
    block: bool
    problem: str


class LayerTable(tuple[LayerRow, ...]):
    """The layers of a network in order; ``str`` gives a table."""

    @property
    def names(self) -> list[str]:
        """The names of all layers."""
        return [layer.name for layer in self]

    @property
    def blocks(self) -> list[str]:
        """The names of the blocks."""
        return [layer.name for layer in self if layer.block]

    def __str__(self) -> str:
        """A line a layer; blocks are marked by a star."""
        head = ("layer", "class", "shape", "tokens", "grid", "prefix", "dtype")
        rows = [head, *map(_cells, self)]
        widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
        lines = [
            "  ".join(
                cell.ljust(width) for cell, width in zip(row, widths, strict=True)
            )
            for row in rows
        ]
        return "\n".join(line.rstrip() for line in lines)


def layer_names(
    model: Any, images: Any = None, *, variables: Any = None, call: Call | None = None
) -> list[str]:
    """The names of all layers whose output `extract` can take; nothing is computed.

    Args:
      model: a `flax.nnx`, `flax.linen` or torch module.
      images: (N, H, W, C), of which only shape and dtype are used; for flax.linen
        alone, whose modules make their layers when they are called.
      variables: for flax.linen, as in `extract`.
      call: as in `extract`, for flax.linen.

    Returns:
      Dotted paths such as `"vit.encoder.layer.3"`, parents before children, in the
      order of definition (for flax.linen that of the calls). For torch they are the
      names of `named_modules()`. A shared nnx module is listed under each of its
      paths.

    Raises:
      TypeError: `model` is not of one of these frameworks.
      ValueError: for flax.linen, `images` or `variables` are missing or do not fit.
    """
    modules = backend_of(model).modules(Network(model, variables, call), images)
    return [module.name for module in modules]


def block_layers(model: Any) -> list[str]:
    """The names of the blocks of a flax.nnx or torch module, by its structure alone.

    Args:
      model: as in `layer_names`.

    Returns:
      The numbered modules that the stages of the network repeat; empty if there are
      none.
    """
    return block_names(backend_of(model).modules(Network(model), None))


def list_layers(
    model: Any,
    images: Images | ImageSource,
    *,
    variables: Any = None,
    call: Call | None = None,
) -> LayerTable:
    """Lists what the layers of a network give for images, and how `extract` reads it.

    A torch network computes the first image; a flax network is only traced.

    Args:
      model: a `flax.nnx`, `flax.linen` or torch module.
      images: as in `extract`; the first of them is used.
      variables: for flax.linen, as in `extract`.
      call: as in `extract`.

    Returns:
      The layers that the network calls for images, in the order of `layer_names`.

    Raises:
      TypeError: as `extract`.
      ValueError: the network cannot take the images.
    """
    network, backend = Network(model, variables, call), backend_of(model)
    first = as_source(images).read(0, 1)
    modules = backend.modules(network, first)
    outputs = backend.outputs(network, [m.name for m in modules], first)
    blocks, rule = set(block_names(modules)), TokenRule(stated=backend.stated(network))
    layers: list[LayerRow] = []
    for module in modules:
        if module.name not in outputs:
            continue
        output, read = outputs[module.name]
        shape, dtype = tuple(output.shape), str(output.dtype).removeprefix("torch.")
        tokens = channels = grid = prefix = None
        problem = ""
        try:
            reading, _ = read(rule)
        except ValueError as error:
            problem = str(error)
        else:
            sizes = dict(zip(reading.layout, shape, strict=True))
            tokens = math.prod(sizes.get(axis, 1) for axis in "SHW")
            channels, grid, prefix = sizes["C"], reading.grid, reading.prefix
        layer = (module.name, module.kind, shape[1:], dtype)
        block = module.name in blocks
        layers.append(LayerRow(*layer, tokens, channels, grid, prefix, block, problem))
    return LayerTable(layers)


def _cells(layer: LayerRow) -> tuple[str, ...]:
    """The cells of a layer in the table."""
    read = "?" if layer.tokens is None else f"{layer.tokens} x {layer.channels}"
    return (
        f"{'*' if layer.block else ' '} {layer.name}",
        layer.kind,
        " x ".join(map(str, layer.shape)),
        read,
        "" if layer.grid is None else f"{layer.grid[0]} x {layer.grid[1]}",
        "" if layer.prefix is None else str(layer.prefix),
        layer.dtype,
    )


def block_names(modules: Sequence[ModuleKind]) -> list[str]:
    """The blocks among modules: the outermost numbered ones that are not stages.

    By convention of the libraries, blocks are numbered (``blocks.3``,
    ``layer2.0``, ``denselayer4``) and stages are lists of them, or hold one. Where
    nothing is numbered so, there are none. Parents come before children.
    """
    parents = {module.name.rpartition(".")[0] for module in modules}
    blocks: list[str] = []
    for module in modules:
        numbered = re.search(r"\d$", module.name)
        if not numbered or module.container or module.name not in parents:
            continue
        if any(module.name.startswith(f"{block}.") for block in blocks):
            continue
        if _is_part(module.kind) or _is_stage(module, modules, parents):
            continue
        blocks.append(module.name)
    return blocks


def _is_part(kind: str) -> bool:
    return "Block" not in kind and _PARTS.search(kind) is not None


def _is_stage(
    module: ModuleKind, modules: Sequence[ModuleKind], parents: Container[str]
) -> bool:
    """Whether a module holds a list of modules that have modules of their own."""
    if _STAGES.search(module.kind):
        return True
    start = f"{module.name}."
    return any(
        inner.name.startswith(start)
        and _OF_STAGES.fullmatch(inner.name.removeprefix(start))
        and inner.name in parents
        and not _is_part(inner.kind)
        for inner in modules
    )
