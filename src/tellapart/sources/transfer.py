"""Brings the bytes of one candidate to the disk, resuming what was begun, and checks every one of them.

What has come so far lies beside the finished images as ``.ID.ETAG.part``: the entity tag is in the name,
so that a later process can ask for the rest with If-Range and cannot mix two versions of a file.
"""

import hashlib
import re
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import quote, unquote, urlsplit
from urllib.request import url2pathname

import httpx2

from tellapart.sources.candidate import Candidate
from tellapart.sources.session import NO_GOOD, Refused, Session, TryAgain, Unavailable

MAX_IMAGE_BYTES = 500_000_000
MOST_SECONDS = 900.0
"""How long one image may take, all attempts together: a server that drips must not hold a thread for ever."""

_MAX_TAG_CHARS = 100  # as part of a file name
_HEADERS = {"Accept": "image/*, application/octet-stream;q=0.9, */*;q=0.1", "Accept-Encoding": "identity"}
_NOT_IMAGES = re.compile(r"text/|application/(json|xml|xhtml)|.*\+(json|xml)$")  # SVG is XML too
_PART = re.compile(r"\.(?P<id>.+?)\.(?P<tag>(?:%[0-9A-F]{2}|[\w~-])*)\.part", re.ASCII)
_STRONG = re.compile(r'"[!#-~]*"')
_MD5 = re.compile(r'"([0-9a-f]{32})"')
_CONTENT_RANGE = re.compile(r"bytes (?:(\d+)-\d+|\*)/(\d+|\*)")


