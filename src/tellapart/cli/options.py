"""Options that several commands read alike."""

from collections.abc import Sequence

from tellapart.errors import ConfigError

SMALLEST_PX = 32
"""The least short edge to which images are scaled on arrival."""


def listed(options: Sequence[str] | None) -> list[str]:
    """Return the values of an option that may be repeated, or hold several with commas between them."""
    return [value.strip() for option in options or () for value in option.split(",") if value.strip()]


def short_edge_px(size: str, names: Sequence[str]) -> int | None:
    """Read --size: None for one of `names`, else the short edge in pixels.

    Raises
    ------
    ConfigError
        If it is neither.
    """
    if size in names:
        return None
    if not (size.isascii() and size.isdecimal() and int(size) >= SMALLEST_PX):
        raise ConfigError(
            f"--size {size!r} is not understood; give {', '.join(names)}, "
            f"or the short edge in pixels (at least {SMALLEST_PX})"
        )
    return int(size)
