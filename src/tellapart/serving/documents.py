"""JSON documents: read within bounds, written as UTF-8 that every client can read."""

import base64
import json
from typing import Any

from starlette.responses import JSONResponse

from tellapart.errors import DataError

MAX_VALUES = 100_000
"""Of one document: parsing millions would hold up all other requests for seconds."""

_encode = json.JSONEncoder(ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode


class Document(JSONResponse):
    """An answer in JSON."""

    def render(self, content: Any) -> bytes:
        """Return the body."""
        return write(content)


def write(content: Any) -> bytes:
    """Return the text of a document.

    A name that came in, or a folder's that became a class, may hold half a surrogate pair, which UTF-8 has
    no bytes for; it becomes a question mark.
    """
    return _encode(content).encode("utf-8", "replace")


def parse(text: bytes, *, max_values: int = MAX_VALUES, instead: str = "ask for less in one request") -> Any:
    """Return what a document says.

    Parameters
    ----------
    max_values
        Numbers, texts, lists and objects that it may hold; an image in base64 is one of them.
    instead
        What to do, for who sent more.

    Raises
    ------
    DataError
        If it is no JSON, nested without end, or has too many values.
    """
    # Counted before they are parsed. Base64 has none of these characters.
    if sum(map(text.count, (b",", b"[", b"{"))) > max_values:
        raise DataError(f"more than {max_values:,} values in JSON; {instead}")
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as exc:
        reason = "nested too deeply" if isinstance(exc, RecursionError) else str(exc)
        raise DataError(f"the request is not JSON: {reason[:200]}") from exc


def decode_base64(text: str | bytes) -> bytes:
    """Return the bytes of base64 text, also as a data URL or with line breaks.

    Raises
    ------
    DataError
        If it is not base64.
    """
    # As Latin-1 every byte is a character, which then is one of base64's or is refused.
    plain = text if isinstance(text, str) else text.decode("latin-1")
    if plain.startswith("data:"):
        head, _, plain = plain.partition(",")
        if not head.endswith(";base64"):
            raise DataError("the data URL is not base64")
    try:
        return base64.b64decode("".join(plain.split()), validate=True)
    except ValueError as exc:
        raise DataError(f"the image is not base64: {exc}") from exc
