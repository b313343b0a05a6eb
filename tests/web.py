"""Web servers that answer byte for byte what a test says, and the fixtures that start and watch them."""

import ipaddress
import socket
import socketserver
import ssl
import threading
from collections.abc import Callable, Iterator

import pytest

from pictures import encode, solid
from tellapart.data import addresses
from tellapart.data.fetch import FetchRules, FetchTimeout, fetch
from tellapart.errors import FetchError

PNG = encode(solid("red"))


class Server(socketserver.ThreadingTCPServer):
    """Answers each connection on 127.0.0.1 with what `answer(connection, head of the request)` does."""

    allow_reuse_address = True
    daemon_threads = True
    block_on_close = False

    def __init__(
        self,
        answer: Callable[[socket.socket, str], None],
        tls: ssl.SSLContext | None = None,
        speaks_first: bool = False,
    ):
        self.heads: list[str] = []
        self.stopped = threading.Event()
        server = self

        class Handler(socketserver.BaseRequestHandler):
            def handle(self) -> None:
                connection = self.request
                try:
                    if tls:
                        connection = tls.wrap_socket(connection, server_side=True)
                    head = b""
                    while not (speaks_first or b"\r\n\r\n" in head):
                        received = connection.recv(4096)
                        if not received:
                            return
                        head += received
                    server.heads.append(head.decode("latin-1"))
                    answer(connection, server.heads[-1])
                    connection.close()
                except OSError:
                    pass  # the client went away, as it should

        super().__init__(("127.0.0.1", 0), Handler)
        self.port = self.server_address[1]
        self.url = f"http://127.0.0.1:{self.port}/a.png"
        self.rules = FetchRules(ports=(self.port,), allow_private=True, timeout_s=20)
        threading.Thread(target=self.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()


@pytest.fixture
def serve() -> Iterator[Callable[..., Server]]:
    servers = []

    def start(answer, **options) -> Server:
        if isinstance(answer, bytes):
            content = answer
            answer = lambda connection, _head: connection.sendall(content)  # noqa: E731
        servers.append(Server(answer, **options))
        return servers[-1]

    yield start
    for server in servers:
        server.stopped.set()
        server.shutdown()
        server.server_close()


@pytest.fixture
def connected(monkeypatch) -> list[tuple]:
    """Every address that a socket of this process was connected to."""
    seen = []
    connect = socket.socket.connect

    def recording(sock, address):
        seen.append(address[:2])
        return connect(sock, address)

    monkeypatch.setattr(socket.socket, "connect", recording)
    return seen


def http(
    body: bytes = PNG, *, status: str = "200 OK", content_type: str | None = "image/png", **headers: str
) -> bytes:
    """A whole answer; keyword arguments are headers, `_` for `-`."""
    lines = [f"HTTP/1.1 {status}", *(f"{name.replace('_', '-')}: {text}" for name, text in headers.items())]
    if content_type is not None:
        lines.append(f"Content-Type: {content_type}")
    return ("\r\n".join(lines) + "\r\n\r\n").encode() + body


def redirect(location: str) -> bytes:
    return http(b"", status="302 Found", content_type=None, Location=location)


def at(*answers: str | Exception):
    """A resolver that answers the first call with the first address, and so on; the last one again."""
    left = list(answers)

    def resolver(_host, port, *, type):
        resolver.calls += 1
        answer = left.pop(0) if len(left) > 1 else left[0]
        if isinstance(answer, Exception):
            raise answer
        return [(socket.AF_INET, type, 6, "", (address, port)) for address in answer.split()]

    resolver.calls = 0
    return resolver


def refused(url: str, rules: FetchRules, kind: type[FetchError], **options) -> str:
    """The message of the error that `fetch` must raise; errors of all kinds have a status and no cause."""
    with pytest.raises(FetchError) as caught:
        fetch(url, rules, **options)
    assert type(caught.value) is kind
    assert caught.value.status == (504 if kind is FetchTimeout else 400)
    assert caught.value.__cause__ is None
    return str(caught.value)


@pytest.fixture
def two_worlds(monkeypatch):
    """For this test 127.0.0.1 is a public server, and 127.0.0.2 one behind the firewall."""
    others = tuple(net for net in addresses.INTERNAL if str(net) != "127.0.0.0/8")
    monkeypatch.setattr(addresses, "INTERNAL", (*others, ipaddress.ip_network("127.0.0.2/32")))
