"""A stand-in of the ISIC Archive: its API version 2, its store of files, and what can go wrong.

`python tests/isic_archive.py` serves it on port 8000, where the official client (`isic --dev`) looks for a
server in development; `test_isic_archive.py` holds it to that client.
"""

import argparse
import gzip
import json
import random
import socket
import struct
import threading
import time
from base64 import b64decode, b64encode
from binascii import Error as BadBase64
from collections import Counter, defaultdict, deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

from isic_images import ATTRIBUTIONS, COLLECTIONS, BadQuery, StoredImage, find, make_images
from isic_store import LASTING, PASSING, Answer, broken, etag, file_answer, path_of

_PAGE = 100
_OFTEN_S = 0.02
_SILENCE_S = 60.0
_SILENT_FACETS = {"isic_id", "public", "patient_id", "lesion_id", "pixels_x", "pixels_y"}


@dataclass(frozen=True)
class Asked:
    """A request that arrived; names of headers are in lower case."""

    path: str
    query: str
    headers: Mapping[str, str]


class StandIn:
    """The archive's state: its images, the faults still to happen, and what was asked.

    Attributes
    ----------
    images
        In the order in which they were added.
    faults
        Path -> faults of its next answers, of `PASSING` or `STALL`, or one of `LASTING`.
    asked
        Every request, oldest first.
    pause_s
        How long each file takes to begin.
    retry_after
        What a 429 asks for.
    count_error
        How many more images a count tells of than there are, if any: it comes from another index.
    """

    def __init__(self, images: Sequence[StoredImage]) -> None:
        self.images = images
        self.by_id = {image.isic_id: image for image in images}
        self.faults: defaultdict[str, deque[str]] = defaultdict(deque)
        self.asked: list[Asked] = []
        self.pause_s = 0.0
        self.retry_after = "0"
        self.count_error = 0
        self.url = ""
        self._found: dict[tuple[str, tuple[int, ...]], list[StoredImage]] = {}
        self._lock = threading.Lock()

    @property
    def api(self) -> str:
        """What `--api` takes."""
        return f"{self.url}/api/v2"

    def find(self, query: str, collections: Sequence[int] = ()) -> list[StoredImage]:
        """Return what a query finds; it is remembered, as pages of it will be asked for."""
        key = query, tuple(collections)
        if key not in self._found:
            self._found[key] = find(self.images, query, collections)
        return self._found[key]

    def files_asked(self) -> Counter[str]:
        """How often each file was asked for, by its path."""
        return Counter(asked.path for asked in self.asked if asked.path.startswith("/store/"))

    def sprinkle(self, kinds: Iterable[str] = PASSING, share: float = 0.1, seed: int = 0) -> None:
        """Give this share of all the files one fault each, the kinds in turn."""
        rng, kinds = random.Random(seed), list(kinds)
        chosen = [image for image in self.images if rng.random() < share]
        for number, image in enumerate(chosen):
            kind = kinds[number % len(kinds)]
            # Nobody could notice other bytes of the same length under a tag that is no checksum.
            self.faults[path_of(image)].append("short" if kind == "corrupt" and "-" in etag(image) else kind)

    def answer(self, path: str, query: str, headers: Mapping[str, str]) -> Answer:
        """Answer one request, or go wrong as planned."""
        with self._lock:
            self.asked.append(Asked(path, query, headers))
            planned = self.faults.get(path)
            fault = (planned[0] if planned[0] in LASTING else planned.popleft()) if planned else None
        if path.startswith("/store/"):
            time.sleep(self.pause_s)
            right = file_answer(self.by_id, path, headers)
        else:
            right = _api(self, path, {key: values[-1] for key, values in parse_qs(query).items()}, query)
        return right if fault is None else broken(fault, right, self.retry_after)


def _api(archive: StandIn, path: str, params: Mapping[str, str], query: str) -> Answer:
    if not path.startswith("/api/v2/"):
        return Answer(b"<h1>Not Found</h1>", 404, "text/html; charset=utf-8")
    if not path.endswith("/"):
        target = f"{path}/?{query}" if query else f"{path}/"
        return Answer(b"", 301, "text/html; charset=utf-8", {"Location": target})
    parts = path.removeprefix("/api/v2/").strip("/").split("/")
    try:
        return _route(archive, parts, params, f"{archive.url}{path}?{query}")
    except BadQuery:
        return _json({"message": "Could not parse search query."}, 400)
    except BadParameter as exc:
        return _json({"detail": [exc.args[0]]}, 422)


