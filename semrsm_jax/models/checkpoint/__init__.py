"""Networks with the weights of Hugging Face's and torchvision's checkpoints."""

from semrsm_jax.models.checkpoint._files import convert_checkpoint
from semrsm_jax.models.checkpoint._hub import locate
from semrsm_jax.models.checkpoint._loading import load

__all__ = ["convert_checkpoint", "load", "locate"]
