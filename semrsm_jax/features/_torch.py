"""PyTorch networks, by forward hooks; torch is imported only for a torch model."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import ml_dtypes
import numpy as np
from jaxtyping import Float

from semrsm_jax.features._backend import Forward, Network, images_error
from semrsm_jax.features._tokens import TokenRule

if TYPE_CHECKING:
    import torch

layout = "NCHW"

# The names of learned prefix tokens in transformers, timm and torchvision.
_PREFIX_NAMES = frozenset(
    {
        "cls_token",
        "class_token",
        "class_embedding",
        "dist_token",
        "distillation_token",
        "reg_token",
        "register_tokens",
    }
)


def list_layers(network: Network, images: Any) -> list[str]:
    """All modules but the model itself, as `named_modules()` names them."""
    del images
    return [name for name, _ in network.model.named_modules() if name]


def prefix_tokens(network: Network) -> int | None:
    """The number of learned CLS, distillation and register tokens; None if zero."""
    counts = {}
    for name, parameter in network.model.named_parameters():
        name = name.rpartition(".")[2]
        if name in _PREFIX_NAMES:
            # (1, tokens, C), or the one token (C).
            counts[name] = parameter.shape[-2] if parameter.ndim > 1 else 1
    return sum(counts.values()) or None


def arrays(network: Network) -> Iterator[tuple[str, Any]]:
    """Parameters and buffers."""
    import torch

    for name, value in network.model.state_dict().items():
        if isinstance(value, torch.Tensor):
            yield name, _on_host(value)


@contextmanager
def running(
    network: Network, layers: tuple[str, ...], rule: TokenRule, size: int
) -> Iterator[Forward]:
    """Hooks the layers in evaluation mode; restores the model afterwards."""
    del size
    model = network.model
    modules = dict(model.named_modules())
    modes = {module: module.training for module in modules.values()}
    outputs: dict[str, Any] = {}
    hooks = [
        modules[name].register_forward_hook(_keeping(name, outputs)) for name in layers
    ]

    def forward(images: Any) -> Mapping[str, Float[np.ndarray, "n S C"]]:
        outputs.clear()  # frees the last batch first
        _call(network, images)
        for name in layers:
            if name not in outputs:
                raise ValueError(f"layers: the model does not call {name!r}")
        return {
            name: _tokens(name, outputs.pop(name), images.shape[0], rule)
            for name in layers
        }

    try:
        model.eval()
        yield forward
    finally:
        for hook in hooks:
            hook.remove()
        for module, mode in modes.items():
            module.training = mode


def _keeping(name: str, outputs: dict[str, Any]) -> Callable[[Any, Any, Any], None]:
    def hook(module: Any, inputs: Any, output: Any) -> None:
        del module, inputs
        outputs[name] = output

    return hook


def _call(network: Network, images: Any) -> None:
    """Runs the model on its own device and in its own dtype, without gradients."""
    import torch

    model = network.model
    state = [*model.parameters(), *model.buffers()]
    like = next((t for t in state if t.is_floating_point()), torch.zeros(()))
    dtype = np.float64 if like.dtype == torch.float64 else np.float32
    # A copy: torch needs a writable array, and JAX's may be read-only.
    batch = torch.from_numpy(np.array(images, dtype))
    batch = batch.permute(0, 3, 1, 2).contiguous().to(like.device, like.dtype)
    with torch.no_grad():
        try:
            model(batch) if network.call is None else network.call(model, batch)
        except (TypeError, ValueError, RuntimeError) as error:
            if isinstance(error, torch.OutOfMemoryError):
                raise MemoryError(str(error)) from error
            raise images_error(images, error) from error


def _tokens(
    name: str, output: Any, samples: int, rule: TokenRule
) -> Float[np.ndarray, "N S C"]:
    """The tokens of an output; of a tuple or a ModelOutput, those of its first tensor.

    In transformers that is `last_hidden_state` for models, and the hidden states for
    layers.
    """
    import torch

    parts = [output]
    if isinstance(output, Mapping):
        parts = list(output.values())
    elif isinstance(output, tuple | list):
        parts = list(output)
    tensor = next((part for part in parts if isinstance(part, torch.Tensor)), None)
    if tensor is None or not tensor.is_floating_point():
        kind = type(output).__name__ if tensor is None else tensor.dtype
        raise TypeError(f"layers: {name!r} gives {kind}, expected a floating tensor")
    return _on_host(rule(name, tensor, samples, torch.permute))


def _on_host(tensor: "torch.Tensor") -> np.ndarray:
    import torch

    tensor = tensor.detach().cpu().contiguous()
    if tensor.dtype == torch.bfloat16:  # which NumPy lacks
        return tensor.view(torch.int16).numpy().view(ml_dtypes.bfloat16)
    return tensor.numpy()