def _route(archive: StandIn, parts: list[str], params: Mapping[str, str], url: str) -> Answer:
    collections = _collections(params.get("collections", ""))
    match parts:
        case ["images"]:
            return _json(_page(archive, archive.find(""), params, url))
        case ["images", "search"]:
            found = archive.find(params.get("query", ""), collections)
            return _json(_page(archive, found, params, url))
        case ["images", "search", "size"]:
            found = archive.find(params.get("query", ""), collections)
            return _json({"size": sum(len(image.ingested) for image in found)})
        case ["images", "facets"]:
            return _json(_facets(archive.find(params.get("query", ""), collections)))
        case ["images", isic_id]:
            found = archive.find(f"isic_id:{isic_id}")
            return _json(_image_out(archive, found[0])) if found else _not_found()
        case ["images", _, "similar"]:
            return _json({"detail": "Unauthorized"}, 401)
        case ["zip-download", "license-file", licence] if licence in ATTRIBUTIONS:
            return Answer(f"The text of {licence}.\n".encode(), 200, "text/plain")
    return _collection_route(archive, parts)


def _collection_route(archive: StandIn, parts: list[str]) -> Answer:
    match parts:
        case ["collections"]:
            results = [_collection_out(number) for number in COLLECTIONS]
            return _json({"results": results, "count": len(results), "next": None, "previous": None})
        case ["collections", number] if number in map(str, COLLECTIONS):
            return _json(_collection_out(int(number)))
        case ["collections", number, "attribution"] if number in map(str, COLLECTIONS):
            return _json(_attributions(archive.find("", [int(number)])))
    return _not_found()


class BadParameter(ValueError):
    """What the server's own checks of parameters say."""


def _collections(text: str) -> list[int]:
    try:
        return [int(part) for part in text.split(",")] if text else []
    except ValueError as exc:
        message = {"type": "value_error", "loc": ["query", "collections"], "msg": f"Value error, {exc}"}
        raise BadParameter(message) from exc


def _page(
    archive: StandIn, found: Sequence[StoredImage], params: Mapping[str, str], url: str
) -> dict[str, Any]:
    """Page as the server does, and lose images between short pages as the server does."""
    limit, offset, position = _limit(params.get("limit")), *_cursor(params.get("cursor"))
    later = [image for image in found if position is None or image.created > position]
    ahead = later[offset : offset + _PAGE + 1]
    page = ahead[:limit]
    following = None
    if len(ahead) > len(page):
        # The server compares with the last image that it looked ahead at, not with the next one: with
        # less than 100 to a page, others of the same instant as the page's last image are passed over.
        compare = ahead[-1].created
        for skip, image in enumerate(reversed(page)):
            if image.created != compare:
                cursor = {"o": skip, "p": image.created}
                break
        else:
            cursor = {"o": offset + limit, "p": position} if page else {"p": compare}
        following = _with_cursor(url, {key: value for key, value in cursor.items() if value})
    return {
        "results": [_image_out(archive, image) for image in page],
        "count": _count(archive, found) if position is None else None,
        "next": following,
        "previous": None,
    }


def _count(archive: StandIn, found: Sequence[StoredImage]) -> int:
    return max(0, len(found) + archive.count_error) if found else 0


def _limit(text: str | None) -> int:
    try:
        return max(0, min(int(text or _PAGE) or _PAGE, _PAGE))
    except ValueError as exc:
        said = "Input should be a valid integer, unable to parse string as an integer"
        raise BadParameter({"type": "int_parsing", "loc": ["query", "limit"], "msg": said}) from exc


def _cursor(text: str | None) -> tuple[int, str | None]:
    try:
        tokens = parse_qs(b64decode(text or "", validate=True).decode())
        return int(tokens.get("o", ["0"])[0]), tokens.get("p", [None])[0]
    except (ValueError, BadBase64) as exc:
        message = {"type": "value_error", "loc": ["query", "cursor"], "msg": "Value error, Invalid cursor."}
        raise BadParameter({**message, "ctx": {"error": "Invalid cursor."}}) from exc


def _with_cursor(url: str, cursor: Mapping[str, object]) -> str:
    params = parse_qs(urlsplit(url).query, keep_blank_values=True)
    params["cursor"] = [b64encode(urlencode(cursor).encode()).decode()]
    return urlsplit(url)._replace(query=urlencode(sorted(params.items()), doseq=True)).geturl()


def _image_out(archive: StandIn, image: StoredImage) -> dict[str, Any]:
    thumbnail = f"{archive.url}/store/thumbnails/{image.isic_id}_thumbnail.jpg"
    return {
        "isic_id": image.isic_id,
        "copyright_license": image.licence,
        "attribution": image.attribution,
        "files": {
            "full": {"url": f"{archive.url}{path_of(image)}", "size": len(image.ingested)},
            "thumbnail_256": {"url": thumbnail, "size": len(image.thumbnail)},
        },
        "metadata": {"acquisition": image.acquisition, "clinical": image.clinical},
        "public": image.public,
    }


