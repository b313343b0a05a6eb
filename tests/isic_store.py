"""The store of files behind the stand-in archive, which answers as S3 does, and all that can go wrong."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from isic_images import StoredImage

PASSING = ("429", "503", "reset", "short", "html", "slow", "corrupt")
"""Faults that are over after one answer."""
STALL = "stall"
"""A fault that is over after one answer, too, but takes as long as the client is patient."""
LASTING = ("403", "404")
"""Faults that stay."""

_S3_ERROR = '<?xml version="1.0" encoding="UTF-8"?>\n<Error><Code>{}</Code><Message>no</Message></Error>'


@dataclass(frozen=True)
class Answer:
    """A whole answer; `cut_at` sends only so many bytes of the body and breaks the connection, or stalls."""

    body: bytes
    status: int = 200
    content_type: str = "application/json; charset=utf-8"
    headers: Mapping[str, str] = field(default_factory=dict)
    cut_at: int | None = None
    reset: bool = False
    slowly: bool = False
    stalls: bool = False


def path_of(image: StoredImage) -> str:
    """Where the store keeps an image's file."""
    return f"/store/images/{image.isic_id}.{image.suffix}"


def etag(image: StoredImage) -> str:
    """The tag of an image's file: its MD5, or no checksum where the file was put together from parts."""
    return f'"{image.md5[:-1]}-2"' if int(image.isic_id[-7:]) % 11 == 0 else f'"{image.md5}"'


def broken(fault: str, right: Answer, retry_after: str) -> Answer:
    """Return how an answer goes wrong."""
    half = len(right.body) // 2
    match fault:
        case "429":
            return Answer(b"slow down", 429, "text/plain", {"Retry-After": retry_after})
        case "503":
            return Answer(_S3_ERROR.format("SlowDown").encode(), 503, "application/xml")
        case "403" | "404":
            code = "AccessDenied" if fault == "403" else "NoSuchKey"
            return Answer(_S3_ERROR.format(code).encode(), int(fault), "application/xml")
        case "html":
            return Answer(b"<html><body>Log in to this network</body></html>", 200, "text/html")
        case "corrupt":
            body = right.body[:half] + bytes(min(64, len(right.body) - half)) + right.body[half + 64 :]
            return replace(right, body=body)
    return replace(
        right,
        cut_at=None if fault == "slow" else half,
        reset=fault == "reset",
        slowly=fault == "slow",
        stalls=fault == STALL,
    )


def file_answer(images: Mapping[str, StoredImage], path: str, headers: Mapping[str, str]) -> Answer:
    """Answer as S3 does, ranges included."""
    match = re.fullmatch(r"/store/(images|thumbnails)/(ISIC_\d{7})(?:_thumbnail)?\.(jpg|png)", path)
    image = images.get(match[2]) if match else None
    if match is None or image is None or (match[1] == "images" and match[3] != image.suffix):
        return Answer(_S3_ERROR.format("NoSuchKey").encode(), 404, "application/xml")
    is_thumbnail = match[1] == "thumbnails"
    body, tag = (image.thumbnail, f'"{image.isic_id}"') if is_thumbnail else (image.content, etag(image))
    kind = "image/png" if match[3] == "png" else "image/jpeg"
    content_type = "binary/octet-stream" if int(image.isic_id[-7:]) % 7 == 1 else kind
    facts = {"ETag": tag, "Accept-Ranges": "bytes", "Content-Disposition": "attachment"}
    wanted = re.fullmatch(r"bytes=(\d+)-(\d*)", headers.get("range", ""))
    if wanted is None or headers.get("if-range", tag) != tag:
        return Answer(body, 200, content_type, facts)
    start, end = int(wanted[1]), min(int(wanted[2] or len(body)), len(body) - 1)
    if start >= len(body):
        facts["Content-Range"] = f"bytes */{len(body)}"
        return Answer(_S3_ERROR.format("InvalidRange").encode(), 416, "application/xml", facts)
    facts["Content-Range"] = f"bytes {start}-{end}/{len(body)}"
    return Answer(body[start : end + 1], 206, content_type, facts)
