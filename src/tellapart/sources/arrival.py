"""An arrival: an image that a source offered and that is now in a collection's folder."""

from dataclasses import dataclass
from datetime import UTC, datetime

from tellapart.sources.candidate import Candidate


@dataclass(frozen=True, slots=True)
class Arrival:
    """An image that is here.

    Attributes
    ----------
    candidate
        What was offered.
    path
        Of the file, relative to the collection's folder, with POSIX separators.
    sha256, n_bytes, size_px
        Of the file: hex digest, bytes, width and height.
    source_sha256, source_bytes, etag
        Of what the server sent, before any resizing.
    at
        When, in UTC, ISO 8601.
    """

    candidate: Candidate
    path: str
    sha256: str
    n_bytes: int
    size_px: tuple[int, int]
    source_sha256: str
    source_bytes: int
    etag: str
    at: str


def now() -> str:
    """Return the time in UTC, to the second, ISO 8601."""
    return datetime.now(UTC).isoformat(timespec="seconds")
