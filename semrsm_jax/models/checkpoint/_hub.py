"""Checkpoints by name: a folder or file at hand, or a repository on the hub."""

import os
import re
from pathlib import Path

_REPOSITORY = re.compile(r"[\w.-]+/[\w.-]+")
_JSON = ["config.json", "preprocessor_config.json"]
# The weights of a repository, the preferred kind first.
_WEIGHTS = (
    ["model.safetensors", "model.safetensors.index.json", "model-*.safetensors"],
    ["pytorch_model.bin", "pytorch_model.bin.index.json", "pytorch_model-*.bin"],
)


def locate(source: str | os.PathLike, *, revision: str | None = None) -> Path:
    """Finds a checkpoint: what is on the disk as it is, else the hub's, downloaded.

    Downloads go to the cache of huggingface_hub, and what lies there is not fetched
    again. Config and preprocessor come with the weights; .safetensors are preferred.

    Args:
      source: a folder, a file, or the id of a repository, such as
        `"facebook/dinov2-base"`.
      revision: branch, tag or commit in the repository.

    Returns:
      The folder or file.

    Raises:
      ConnectionError: the hub cannot be reached, or refuses access, and its cache does
        not hold the checkpoint.
      ImportError: huggingface_hub is not installed.
      ValueError: `source` is neither on the disk nor an id, or the repository does not
        exist or holds no weights.
    """
    path = Path(source)
    if path.exists():
        return path
    if not isinstance(source, str) or not _REPOSITORY.fullmatch(source):
        raise ValueError(
            f"{source} does not exist, nor is it the id of a repository on the hub "
            "(owner/name)"
        )
    try:
        import huggingface_hub
    except ImportError as error:
        raise ImportError(
            f"{source} is no folder here; to fetch it from the hub "
            "pip install 'semrsm_jax[hub]'"
        ) from error
    return _download(huggingface_hub, source, revision)


def _download(hub: "object", source: str, revision: str | None) -> Path:
    from huggingface_hub import errors, snapshot_download

    for kind in _WEIGHTS:
        try:
            folder = snapshot_download(
                source, revision=revision, allow_patterns=[*_JSON, *kind]
            )
        except (errors.RepositoryNotFoundError, errors.RevisionNotFoundError) as error:
            raise ValueError(
                f"{source} does not exist on the hub, nor here as a folder, or is "
                f"private: {_first_line(error)}"
            ) from error
        except (OSError, errors.HfHubHTTPError) as error:
            raise ConnectionError(
                f"{source} is no folder here, and the hub cannot be reached or has "
                f"refused it; give the path of a downloaded checkpoint instead: "
                f"{_first_line(error)}"
            ) from error
        if any(next(Path(folder).glob(name), None) for name in kind):
            return Path(folder)
    raise ValueError(f"{source} holds no weights on the hub: {_WEIGHTS}")


def _first_line(error: Exception) -> str:
    return str(error).strip().partition("\n")[0]
