"""What the modules of a torch network show in one pass about their axes."""

from collections.abc import Callable, Mapping
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

from semrsm_jax.features._readings import Evidence, Stated
from semrsm_jax.features._torch_modules import fixed_layout

if TYPE_CHECKING:
    import torch


class Observer:
    """Notes what all modules give in one pass: shapes, and which axes are fixed.

    Attributes:
      modules: those of the model, by name.
    """

    def __init__(self, model: Any, samples: int, outputs: Mapping[str, Any]) -> None:
        """Observes a model.

        Args:
          model: the network.
          samples: images of the pass.
          outputs: of the layers that are extracted, filled in the pass.
        """
        self.modules = dict(model.named_modules())
        self._samples, self._outputs = samples, outputs
        self._shapes: dict[str, tuple[int, ...]] = {}
        self._fixed: dict[str, str] = {}
        # By the layer whose output a module with fixed axes takes.
        self._read_as: dict[str, str] = {}

    def __enter__(self) -> "Observer":
        """Hooks all modules."""
        self._stack = ExitStack()
        for name, module in self.modules.items():
            hook = module.register_forward_hook(self._noting(name))
            self._stack.callback(hook.remove)
        return self

    def __exit__(self, *error: object) -> None:
        """Removes the hooks."""
        self._stack.close()

    def _noting(self, name: str) -> Callable[[Any, Any, Any], None]:
        def hook(module: Any, inputs: Any, output: Any) -> None:
            shape: tuple[int, ...] = tuple(getattr(tensor_of(output), "shape", ()))
            self._shapes[name] = shape
            layout = fixed_layout(module, len(shape))
            if layout is None or shape[:1] != (self._samples,):
                return  # such as the windows of all images
            self._fixed[name] = layout
            if inputs and len(getattr(inputs[0], "shape", ())) == len(shape):
                for layer, kept in self._outputs.items():
                    if tensor_of(kept) is inputs[0]:
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