class Transfer:
    """One candidate's way to the disk, in one thread.

    Parameters
    ----------
    session
        What asks.
    candidate
        What is fetched; its `url` may be a ``file:`` address only where `allow_file` says so.
    folder
        Where the part file lies.
    leftover
        A part file of this candidate from an earlier run.
    """

    def __init__(
        self,
        session: Session,
        candidate: Candidate,
        folder: Path,
        *,
        leftover: Path | None = None,
        allow_file: bool = False,
    ) -> None:
        self._session, self._candidate, self._folder = session, candidate, folder
        self._allow_file = allow_file
        self.etag = _tag_of(leftover) if leftover else ""
        self.n_received = 0
        self._part = leftover or self._part_for("")
        self._until_s = time.monotonic() + MOST_SECONDS
        self._odd_md5 = ""

    def receive(self) -> bytes:
        """Try once, from where the last attempt broke off; return the whole file as the server has it.

        Raises
        ------
        TryAgain
            If the next attempt may succeed: call it inside `Session.insist`.
        Refused, Unavailable, Stopped
            If it cannot.
        OSError
            If the disk is full or cannot be written.
        """
        if self._candidate.url.lower().startswith("file:"):
            return self._copy()
        start = self._part.stat().st_size if self.etag and self._part.exists() else 0
        headers = {**_HEADERS, "Range": f"bytes={start}-", "If-Range": self.etag} if start else _HEADERS
        with self._gains():
            with self._session.stream(self._candidate.url, headers) as response:
                told = dict(response.headers.items())
                if response.status_code == 416:
                    n_bytes: int | None = self._after_416(response, told, start)
                    content = self._part.read_bytes()
                else:
                    n_bytes = self._begin(response, told, start)
                    content = self._write(response, start if response.status_code == 206 else 0)
            self._check_whole(content, n_bytes)
        return content

    def reject(self, reason: str) -> TryAgain:
        """Forget what was received, and return the error that has it fetched anew."""
        self.discard()
        return TryAgain(reason, cost=NO_GOOD)

    def settle(self, content: bytes | None) -> Path:
        """Return the file that holds what was received, or `content` in its place, ready for its name."""
        if content is None:
            return self._part
        # Not in a file that has the tag in its name: nobody must ever append to this one.
        path = self._part_for("")
        path.write_bytes(content)
        return path

    def discard(self) -> None:
        """Remove the part file."""
        self._part.unlink(missing_ok=True)

    # ---- one attempt ---------------------------------------------------------------------------------

    @contextmanager
    def _gains(self) -> Iterator[None]:
        """Let attempts count anew if this one broke off but leaves us with more than before."""
        before = self.n_received
        try:
            yield
        except TryAgain as exc:
            exc.progressed = bool(self.etag) and self._part.exists() and self.n_received > before
            raise

    def _begin(self, response: httpx2.Response, told: Mapping[str, str], start: int) -> int | None:
        """Check an answer's headers and return how long the file will be, if the server says so."""
        kind = told.get("content-type", "").partition(";")[0].strip().lower()
        if _NOT_IMAGES.match(kind):
            raise TryAgain(f"{response.url.host} answered with {kind}, not with an image", cost=NO_GOOD)
        if told.get("content-encoding", "identity").strip().lower() not in ("", "identity"):
            raise Refused(f"{response.url.host} sent the image compressed once more, unasked")
        if response.status_code == 206:
            total = self._check_range(response, told, start)
        else:
            self._start_anew(told.get("etag", ""))
            total = told.get("content-length", "")
        n_bytes = int(total) if total.isascii() and total.isdecimal() else None
        if (n_bytes or 0) > MAX_IMAGE_BYTES:
            raise Refused(f"the file has {n_bytes:,} bytes; at most {MAX_IMAGE_BYTES:,} are taken")
        return n_bytes

    def _check_range(self, response: httpx2.Response, told: Mapping[str, str], start: int) -> str:
        found = _CONTENT_RANGE.fullmatch(told.get("content-range", ""))
        same = told.get("etag", self.etag) == self.etag
        if not start or found is None or found[1] != str(start) or not same:
            raise self.reject(f"{response.url.host} answered with another part of the file than asked for")
        return found[2]

    def _after_416(self, response: httpx2.Response, told: Mapping[str, str], start: int) -> int:
        """Return the length of a file that is here in full already; else begin anew."""
        found = _CONTENT_RANGE.fullmatch(told.get("content-range", ""))
        if not start:
            raise Refused(f"{response.url.host} answered 416 to a request for the whole file", 416)
        if found is None or found[2] != str(start):
            self.discard()
            raise TryAgain(f"{response.url.host} has a shorter file than before")
        return start

    def _start_anew(self, etag: str) -> None:
        if self.etag:
            self.discard()
        # A weak tag does not promise equal bytes, and without a tag nothing does.
        self.etag = etag if _STRONG.fullmatch(etag) and len(_escaped(etag)) <= _MAX_TAG_CHARS else ""
        self._part = self._part_for(self.etag)

    def _part_for(self, etag: str) -> Path:
        return self._folder / f".{self._candidate.id}.{_escaped(etag)}.part"

    def _write(self, response: httpx2.Response, start: int) -> bytes:
        """Append the body to the first `start` bytes of the part file; return all of it."""
        content = bytearray(self._part.read_bytes() if start else b"")
        with self._part.open("ab" if start else "wb") as file:
            for chunk in response.iter_raw():  # as it comes: bytes held back would be lost when it breaks off
                file.write(chunk)
                content += chunk
                self.n_received += len(chunk)
                if len(content) > MAX_IMAGE_BYTES:
                    raise Refused(
                        f"the file has more than {MAX_IMAGE_BYTES:,} bytes, the most that are taken"
                    )
                if time.monotonic() > self._until_s:
                    raise Unavailable(f"the image took longer than {MOST_SECONDS / 60:.0f} minutes")
                self._session.check_not_stopped()
        return bytes(content)

    def _check_whole(self, content: bytes, n_bytes: int | None) -> None:
        if n_bytes is not None and len(content) != n_bytes:
            if len(content) > n_bytes:
                raise self.reject("the server sent more bytes than it announced")
            raise TryAgain(f"only {len(content):,} of {n_bytes:,} bytes arrived")
        tag = _MD5.fullmatch(self.etag)
        if tag is not None:
            md5 = hashlib.md5(content, usedforsecurity=False).hexdigest()
            # The same bytes twice are the file: then the tag is an MD5 in looks only, as it may be.
            if md5 not in (tag[1], self._odd_md5):
                self._odd_md5 = md5
                raise self.reject("the bytes that arrived do not have the checksum that the server gave")

    # ---- local files ---------------------------------------------------------------------------------

    def _copy(self) -> bytes:
        if not self._allow_file:
            raise Refused("a file on this machine, named by somebody else, is not read")
        path = Path(url2pathname(urlsplit(self._candidate.url).path))
        try:
            if path.stat().st_size > MAX_IMAGE_BYTES:
                raise Refused(f"{path} has more than {MAX_IMAGE_BYTES:,} bytes, the most that are taken")
            content = path.read_bytes()
        except OSError as exc:
            raise Refused(f"{path} cannot be read: {(exc.strerror or type(exc).__name__).lower()}") from exc
        self._part.write_bytes(content)
        return content


def leftovers(folder: Path) -> dict[str, Path]:
    """Return the part files in a folder that can be gone on with, by their candidate's id."""
    found = {}
    for path in folder.glob(".*.part"):
        match = _PART.fullmatch(path.name)
        if match is not None and match["tag"]:
            found[match["id"]] = path
    return found


def _escaped(etag: str) -> str:
    # No dots either, so that the name of a part file can be taken apart again.
    return quote(etag, safe="").replace(".", "%2E")


def _tag_of(part: Path) -> str:
    match = _PART.fullmatch(part.name)
    return unquote(match["tag"]) if match else ""
