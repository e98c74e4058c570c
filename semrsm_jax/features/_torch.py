"""PyTorch networks, by forward hooks; torch is imported only for a torch model.

How outputs are read is decided in the first pass, in which all modules are observed:
convolutions state the grids, modules of known kinds their axes. An image of that batch
is then computed once more, alone: if its tokens differ, and the batch's differ too when
it is computed again, the network is random.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import ml_dtypes
import numpy as np
from jaxtyping import Float

from semrsm_jax.features._backend import (
    Forward,
    ModuleKind,
    Network,
    Read,
    images_error,
)
from semrsm_jax.features._readings import Evidence, Reading, Stated
from semrsm_jax.features._tokens import TokenRule
from semrsm_jax.features._torch_modules import (
    Observer,
    raster_order,
    stated_tokens,
    tensor_of,
    vision_call,
)

if TYPE_CHECKING:
    import torch

# Of the largest value: more than another order of summation makes of the same tokens.
_SAME = 1e-5

# What networks raise for images that they cannot take.
_REJECTED = (
    *(TypeError, ValueError, RuntimeError, AssertionError),
    *(IndexError, KeyError, AttributeError),
)


def modules(network: Network, images: Any) -> list[ModuleKind]:
    """All modules but the model itself, as `named_modules()` names them."""
    import torch

    del images
    # Of a model of images and texts, the side of the images.
    vision = vision_call(network.model) is not None
    lists = (torch.nn.Sequential, torch.nn.ModuleList, torch.nn.ModuleDict)
    return [
        ModuleKind(name, type(module).__name__, isinstance(module, lists))
        for name, module in network.model.named_modules()
        if name and not (vision and name.startswith("text"))
    ]


def stated(network: Network) -> Stated:
    """The number of CLS, distillation and register tokens; None if zero."""
    return stated_tokens(network.model)


def arrays(network: Network) -> Iterator[tuple[str, Any]]:
    """Parameters and buffers."""
    import torch

    for name, value in network.model.state_dict().items():
        if isinstance(value, torch.Tensor):
            yield name, _on_host(value)


def outputs(
    network: Network, layers: Sequence[str], images: Any
) -> dict[str, tuple[Any, Read]]:
    """What the layers give for images, and how each is read."""
    model, kept, samples = network.model, {}, images.shape[0]
    with _hooked(model, layers, kept), Observer(model, samples, layers) as observer:
        _call(network, images)
    tensors: dict[str, torch.Tensor] = {}
    for name in layers:
        tensor = tensor_of(kept.get(name))
        if tensor is not None and tensor.is_floating_point():
            tensors[name] = tensor

    def reader(name: str) -> Read:
        def read(rule: TokenRule) -> tuple[Reading, slice]:
            tensor = _floating(name, kept[name])
            evidence = observer.evidence(images.shape[1:3], rule.stated)
            return _read(name, tensor, samples, rule, observer, evidence)

        return read

    return {name: (tensor, reader(name)) for name, tensor in tensors.items()}


@contextmanager
def running(
    network: Network, layers: tuple[str, ...], rule: TokenRule, size: int
) -> Iterator[Forward]:
    """Hooks the layers in evaluation mode; restores the model afterwards."""
    del size
    model = network.model
    outputs: dict[str, Any] = {}  # of the last pass, by layer
    readings: dict[str, tuple[Reading, slice]] = {}

    def compute(images: Any) -> "dict[str, torch.Tensor]":
        outputs.clear()  # frees the last batch first
        _call(network, images)
        for name in layers:
            if name not in outputs:
                raise ValueError(f"layers: the model does not call {name!r}")
        return {name: _floating(name, outputs.pop(name)) for name in layers}

    def forward(images: Any) -> Mapping[str, Float[np.ndarray, "n S C"]]:
        samples = images.shape[0]
        if readings:
            tensors = compute(images)
        else:
            with Observer(model, samples, layers) as observer:
                tensors = compute(images)
            evidence = observer.evidence(images.shape[1:3], rule.stated)
            for name, tensor in tensors.items():
                readings[name] = _read(name, tensor, samples, rule, observer, evidence)
            if not network.random:
                _check_repeatable(compute, images, tensors)
        return {
            name: _tokens(name, tensors.pop(name), samples, *readings[name])
            for name in layers
        }

    with _hooked(model, layers, outputs):
        yield forward


@contextmanager
def _hooked(
    model: Any, layers: Sequence[str], outputs: dict[str, Any]
) -> Iterator[None]:
    """Evaluation mode, in which layers leave what they give; restored at the end."""
    named = dict(model.named_modules())
    modes = {module: module.training for module in named.values()}
    hooks = [
        named[name].register_forward_hook(_keeping(name, outputs)) for name in layers
    ]
    try:
        model.eval()
        yield
    finally:
        for hook in hooks:
            hook.remove()
        for module, mode in modes.items():
            module.training = mode


def _read(
    name: str,
    tensor: "torch.Tensor",
    samples: int,
    rule: TokenRule,
    observer: Observer,
    evidence: Evidence,
) -> tuple[Reading, slice]:
    """How a layer is read, and which of its tokens are kept."""
    shape = tuple(tensor.shape)
    known = observer.known(name, len(shape))
    reading, kept = rule.read(name, shape, samples, evidence, **known)
    if reading.layout == "NSC":
        reading = reading._replace(order=raster_order(observer.modules, name, shape[1]))
    return reading, kept


def _check_repeatable(
    compute: "Callable[[Any], dict[str, torch.Tensor]]",
    images: Any,
    tensors: "dict[str, torch.Tensor]",
) -> None:
    """Raises an error for a network that is random, or has no batch axis in front."""
    try:
        alone = compute(images[:1])
    except ValueError:  # the network takes batches of this size only
        alone = {}
    for name, tensor in tensors.items() if alone else ():
        if alone[name].shape != (1, *tensor.shape[1:]):
            raise ValueError(
                f"layers: {name!r} gives shape {tuple(tensor.shape)} for "
                f"{len(images)} images and {tuple(alone[name].shape)} for one: its "
                "first axis is not that of the images"
            )
    if alone and all(_same(tensors[name][:1], value) for name, value in alone.items()):
        return
    # An image may differ in its batch, by batch statistics or a faster product.
    again = compute(images)
    for name, tokens in again.items():
        if not _same(tensors[name], tokens):
            raise ValueError(
                f"model: {name!r} gives other tokens when the same images are computed "
                "again, so the network is random in its forward pass; make it "
                "deterministic, for example by its config or by call=, or accept one "
                "draw: allow_random=True (--allow-random)"
            )


def _same(first: "torch.Tensor", second: "torch.Tensor") -> bool:
    """Whether tokens are equal up to the order of summation."""
    import torch

    eps = torch.finfo(first.dtype).eps
    first, second = first.float().nan_to_num(), second.float().nan_to_num()
    limit = max(_SAME, 4 * eps) * first.abs().max()
    return bool((first - second).abs().max() <= limit)


def _keeping(name: str, outputs: dict[str, Any]) -> Callable[[Any, Any, Any], None]:
    def hook(module: Any, inputs: Any, output: Any) -> None:
        del module, inputs
        tensor = tensor_of(output)
        if tensor is not None and not (isinstance(output, list) and len(output) > 1):
            # A copy: a module that follows may write to the tensor.
            output = tensor.detach().clone()
        outputs[name] = output

    return hook


def _call(network: Network, images: Any) -> None:
    """Runs the model on its own device and in its own dtype, without gradients."""
    import torch

    model = network.model
    state = [*model.parameters(), *model.buffers()]
    like = next((t for t in state if t.is_floating_point()), torch.zeros(()))
    dtype = np.float64 if like.dtype == torch.float64 else np.float32
    # A copy in the order of torch: the model may write to it.
    batch = np.array(np.moveaxis(np.asarray(images), -1, 1), dtype, order="C")
    batch = torch.from_numpy(batch).to(like.device, like.dtype)
    vision = vision_call(model)
    with torch.no_grad():
        try:
            if network.call is not None:
                network.call(model, batch)
            elif vision is not None:
                getattr(model, vision)(batch)
            else:
                model(batch)
        except _REJECTED as error:
            if isinstance(error, torch.OutOfMemoryError):
                raise MemoryError(str(error)) from error
            raise images_error(images, error) from error


def _floating(name: str, output: Any) -> "torch.Tensor":
    """The tensor of an output."""
    tensor = tensor_of(output)
    if tensor is None or not tensor.is_floating_point():
        kind = type(output).__name__ if tensor is None else tensor.dtype
        raise TypeError(f"layers: {name!r} gives {kind}, expected a floating tensor")
    if isinstance(output, list) and len(output) > 1:
        shapes = [tuple(getattr(part, "shape", ())) for part in output]
        raise ValueError(
            f"layers: {name!r} gives {len(output)} outputs, of shapes {shapes}, of "
            "which none stands for all; take the layers inside of it"
        )
    return tensor


def _tokens(
    name: str, tensor: "torch.Tensor", samples: int, reading: Reading, kept: slice
) -> Float[np.ndarray, "N S C"]:
    """The tokens of an output, on the host."""
    import torch

    if tensor.ndim not in (2, 3, 4) or tensor.shape[0] != samples:
        raise ValueError(
            f"layers: {name!r} gives shape {tuple(tensor.shape)} for {samples} images"
        )
    return _on_host(reading.tokens(tensor, torch.permute)[:, kept])


def _on_host(tensor: "torch.Tensor") -> np.ndarray:
    import torch

    tensor = tensor.detach().cpu().contiguous()
    if tensor.dtype == torch.bfloat16:  # which NumPy lacks
        return tensor.view(torch.int16).numpy().view(ml_dtypes.bfloat16)
    return tensor.numpy()
