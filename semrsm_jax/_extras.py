"""Packages that only an extra installs."""

import importlib
from types import ModuleType


def required(module: str, extra: str, purpose: str = "") -> ModuleType:
    """Imports a module of an extra.

    ImportError: it cannot be imported, with the purpose, if given, before, and how to
    install it.
    """
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise ImportError(
            f"{purpose and f'{purpose}: '}{module} cannot be imported ({error}); to "
            f"install it: pip install 'semrsm_jax[{extra}]'"
        ) from error
