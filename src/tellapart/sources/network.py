"""Connections that go only to addresses which may be asked: what lies beneath a `Session`.

The check sits where a socket is opened, below URL parsing, redirects and the pool of connections, so that
none of them can lead around it. The name in the URL still decides which certificate is accepted.
"""

import functools
import socket
import ssl
import threading
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import httpcore2
import httpx2

from tellapart.data.addresses import DEFAULT_PORTS, ForbiddenAddress, Resolver, resolve
from tellapart.errors import FetchError

_ALL_PORTS = range(1, 65536)
_KEEP_ALIVE_S = 60.0


class Refused(FetchError):
    """The answer is no, and asking again would change nothing.

    Attributes
    ----------
    code
        The HTTP status, or None where no server said it.
    detail
        What the server gave as its reason, in one short line; may be empty.
    """

    def __init__(self, message: str, code: int | None = None, detail: str = "") -> None:
        super().__init__(message)
        self.code, self.detail = code, detail


class Unavailable(FetchError):
    """There is no usable answer now; later there may be one."""


class CheckedNetwork(httpcore2.NetworkBackend):
    """Opens sockets to the numeric address that `addresses.resolve` allowed, looked up once."""

    def __init__(self, allow_private: bool, resolver: Resolver = socket.getaddrinfo) -> None:
        self._sockets = httpcore2.SyncBackend()
        self._allow_private = allow_private
        self._resolver = resolver

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[httpcore2.SOCKET_OPTION] | None = None,
    ) -> httpcore2.NetworkStream:
        """Connect, or raise `Refused` (may not be asked) or `Unavailable` (nobody of that name)."""
        name = f"[{host}]" if ":" in host else host
        try:
            target = resolve(
                f"http://{name}:{port}/",  # the scheme has no part in what is checked
                ports=_ALL_PORTS if self._allow_private else tuple(DEFAULT_PORTS.values()),
                allow_private=self._allow_private,
                resolver=self._look_up,
            )
        except ForbiddenAddress:
            raise Refused(self._why_not(f"{name}:{port}")) from None
        return self._sockets.connect_tcp(target.address, port, timeout, local_address, socket_options)

    def _why_not(self, place: str) -> str:
        if self._allow_private:
            return f"{place} is no address that can hold a web server for others, and is never asked"
        return (
            f"{place} is not a public web server on port 80 or 443, and is not asked; "
            "--allow-private permits private networks and other ports"
        )

    def _look_up(self, host: str, port: int, **options: Any) -> Sequence[tuple[Any, ...]]:
        # `resolve` calls every failure forbidden. Here the name server's silence must be told apart from
        # a refusal, or a broken network would look as if the images were gone.
        try:
            return self._resolver(host, port, **options)
        except socket.gaierror as exc:
            if exc.errno == socket.EAI_AGAIN:
                raise httpcore2.ConnectError(f"no name server answers for {host}") from exc
            raise Unavailable(f"no server is known by the name {host}") from exc


class CheckedTransport(httpx2.BaseTransport):
    """A kept-alive connection for each thread that asks, over a `CheckedNetwork`.

    One pool for all threads would cost more than the requests: each request and each answer looks at every
    connection, while the other threads wait.

    Broken connections raise httpcore2's own errors, which have the names of httpx2's; `BROKEN` holds both.
    """

    def __init__(self, network: httpcore2.NetworkBackend) -> None:
        self._network = network
        self._pools: dict[threading.Thread, httpcore2.ConnectionPool] = {}
        self._lock = threading.Lock()

    @property
    def _pool(self) -> httpcore2.ConnectionPool:
        thread = threading.current_thread()
        return self._pools.get(thread) or self._new_pool(thread)

    def _new_pool(self, thread: threading.Thread) -> httpcore2.ConnectionPool:
        with self._lock:
            for other in [other for other in self._pools if not other.is_alive()]:
                self._pools.pop(other).close()
            self._pools[thread] = pool = httpcore2.ConnectionPool(
                ssl_context=_tls(),
                max_connections=1,
                keepalive_expiry=_KEEP_ALIVE_S,
                network_backend=self._network,
            )
        return pool

    def handle_request(self, request: httpx2.Request) -> httpx2.Response:
        """See `httpx2.BaseTransport.handle_request`."""
        url = request.url
        if url.scheme not in DEFAULT_PORTS:  # the pool would speak to web sockets too
            raise httpx2.UnsupportedProtocol(f"{url.scheme}: is not http or https")
        response = self._pool.handle_request(
            httpcore2.Request(
                method=request.method,
                url=httpcore2.URL(
                    scheme=url.raw_scheme, host=url.raw_host, port=url.port, target=url.raw_path
                ),
                headers=request.headers.raw,
                content=request.stream,
                extensions=request.extensions,
            )
        )
        return httpx2.Response(
            response.status,
            headers=response.headers,
            stream=_Body(response),
            extensions=response.extensions,
        )

    def close(self) -> None:
        """Close all connections."""
        with self._lock:
            while self._pools:
                self._pools.popitem()[1].close()


class _Body(httpx2.SyncByteStream):
    def __init__(self, response: httpcore2.Response) -> None:
        self._response = response

    def __iter__(self) -> Iterator[bytes]:
        return self._response.iter_stream()

    def close(self) -> None:
        self._response.close()


BROKEN = (
    httpcore2.NetworkError,
    httpcore2.ProtocolError,
    httpcore2.TimeoutException,
    httpx2.TransportError,
    httpx2.DecodingError,
)
"""What is raised when a connection cannot be made, breaks or falls silent, or a body is garbled."""

SILENT = (httpcore2.TimeoutException, httpx2.TimeoutException)
"""Those of `BROKEN` that mean waiting in vain."""


@functools.cache
def _tls() -> ssl.SSLContext:
    """Verify certificates against the system's authorities, or those that SSL_CERT_FILE names."""
    return httpcore2.default_ssl_context()
