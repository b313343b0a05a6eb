"""A request's body: read within limits, whatever its headers claim, and cut into its parts."""

import zlib
from collections.abc import AsyncGenerator
from dataclasses import dataclass

from starlette.datastructures import Headers, UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser
from starlette.requests import Request

from tellapart.serving.problems import Problem
from tellapart.serving.settings import Settings

_WINDOW_BITS = {"gzip": 31, "x-gzip": 31, "deflate": 15}


async def read_body(request: Request, settings: Settings) -> bytes:
    """Return the body, decompressed.

    Raises
    ------
    Problem
        413 when it is too large, as sent or decompressed; 415 for an unknown Content-Encoding; 400 when
        it does not decompress; 503 when all requests together hold too much, which what it decompresses
        to counts towards. The guard adds 408 for one that does not end in time.
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
    if encoding not in _WINDOW_BITS:
        return body
    inflated = _inflate(body, encoding, limit)
    request.state.held.add(len(inflated))
    return inflated


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
        400 if it is damaged, or has too many files or other fields.
    """

    async def stream() -> AsyncGenerator[bytes, None]:
        yield body

    parser = _InMemory(headers, stream(), max_files=max_files, max_fields=20, max_part_size=1000)
    try:
        form = await parser.parse()
    except MultiPartException as exc:
        if exc.message.startswith("Too many files"):
            raise too_many_images(f"more than {max_files}", max_files) from exc
        raise _unreadable(exc.message) from exc
    except KeyError as exc:
        raise _unreadable("no boundary") from exc
    except UnicodeError as exc:
        raise _unreadable("it is not in the charset that it names") from exc
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


def too_many_images(number: str, most: int) -> Problem:
    """Return the refusal of a request that has more images than one may have."""
    detail = f"{number} images in one request; send at most {most}"
    return Problem(400, detail, members={"max_images": most})


def _unreadable(reason: str) -> Problem:
    return Problem(400, f"the multipart body cannot be read: {reason}")
