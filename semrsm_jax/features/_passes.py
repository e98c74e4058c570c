"""One extraction: what was asked for, checked, and the passes that compute it."""

import hashlib
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, closing, contextmanager
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float

from semrsm_jax import _checks
from semrsm_jax.features._backend import Backend, Forward, Network, backend_of
from semrsm_jax.features._sources import (
    ArrayImages,
    Images,
    ImageSource,
    as_source,
    check_array,
)
from semrsm_jax.features._tokens import TokenRule, by_layer, check_layers

Progress = Callable[[int, int], object]
Passes = Generator[tuple[int, Mapping[str, Float[np.ndarray, "n S C"]]]]


class Extraction(NamedTuple):
    """What is computed: which layers of which network, of which images.

    Attributes:
      network: the model with all that is needed to call it.
      backend: its framework.
      layers: names of the layers, each once.
      rule: which tokens are kept.
      source: the images.
      batch_size: images a pass.
      progress: called as ``progress(done, total)``, in images.
    """

    network: Network
    backend: Backend
    layers: tuple[str, ...]
    rule: TokenRule
    source: ImageSource
    batch_size: int
    progress: Progress | None

    @property
    def batches(self) -> range:
        """The numbers of all batches."""
        return range(-(-len(self.source) // self.batch_size))

    def running(self) -> AbstractContextManager[Forward]:
        """The network, ready to be called with batches."""
        return self.backend.running(
            self.network, self.layers, self.rule, self.batch_size
        )

    @contextmanager
    def passes(self, batches: Sequence[int]) -> Iterator[Passes]:
        """Computes some batches: an iterator over the number and the tokens of each."""
        with self.running() as forward, closing(self._run(forward, batches)) as passes:
            yield passes

    def _run(self, forward: Forward, batches: Sequence[int]) -> Passes:
        total = len(self.source)
        done = total - sum(self._size(number) for number in batches)
        if self.progress is not None and len(batches) < len(self.batches):
            self.progress(done, total)
        for number, images in zip(batches, self._images(batches), strict=True):
            outputs = forward(images)
            yield number, {name: np.asarray(outputs[name]) for name in self.layers}
            done += self._size(number)
            if self.progress is not None:
                self.progress(done, total)

    def digest(self) -> str:
        """SHA-256 of the names, shapes and values of all parameters."""
        digest = hashlib.sha256()
        for name, array in self.backend.arrays(self.network):
            values = np.ascontiguousarray(array)
            digest.update(f"{name} {values.shape} {values.dtype} ".encode())
            digest.update(values.reshape(-1).view(np.uint8).data)
        return digest.hexdigest()

    def _images(self, batches: Sequence[int]) -> Iterator[Any]:
        """The images of the batches; those of the next are read while one is used."""
        if isinstance(self.source, ArrayImages):
            # At hand; and JAX's arrays belong to the settings of the caller's thread.
            yield from map(self._read, batches)
            return
        with ThreadPoolExecutor(1) as reader:
            waiting = [reader.submit(self._read, number) for number in batches[:1]]
            for place in range(len(batches)):
                images = waiting.pop().result()
                for following in batches[place + 1 : place + 2]:
                    waiting.append(reader.submit(self._read, following))
                yield images

    def _size(self, number: int) -> int:
        return min(self.batch_size, len(self.source) - number * self.batch_size)

    def _read(self, number: int) -> Any:
        start = number * self.batch_size
        images = self.source.read(start, start + self._size(number))
        if not isinstance(self.source, ArrayImages):
            check_array(images)
            _checks.finite("images", images)
        return images


def checked_extraction(
    network: Network,
    images: Images | ImageSource,
    layers: Sequence[str],
    batch_size: int,
    kept: tuple[str, Any, Any],
    progress: Progress | None,
) -> Extraction:
    """Checks the arguments of `extract`, and raises its errors.

    `kept` are its `tokens`, `prefix_tokens` and `layout`. Traced images are one batch.
    """
    backend = backend_of(network.model)
    for name, value in (("call", network.call), ("progress", progress)):
        if value is not None and not callable(value):
            raise TypeError(f"{name} must be callable or None, got {value!r}")
    source = as_source(images)
    batch_size = min(_checks.at_least("batch_size", batch_size, 1), len(source))
    if _checks.is_traced(images):
        batch_size = len(source)
    at_hand = isinstance(source, ArrayImages)
    example = source.images if at_hand else source.read(0, 1)
    known = [module.name for module in backend.modules(network, example)]
    names = check_layers(layers, known)
    tokens, prefix_tokens, layout = kept
    rule = TokenRule(
        tokens,
        by_layer("prefix_tokens", prefix_tokens, names),
        by_layer("layout", layout, names),
        backend.stated(network),
    )
    return Extraction(network, backend, names, rule, source, batch_size, progress)
