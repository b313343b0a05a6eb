"""A small web server of pictures on loopback, which answers as a store of files does, or as it is told to."""

import hashlib
import json
import re
import socket
import ssl
import struct
import threading
import time
from collections import defaultdict, deque
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


@dataclass(frozen=True)
class Reply:
    """An answer; `cut_at` breaks the connection after so many bytes of the body."""

    body: bytes = b""
    status: int = 200
    headers: Mapping[str, str | None] = field(default_factory=lambda: {"Content-Type": "image/png"})
    cut_at: int | None = None
    reset: bool = False
    chunk_pause_s: float = 0.0


Twist = Callable[[Reply], Reply]


def answers(body: bytes | dict = b"", status: int = 200, **headers: str | None) -> Twist:
    """Answer with this whatever the right answer is.

    ``_`` in a header's name stands for ``-``; None leaves Content-Length out.
    """
    if isinstance(body, dict):
        body, headers = json.dumps(body).encode(), {"Content_Type": "application/json", **headers}
    given = {name.replace("_", "-"): value for name, value in headers.items()}
    return lambda _right: Reply(body, status, given)


def breaks_off(at: int, *, reset: bool = False) -> Twist:
    """Send so many bytes of the right body, then break the connection."""
    return lambda right: replace(right, cut_at=at, reset=reset)


def after(seconds: float) -> Twist:
    """Give the right answer, but late."""

    def late(right: Reply) -> Reply:
        time.sleep(seconds)
        return right

    return late


class ImageHost:
    """What it has and what it was asked.

    Attributes
    ----------
    files
        Path -> content.
    tag
        Content -> ETag, or None for no such header; by default the MD5.
    twists
        Path -> what becomes of its next answers, each once; `always` -> of all.
    asked
        Path and headers (names in lower case) of every request.
    """

    def __init__(self) -> None:
        self.files: dict[str, bytes] = {}
        self.tag: Callable[[bytes], str | None] = lambda content: f'"{hashlib.md5(content).hexdigest()}"'
        self.twists: defaultdict[str, deque[Twist]] = defaultdict(deque)
        self.always: dict[str, Twist] = {}
        self.asked: list[tuple[str, dict[str, str]]] = []
        self.connections = 0
        self.url = ""
        self._lock = threading.Lock()

    def paths(self) -> list[str]:
        return [path for path, _headers in self.asked]

    def answer(self, path: str, headers: dict[str, str]) -> Reply:
        with self._lock:
            self.asked.append((path, headers))
            twist = self.twists[path].popleft() if self.twists[path] else self.always.get(path)
        right = self._right(path, headers)
        return twist(right) if twist else right

    def _right(self, path: str, headers: dict[str, str]) -> Reply:
        content = self.files.get(path)
        if content is None:
            return Reply(b"<Error/>", 404, {"Content-Type": "application/xml"})
        tag = self.tag(content)
        facts = {"Content-Type": "image/png", **({"ETag": tag} if tag else {})}
        wanted = re.fullmatch(r"bytes=(\d+)-", headers.get("range", ""))
        if wanted is None or headers.get("if-range", tag) != tag:
            return Reply(content, 200, facts)
        start = int(wanted[1])
        if start >= len(content):
            return Reply(b"", 416, {**facts, "Content-Range": f"bytes */{len(content)}"})
        facts["Content-Range"] = f"bytes {start}-{len(content) - 1}/{len(content)}"
        return Reply(content[start:], 206, facts)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: "_Server"

    def setup(self) -> None:
        super().setup()
        self.server.host.connections += 1
        self.request.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def do_GET(self) -> None:
        reply = self.server.host.answer(self.path, {k.lower(): v for k, v in self.headers.items()})
        try:
            self._send(reply)
        except OSError:
            self.close_connection = True  # the client has gone, as it may

    def _send(self, reply: Reply) -> None:
        self.send_response_only(reply.status, "Whatever")
        if "Content-Length" not in reply.headers:
            self.send_header("Content-Length", str(len(reply.body)))
        for name, value in reply.headers.items():
            if value is not None:
                self.send_header(name, value)
        if reply.headers.get("Content-Length", "") is None:
            self.close_connection = True  # the end of the body is that of the connection
        self.end_headers()
        sent = reply.body[: reply.cut_at]
        for start in range(0, len(sent), 1000) if reply.chunk_pause_s else ():
            self.wfile.write(sent[start : start + 1000])
            time.sleep(reply.chunk_pause_s)
        if not reply.chunk_pause_s:
            self.wfile.write(sent)
        if reply.cut_at is not None:
            self.close_connection = True
        if reply.reset:
            time.sleep(0.05)  # let the client have what was sent
            self.request.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))

    def log_message(self, *_: object) -> None:
        """Say nothing."""


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False
    request_queue_size = 64

    def __init__(self, host: ImageHost) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.host = host

    def shutdown_request(self, request: socket.socket) -> None:  # type: ignore[override]
        request.close()

    def handle_error(self, *_: object) -> None:
        """Say nothing of clients that went away."""


@contextmanager
def hosting(tls: ssl.SSLContext | None = None) -> Iterator[ImageHost]:
    """Serve an `ImageHost` on 127.0.0.1 until the block ends."""
    host = ImageHost()
    with _Server(host) as server:
        host.url = f"{'https' if tls else 'http'}://127.0.0.1:{server.server_address[1]}"
        if tls:
            server.socket = tls.wrap_socket(server.socket, server_side=True)
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        try:
            yield host
        finally:
            server.shutdown()
            thread.join()
