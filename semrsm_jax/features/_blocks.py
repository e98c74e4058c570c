"""Which layers of a network are its blocks: what its stages repeat."""

import re
from collections.abc import Container, Sequence
from typing import NamedTuple

# A numbered module with such lists inside is a stage, whose elements are the blocks.
_OF_STAGES = re.compile(r"(blocks?|layers?|transformer_encoder)\.\d+")
_STAGES = re.compile(r"Stage$|DenseBlock$|^Sequential$|^List$|^Modul\w+List$")

# Numbered modules that are parts of a block or stand between stages.
_PARTS = re.compile(
    r"Embed|Merging|Downsamp|Transition|Norm|Pool|Attention|Attn|Mlp|MLP|Drop|Stem"
    r"|Conv(Layer|Norm|2d|Module|Bn)|Squeeze|SELayer|SEModule|PosEnc|PosConv"
)


class ModuleKind(NamedTuple):
    """A module as the search for blocks sees it.

    Attributes:
      name: dotted.
      kind: the name of its class.
      container: it is a list of modules, called one after the other or by its owner.
    """

    name: str
    kind: str
    container: bool = False


def block_names(modules: Sequence[ModuleKind]) -> list[str]:
    """The blocks: the outermost numbered modules that are not stages.

    By convention of the libraries, blocks are numbered (``blocks.3``,
    ``layer2.0``, ``denselayer4``) and stages are lists of them, or hold one. Where
    nothing is numbered so, there are none.

    Args:
      modules: parents before children.

    Returns:
      Their names, in the order of `modules`.
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
