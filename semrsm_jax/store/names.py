"""Names of layers, as frameworks make them, under which files and folders may be."""

import hashlib
from collections.abc import Iterable
from urllib.parse import quote

# What stands beside the layers in some file or folder, or is a word of its format;
# numpy.savez takes the last two for itself.
_RESERVED = {"zarr.json", "crc32c", "ids", "metadata", "file", "allow_pickle"}

# Bytes; names of files may have 255 on the usual systems, and a suffix follows.
_MOST, _KEPT, _DIGITS = 200, 120, 32


def safe_name(name: str) -> str:
    """The name under which a layer is stored, which any file system and format takes.

    Letters, digits and ``-._~`` stay, so that ``"stages.0"`` is itself. All else is
    percent-encoded, and so is the first character where the name is reserved or begins
    with a dot or underscore. A long name is cut, and ends in a part of its SHA-256. No
    two names have the same. The name itself is kept beside the values.

    Args:
      name: any text.

    Returns:
      The safe name, of at most 200 characters.
    """
    safe = quote(name, safe="", errors="surrogatepass")
    if not safe:
        return "%"
    if safe in _RESERVED or safe[0] in "._":
        safe = f"%{ord(safe[0]):02X}{safe[1:]}"
    if len(safe) > _MOST:
        digest = hashlib.sha256(name.encode(errors="surrogatepass")).hexdigest()
        safe = f"{safe[:_KEPT]}%{digest[:_DIGITS]}"
    return safe


def listed(names: Iterable[str | None]) -> str:
    """Names as they stand in an error."""
    return ", ".join(map(repr, names)) or "none"
