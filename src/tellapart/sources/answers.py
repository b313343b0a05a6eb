"""What services answer: text and addresses from strangers, made safe to print, to write and to follow."""

import re
from urllib.parse import quote

_WEB = re.compile(r"https?://", re.IGNORECASE)
_URL_PUNCTUATION = "%/:?#[]@!$&'()*+,;=~"


def web_address(text: str) -> str | None:
    """Return an http or https address in plain ASCII; None for anything else, which must not be followed.

    What a service answers is not trusted: a ``file:`` address would read from this machine.
    """
    return quote(text, safe=_URL_PUNCTUATION, errors="replace") if _WEB.match(text) else None


def one_line(value: object) -> str:
    """Return what a service says as one printable line; empty where it is no text."""
    if not isinstance(value, str):
        return ""
    return " ".join("".join(c if c.isprintable() else " " for c in value).split())
