"""A family of checkpoints: its classes, its config and its key table."""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from flax import nnx

from semrsm_jax.models.checkpoint._rules import Rule
from semrsm_jax.models.checkpoint._settings import Settings


class Architecture(NamedTuple):
    """How to read checkpoints of one `model_type`.

    Attributes:
      classes: the transformers classes that it takes, by the names that a config's
        `architectures` has for them, and whether each has a classifier.
      config: makes our config from the settings, the number of classes (None: no
        classifier) and a dtype.
      build: makes the network from the config, as ``build(config, rngs=...)``.
      rules: the key table.
      prefixes: of the backbone's keys.
      ignored: regular expressions for keys of a checkpoint that are not used here: text
        towers, prompts, buffers.
    """

    classes: Mapping[str, bool]
    config: Callable[[Settings, int | None, Any], Any]
    build: Callable[..., nnx.Module]
    rules: tuple[Rule, ...]
    prefixes: tuple[str, ...]
    ignored: tuple[str, ...] = ()
