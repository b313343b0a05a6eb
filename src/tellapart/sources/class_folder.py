"""The folder of a class: called like the class, as far as file systems allow."""

import re
import unicodedata
from collections.abc import Iterable

from tellapart.data.manifest import FETCHED_MANIFEST
from tellapart.errors import ConfigError

_NO_FOLDER_CHARS = re.compile(r'[\x00-\x1f\x7f-\x9f\ud800-\udfff<>:"/\\|?*]|[^\S ]')
_MAX_NAME_BYTES = 100
_TAKEN_NAMES = {FETCHED_MANIFEST.casefold(), "attribution.txt", "readme.md", "licences"}  # by the papers


def folder_name(label: str) -> str:
    """Return the name of a class's folder, which is the label where a file system allows that.

    Examples
    --------
    >>> folder_name("Nevus, NOS"), folder_name("a/b"), folder_name("licences")
    ('Nevus, NOS', 'a_b', 'licences_')
    """
    name = _NO_FOLDER_CHARS.sub("_", label).strip(". ").encode()[:_MAX_NAME_BYTES].decode(errors="ignore")
    name = name.strip(". ") or "_"
    return f"{name}_" if name.casefold() in _TAKEN_NAMES else name


def check_distinct(labels: Iterable[str]) -> None:
    """See that each class has a folder of its own, on file systems that ignore case and accents' form too.

    Raises
    ------
    ConfigError
        Naming two that have not.
    """
    label_of: dict[str, str] = {}
    for label in labels:
        folder = unicodedata.normalize("NFC", folder_name(label)).casefold()
        other = label_of.setdefault(folder, label)
        if other != label:
            raise ConfigError(
                f"the classes {other!r} and {label!r} would be one folder; "
                "rename one of them, or fetch it into another folder"
            )
