"""Licences of images that a search finds: which can be asked for, and what they are called."""

import re

from tellapart.errors import ConfigError

LICENCES = ("CC-0", "PDM", "CC-BY", "CC-BY-SA", "CC-BY-NC", "CC-BY-NC-SA", "CC-BY-ND", "CC-BY-NC-ND")
"""The licences that can be asked for; PDM is the Public Domain Mark."""

OPEN_LICENCES = LICENCES[:4]
"""Those that let everybody use and change an image for any purpose: the default."""

_VERSION = re.compile(r"[1-9](\.[0-9])?")


def licence_name(text: str) -> str:
    """Return one of `LICENCES` as a user may write it, such as ``cc0`` or ``cc-by``.

    Raises
    ------
    ConfigError
        If it is none of them.
    """
    name = {"CC0": "CC-0"}.get(text.strip().upper(), text.strip().upper())
    if name not in LICENCES:
        raise ConfigError(f"no licence is called {text.strip()!r}; accepted: {', '.join(LICENCES)}")
    return name


def versioned(licence: str, version: str) -> str:
    """Return a licence with its version, such as ``CC-BY 2.0``; what is no version is left out."""
    return f"{licence} {version}" if licence.startswith("CC-BY") and _VERSION.fullmatch(version) else licence
