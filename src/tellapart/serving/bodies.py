"""Read a request's body within limits, whatever its headers claim, and parse what it holds."""

import base64
import binascii
import json
import zlib
from collections.abc import AsyncGenerator
from dataclasses import dataclass
from typing import Any

from starlette.datastructures import Headers, UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser
from starlette.requests import Request

from tellapart.serving.problems import Problem
from tellapart.serving.settings import Settings

MAX_JSON_VALUES = 100_000
"""Of a body in JSON; an image in base64 is one of them."""

_WINDOW_BITS = {"gzip": 31, "x-gzip": 31, "deflate": 15}


async def read_body(request: Request, settings: Settings) -> bytes:
    """Return the body, decompressed.

    Raises
    ------
    Problem
        413 when it is too large, as sent or decompressed; 415 for an unknown Content-Encoding; 400 when
        it does not decompress. The guard adds 408 for one that does not end in time.
    """
    encoding = request.headers.get("content-encoding", "identity").strip().lower()
    if encoding not in ("identity", "", *_WINDOW_BITS):
        raise Problem(
            415, f"Content-Encoding {encoding!r} is not known; send gzip, deflate or none",
            headers={"Accept-Encoding": "gzip, deflate"},
        )  # fmt: skip
    limit = settings.max_body_bytes
    length = request.headers.get("content-length", "")
    if length.isdecimal() and int(length) > limit:
        raise _too_large(limit)
    chunks: list[bytes] = []
    n_bytes = 0
    async for chunk in request.stream():
        n_bytes += len(chunk)
        if n_bytes > limit:
            raise _too_large(limit)
        chunks.append(chunk)
    body = chunks[0] if len(chunks) == 1 else b"".join(chunks)
    return _inflate(body, encoding, limit) if encoding in _WINDOW_BITS else body


def _inflate(body: bytes, encoding: str, limit: int) -> bytes:
    inflater = zlib.decompressobj(_WINDOW_BITS[encoding])
    try:
        inflated = inflater.decompress(body, limit + 1)
    except zlib.error as exc:
        raise Problem(400, f"the body is not {encoding}") from exc
    if len(inflated) > limit:
        raise _too_large(limit)
    if not inflater.eof or inflater.unused_data:
        raise Problem(400, f"the body is not one complete {encoding} stream")
    return inflated


def _too_large(limit: int) -> Problem:
    return Problem(413, f"the body is larger than {limit:,} bytes")


def parse_json(body: bytes) -> Any:
    """Parse JSON.

    Raises
    ------
    Problem
        400 if it is none, nested without end, or has very many values.
    """
    # Counted before they are parsed, which for millions would hold up all other requests for seconds.
    if sum(map(body.count, (b",", b"[", b"{"))) > MAX_JSON_VALUES:
        raise Problem(400, f"the body has more than {MAX_JSON_VALUES:,} values in JSON")
    try:
        return json.loads(body)
    except (ValueError, RecursionError) as exc:
        reason = "nested too deeply" if isinstance(exc, RecursionError) else str(exc)
        raise Problem(400, f"the body is not JSON: {reason[:200]}") from exc


def decode_base64(text: str) -> bytes:
    """Return the bytes of base64 text, also as a data URL or with line breaks.

    Raises
    ------
    Problem
        400 if it is not base64.
    """
    if text.startswith("data:"):
        head, _, text = text.partition(",")
        if not head.endswith(";base64"):
            raise Problem(400, "the data URL is not base64")
    try:
        return base64.b64decode("".join(text.split()), validate=True)
    except (binascii.Error, ValueError) as exc:
        raise Problem(400, f"the image is not base64: {exc}") from exc


@dataclass(frozen=True, slots=True)
class Part:
    """One file of a multipart body."""

    name: str
    content: bytes


class _InMemory(MultiPartParser):
    # The body is in memory, and within its limit, before it is parsed: no temporary files.
    spool_max_size = 2**31


async def parse_multipart(headers: Headers, body: bytes, max_files: int) -> tuple[list[Part], dict[str, str]]:
    """Return the files and the other fields of a ``multipart/form-data`` body.

    Raises
    ------
    Problem
        400 if it is damaged, or has too many parts.
    """

    async def stream() -> AsyncGenerator[bytes, None]:
        yield body

    parser = _InMemory(headers, stream(), max_files=max_files, max_fields=20, max_part_size=1000)
    try:
        form = await parser.parse()
    except (MultiPartException, KeyError) as exc:
        reason = exc.message if isinstance(exc, MultiPartException) else "no boundary"
        raise Problem(400, f"the multipart body cannot be read: {reason}") from exc
    files: list[Part] = []
    fields: dict[str, str] = {}
    try:
        for name, value in form.multi_items():
            if isinstance(value, UploadFile):
                files.append(Part(value.filename or name, await value.read()))
            else:
                fields[name] = value
    finally:
        await form.close()
    return files, fields