def _collection_out(number: int) -> dict[str, Any]:
    facts = {"id": number, "name": COLLECTIONS[number], "description": "", "public": True, "pinned": True}
    return {**facts, "locked": True, "doi": None, "doi_url": None}


def _attributions(found: Sequence[StoredImage]) -> list[dict[str, Any]]:
    counts = Counter((image.licence, image.attribution) for image in found)
    return [{"license": name, "attribution": who, "count": n} for (name, who), n in counts.most_common()]


def _facets(found: Sequence[StoredImage]) -> dict[str, Any]:
    fields: defaultdict[str, Counter[Any]] = defaultdict(Counter)
    for image in found:
        facts = {"copyright_license": image.licence, **image.acquisition, **image.clinical}
        for name, value in facts.items():
            if name not in _SILENT_FACETS:
                fields[name][value] += 1
    return {
        name: {
            "meta": {"missing_count": len(found) - counts.total(), "present_count": counts.total()},
            "buckets": [{"key": value, "doc_count": n} for value, n in counts.most_common()],
        }
        for name, counts in fields.items()
    }


def _json(content: object, status: int = 200) -> Answer:
    return Answer(json.dumps(content, ensure_ascii=False).encode(), status)


def _not_found() -> Answer:
    return _json({"detail": "Not Found"}, 404)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: "_Server"

    def setup(self) -> None:
        super().setup()
        self.request.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def do_GET(self) -> None:
        path, _, query = self.path.partition("?")
        headers = {name.lower(): value for name, value in self.headers.items()}
        answer = self.server.archive.answer(path, query, headers)
        try:
            self._send(answer)
        except OSError:
            self.close_connection = True  # the client has gone, as it may

    def _send(self, answer: Answer) -> None:
        body, headers = answer.body, dict(answer.headers)
        if answer.content_type.startswith("application/json") and "gzip" in self.headers.get(
            "Accept-Encoding", ""
        ):
            body, headers["Content-Encoding"] = gzip.compress(body, 1), "gzip"
        self.send_response_only(answer.status, HTTPStatus(answer.status).phrase)
        for name, value in {"Content-Type": answer.content_type, **headers}.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if answer.slowly:
            for start in range(0, len(body), max(1, len(body) // 4)):
                self.wfile.write(body[start : start + max(1, len(body) // 4)])
                time.sleep(_OFTEN_S)
            return
        self.wfile.write(body[: answer.cut_at])
        if answer.stalls:
            self.request.settimeout(_SILENCE_S)
            self.request.recv(1)  # until the client has lost patience
        if answer.cut_at is not None:
            self.close_connection = True
        if answer.reset:
            # Closing with an empty linger time sends a reset instead of an orderly end.
            self.request.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))

    def log_message(self, *_: object) -> None:
        """Say nothing."""


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False
    request_queue_size = 128

    def __init__(self, archive: StandIn, port: int) -> None:
        super().__init__(("127.0.0.1", port), _Handler)
        self.archive = archive

    def shutdown_request(self, request: socket.socket) -> None:  # type: ignore[override]
        """Close without saying goodbye first, so that a reset stays one."""
        request.close()

    def handle_error(self, *_: object) -> None:
        """Say nothing of clients that went away."""


@contextmanager
def serving(images: Sequence[StoredImage] | None = None, port: int = 0) -> Iterator[StandIn]:
    """Serve the stand-in on 127.0.0.1 until the block ends, on a free port by default."""
    archive = StandIn(make_images() if images is None else images)
    with _Server(archive, port) as server:
        archive.url = f"http://127.0.0.1:{server.server_address[1]}"
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": _OFTEN_S})
        thread.start()
        try:
            yield archive
        finally:
            server.shutdown()
            thread.join()


def main() -> None:
    """Serve until Ctrl-C."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, default=8000)
    parser.add_argument("--images", type=int, default=1000, metavar="N")
    parser.add_argument("--size", type=int, default=60, metavar="PIXELS", help="width of the images")
    parser.add_argument("--faults", type=float, default=0, metavar="SHARE", help="of files that fail once")
    options = parser.parse_args()
    images = make_images(options.images, size=(options.size, options.size * 3 // 4))
    for image in images:
        _ = image.content  # drawn now, so that the first requests are as quick as the others
    with serving(images, options.port) as archive:
        archive.sprinkle(share=options.faults)
        print(archive.api, flush=True)
        threading.Event().wait()


if __name__ == "__main__":
    main()
