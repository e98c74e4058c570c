"""Checkpoints by name: a local folder or file, or a repository on the hub."""

import difflib
import os
import re
from pathlib import Path

from semrsm_jax._extras import required
from semrsm_jax.models.variants import VARIANTS, variant

_REPOSITORY = re.compile(r"[\w.-]+/[\w.-]+")
_JSON = ["config.json", "preprocessor_config.json", "processor_config.json"]
# The weights of a repository, the preferred kind first.
_WEIGHTS = (
    ["model.safetensors", "model.safetensors.index.json", "model-*.safetensors"],
    ["pytorch_model.bin", "pytorch_model.bin.index.json", "pytorch_model-*.bin"],
)


def locate(
    source: str | os.PathLike, *, revision: str | None = None, weights: bool = True
) -> Path:
    """Finds a checkpoint: a local path, or the hub's, downloaded.

    Downloads go to the cache of huggingface_hub and are not fetched again. Config
    and preprocessor come with the weights; .safetensors are preferred.

    Args:
      source: a folder, a file, one of `VARIANTS`, or the id of a repository, such as
        `"facebook/dinov2-base"`.
      revision: branch, tag or commit in the repository.
      weights: False: only the JSON files are fetched.

    Returns:
      The folder or file.

    Raises:
      ConnectionError: the hub cannot be reached or denies access, and its cache does
        not hold the checkpoint.
      ImportError: huggingface_hub is not installed.
      ValueError: `source` is neither on the disk nor a name nor an id, or the
        repository does not exist or holds no weights.
    """
    path = Path(source)
    if path.exists():
        return path
    name = str(source)
    if not _REPOSITORY.fullmatch(name):
        try:
            name = variant(name).checkpoint
        except ValueError as error:
            raise ValueError(
                f"{source} is no file or folder, no id on the hub (owner/name), and "
                f"none of the paper's: {error}"
            ) from error
    required("huggingface_hub", "hub", f"{name}, which is no local folder")
    from huggingface_hub import errors, snapshot_download

    for kind in _WEIGHTS if weights else ([],):
        try:
            folder = snapshot_download(
                name, revision=revision, allow_patterns=[*_JSON, *kind]
            )
        except (errors.RepositoryNotFoundError, errors.RevisionNotFoundError) as error:
            raise ValueError(
                f"{name} does not exist on the hub or as a local folder, or is "
                f"private{_nearest(name)}: {_first_line(error)}"
            ) from error
        except (OSError, errors.HfHubHTTPError) as error:
            raise ConnectionError(
                f"{name} is not a local folder, and the hub cannot be reached or "
                f"denies access{_nearest(name)}; give the path of a downloaded "
                f"checkpoint instead: {_first_line(error)}"
            ) from error
        if not weights or any(
            next(Path(folder).glob(pattern), None) for pattern in kind
        ):
            return Path(folder)
    expected = ", ".join(kind[0] for kind in _WEIGHTS)
    raise ValueError(f"{name} holds no weights on the hub, neither {expected}")


def _nearest(name: str) -> str:
    """A hint with the paper's checkpoints of similar names; empty without any."""
    known = [variant.checkpoint for variant in VARIANTS.values()]
    near = difflib.get_close_matches(name, known, n=3, cutoff=0.7)
    return f" (nearest of the paper's: {', '.join(near)})" if near else ""


def _first_line(error: Exception) -> str:
    return str(error).strip().partition("\n")[0]
