"""What torch modules show of their tokens: by their kinds, and in one pass.

Classes are known by the names of theirs and of their bases, so that neither timm nor
torchvision nor transformers is imported.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

import numpy as np

from semrsm_jax.features._readings import Evidence, Stated

if TYPE_CHECKING:
    import torch

# Learned prefix tokens in transformers, timm and torchvision; digits count stages.
_CLS_NAMES = frozenset({"cls_token", "class_token", "class_embedding"})
_OTHER_PREFIXES = frozenset(
    {"dist_token", "distillation_token", "reg_token", "register_tokens"}
)

# Bases of torch.nn whose outputs with three or four axes have channels first.
_CHANNELS_FIRST = frozenset(
    "_ConvNd _ConvTransposeNd _BatchNorm _InstanceNorm GroupNorm _MaxPoolNd _AvgPoolNd "
    "_AdaptiveMaxPoolNd _AdaptiveAvgPoolNd LPPool2d PixelShuffle PixelUnshuffle "
    "Upsample LocalResponseNorm FrozenBatchNorm2d".split()
)
_CHANNELS_LAST = frozenset({"Linear"})

# Images of models of images and texts, in place of a call with both.
_VISION_SIDES = ("get_image_features", "encode_image")


def _fixed_layout(module: Any, axes: int) -> str | None:
    """The layout of a module's outputs with three or four axes, fixed by its type.

    Linear layers and LayerNorm act on the last axis, so they fix it in maps alone: of
    three axes, the second may be tokens or channels.
    """
    first = _channels_first(module)
    if first is None or axes not in (3, 4) or (axes == 3 and not first):
        return None
    return ("NCS", "NCHW")[axes - 3] if first else "NHWC"


def _channels_first(module: Any) -> bool | None:
    """Whether a module computes with channels first; None if its type does not say."""
    order = getattr(module, "data_format", None)
    if order in ("channels_first", "channels_last"):  # ConvNeXt's norms
        return order == "channels_first"
    name = type(module).__name__
    if re.search(r"Norm(Act)?2d", name):
        return True
    bases = {base.__name__ for base in type(module).__mro__}
    if bases & _CHANNELS_FIRST:
        return True
    if bases & _CHANNELS_LAST or re.search(r"(Layer|RMS|Rms)Norm$", name):
        return False
    return None


def stated_tokens(model: Any) -> Stated:
    """The prefix of a model: its `num_prefix_tokens`, or its learned prefix tokens."""
    counts: dict[str, int] = {}
    for name, parameter in model.named_parameters():
        name = re.sub(r"_?\d+$", "", name.rpartition(".")[2])
        if name in _CLS_NAMES | _OTHER_PREFIXES:
            # (1, tokens, C), or the one token (C).
            counts[name] = parameter.shape[-2] if parameter.ndim > 1 else 1
    number = getattr(model, "num_prefix_tokens", None)
    if not isinstance(number, int) or isinstance(number, bool):
        number = sum(counts.values()) or None
    return Stated(number, cls=not counts or bool(counts.keys() & _CLS_NAMES))


def vision_call(model: Any) -> str | None:
    """The method by which a model of images and texts takes images alone; or None."""
    names = [name for name in _VISION_SIDES if callable(getattr(model, name, None))]
    return names[0] if names else None


def raster_order(
    modules: Mapping[str, Any], layer: str, tokens: int
) -> np.ndarray | None:
    """The order that puts a layer's tokens row by row; None where they are already.

    Hiera (timm, transformers) keeps the tokens of a mask unit together, inside of its
    blocks, and has a `reroll` that undoes it.

    Raises:
      ValueError: the order of so many tokens is unknown.
    """
    import torch

    for name, module in modules.items():
        reroll = getattr(module, "reroll", None)
        inside = layer.removeprefix(f"{name}." if name else "")
        rolled = inside.split(".")[0] in ("blocks", "stages")
        if reroll is None or not (layer.startswith(name) and rolled):
            continue
        schedule = getattr(reroll, "schedule", None) or module.schedule
        for number, (_, size) in schedule.items():
            if np.prod(size) == tokens:
                places = torch.arange(tokens).reshape(1, tokens, 1)
                order = reroll(places, number).reshape(-1).numpy()
                return None if np.array_equal(order, np.arange(tokens)) else order
        raise ValueError(
            f"layers: the order of the {tokens} tokens of {layer!r} is unknown; "
            "take a block of the network"
        )
    return None


class Observer(ExitStack):
    """Notes what all modules give in one pass: shapes, and which axes are fixed.

    Its end removes the hooks.

    Attributes:
      modules: those of the model, by name.
    """

    def __init__(self, model: Any, samples: int, layers: Sequence[str]) -> None:
        """Hooks the modules for a pass of `samples` images; `layers` are read."""
        super().__init__()
        self.modules = dict(model.named_modules())
        self._samples, self._layers = samples, frozenset(layers)
        self._outputs: dict[str, Any] = {}
        self.callback(self._outputs.clear)
        self._shapes: dict[str, tuple[int, ...]] = {}
        self._fixed: dict[str, str] = {}
        # By the layer whose output a module with fixed axes takes.
        self._read_as: dict[str, str] = {}
        for name, module in self.modules.items():
            self.callback(module.register_forward_hook(self._noting(name)).remove)

    def _noting(self, name: str) -> Callable[[Any, Any, Any], None]:
        def hook(module: Any, inputs: Any, output: Any) -> None:
            tensor = tensor_of(output)
            shape: tuple[int, ...] = tuple(getattr(tensor, "shape", ()))
            self._shapes[name] = shape
            if name in self._layers:
                self._outputs[name] = tensor
            layout = _fixed_layout(module, len(shape))
            if layout is None or shape[:1] != (self._samples,):
                return  # such as the windows of all images
            self._fixed[name] = layout
            if inputs and len(getattr(inputs[0], "shape", ())) == len(shape):
                for layer, kept in self._outputs.items():
                    if kept is inputs[0]:
                        self._read_as.setdefault(layer, layout)

        return hook

    def evidence(self, image: tuple[int, int], stated: Stated) -> Evidence:
        """What the pass showed."""
        layouts = {layout for layout in self._fixed.values() if len(layout) == 4}
        grids = {
            (self._shapes[name][2], self._shapes[name][3])
            for name, layout in self._fixed.items()
            if layout == "NCHW"
        }
        first = layouts == {"NCHW"}
        return Evidence(image, stated, None, frozenset(grids), first)

    def known(self, name: str, axes: int) -> dict[str, Any]:
        """The layout that is fixed for a layer, and those of the modules inside."""
        inside = {
            layout
            for inner, layout in self._fixed.items()
            if inner.startswith(f"{name}.")
            and self._shapes[inner] == self._shapes[name]
        }
        own = self._fixed.get(name) or self._read_as.get(name)
        own = own if own is not None and len(own) == axes else None
        return {"own": own, "inner": frozenset(inside)}


def tensor_of(output: Any) -> "torch.Tensor | None":
    """The first tensor of an output; of a tuple or a ModelOutput, of its parts.

    In transformers that is `last_hidden_state` for models, and the hidden states for
    layers.
    """
    import torch

    parts = [output]
    if isinstance(output, Mapping):
        parts = list(output.values())
    elif isinstance(output, tuple | list):
        parts = list(output)
    return next((part for part in parts if isinstance(part, torch.Tensor)), None)
