"""Fetches an image from an address that a stranger gave.

Every connection goes to the numeric address that `addresses.resolve` checked, redirects included;
proxies of the environment are ignored, since they would look the name up again. One deadline covers
the name lookup, connecting, headers and body of all hops together, and bytes are counted as they arrive.
"""

import functools
import http.client
import io
import logging
import socket
import ssl
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import closing
from dataclasses import dataclass
from typing import TypeVar
from urllib.parse import urljoin

from tellapart.data.addresses import ForbiddenAddress, Resolver, Target, resolve
from tellapart.errors import FetchError

T = TypeVar("T")

_log = logging.getLogger(__name__)

_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_CHUNK_BYTES = 64 * 1024
_OVERHEAD_BYTES = 1024 * 1024  # of headers and of chunks' framing, beside the body
_MAX_LOOKUPS = 128  # threads; a lookup that hangs outlives its image's time by far
_free_lookups = threading.BoundedSemaphore(_MAX_LOOKUPS)


class NotAnImage(FetchError):
    """An allowed server answered, but not with an image that we take; nothing of it is repeated."""

    status = 400


class FetchTimeout(FetchError):
    """The whole image did not arrive before the deadline."""

    status = 504


@dataclass(frozen=True, slots=True)
class FetchRules:
    """What may be fetched, and how much of it.

    Attributes
    ----------
    ports
        The ports that may be asked.
    allow_private
        Whether loopback and private networks may be asked too; metadata services never are.
    hosts
        The only host names that may be asked; None for any.
    max_bytes
        Largest image that is taken.
    timeout_s
        From the call to the last byte, all redirects included, of an image that has no budget with others.
    max_redirects
        How often a server may send us elsewhere.
    """

    ports: tuple[int, ...] = (80, 443)
    allow_private: bool = False
    hosts: frozenset[str] | None = None
    max_bytes: int = 20_000_000
    timeout_s: float = 10.0
    max_redirects: int = 3


class Budget:
    """The bytes and the time that several images have together; threads share it.

    Parameters
    ----------
    n_bytes
        Of all images.
    seconds
        From now to the last byte, lookups, connections and redirects included.
    """

    def __init__(self, n_bytes: int, seconds: float) -> None:
        self._n_bytes = self._left_bytes = n_bytes
        self._seconds, self._ends_at_s = seconds, time.monotonic() + seconds
        self._lock = threading.Lock()

    def take(self, n_bytes: int) -> None:
        """Count bytes of an image that arrived.

        Raises
        ------
        NotAnImage
            If there are more than allowed.
        """
        with self._lock:
            self._left_bytes -= n_bytes
            if self._left_bytes < 0:
                raise NotAnImage(
                    f"the images together are larger than {self._n_bytes:,} bytes: ask for fewer"
                )

    def left_s(self) -> float:
        """Return the time that is left.

        Raises
        ------
        TimeoutError
            If it is over.
        """
        left_s = self._ends_at_s - time.monotonic()
        if left_s <= 0:
            raise TimeoutError
        return left_s

    def late(self) -> FetchTimeout:
        """Return what to say of an image that did not come in time."""
        return FetchTimeout(
            f"no whole image within {self._seconds:.3g} seconds: try again, or send the image itself"
        )


def fetch(
    url: str,
    rules: FetchRules,
    budget: Budget | None = None,
    *,
    resolver: Resolver = socket.getaddrinfo,
) -> bytes:
    """Return the bytes of the image at `url`, taken out of `budget`; call it from a thread, it blocks.

    Raises
    ------
    FetchError
        Always with a `status`: 400 for `ForbiddenAddress` (refused or no answer, in the same words) and
        `NotAnImage` (another kind of answer, or too large), 504 for `FetchTimeout`. No message repeats
        anything that a server said.
    """
    budget = budget or Budget(rules.max_bytes, rules.timeout_s)
    try:
        return _follow(url, rules, budget, resolver)
    except FetchError:
        raise
    except TimeoutError:
        raise budget.late() from None
    except (OSError, http.client.HTTPException, ValueError) as exc:
        _log.debug("no usable answer: %r", exc)
        raise ForbiddenAddress from None


def _follow(url: str, rules: FetchRules, budget: Budget, resolver: Resolver) -> bytes:
    for _ in range(rules.max_redirects + 1):
        check = functools.partial(
            resolve,
            url,
            ports=rules.ports,
            allow_private=rules.allow_private,
            hosts=rules.hosts,
            resolver=resolver,
        )
        target = _in_thread(check, budget)
        with (
            closing(_Connection(target, budget, rules.max_bytes + _OVERHEAD_BYTES)) as connection,
            connection.ask() as response,
        ):
            if response.status not in _REDIRECTS:
                return _image(response, rules.max_bytes, budget)
            location = response.getheader("Location", "")
        if not (location.isascii() and location.isprintable()):
            raise ForbiddenAddress  # urljoin would drop the odd characters, and so hide them from the check
        url = urljoin(url, location)
    raise NotAnImage(f"more than {rules.max_redirects} redirects: give the address of the image itself")


def _image(response: http.client.HTTPResponse, max_bytes: int, budget: Budget) -> bytes:
    """Return the body, or refuse the answer from its headers before reading any of it."""
    if response.status != 200:
        raise NotAnImage(f"the server answered with status {response.status}: check the address")
    content_type = response.headers.get_content_type()  # text/plain where there is none
    if not (content_type.startswith("image/") or content_type == "application/octet-stream"):
        raise NotAnImage(
            "the server answered with something else than an image (accepted content types: image/*, "
            "application/octet-stream): give the address of the picture, not of the page that shows it"
        )
    if response.getheader("Content-Encoding", "identity").strip().lower() not in ("", "identity"):
        raise NotAnImage("the server sent the image compressed once more, unasked: send the image itself")
    return _body(response, max_bytes, budget)


def _body(response: http.client.HTTPResponse, max_bytes: int, budget: Budget) -> bytes:
    too_large = NotAnImage(f"the image is larger than {max_bytes:,} bytes: send a smaller one")
    if response.length is not None and response.length > max_bytes:
        raise too_large
    body = bytearray()
    while chunk := response.read(_CHUNK_BYTES):
        body += chunk
        if len(body) > max_bytes:
            raise too_large
        budget.take(len(chunk))
    if response.length:  # what the server promised and did not send
        raise http.client.IncompleteRead(b"", response.length)
    return bytes(body)


def _in_thread(call: Callable[[], T], budget: Budget) -> T:
    """Return what `call` returns, or stop waiting: a lookup of a name cannot be interrupted.

    The threads are daemons, so that a hanging name server delays no exit, and there is a limit to them.
    """
    if not _free_lookups.acquire(timeout=budget.left_s()):
        raise TimeoutError
    future: Future[T] = Future()

    def work() -> None:
        try:
            future.set_result(call())
        except BaseException as exc:
            future.set_exception(exc)
        finally:
            _free_lookups.release()

    threading.Thread(target=work, name="look up", daemon=True).start()
    return future.result(timeout=budget.left_s())


class _Connection(http.client.HTTPConnection):
    """HTTP with the address that was checked, whatever its name may resolve to by now."""

    def __init__(self, target: Target, budget: Budget, max_bytes: int) -> None:
        super().__init__(target.host, target.port)
        self._target = target
        self._budget = budget
        self._max_bytes = max_bytes

    def connect(self) -> None:
        sock = socket.create_connection(
            (self._target.address, self._target.port), timeout=self._budget.left_s()
        )
        try:
            if self._target.scheme == "https":
                sock.settimeout(self._budget.left_s())
                sock = _tls().wrap_socket(sock, server_hostname=self._target.host)
        except BaseException:
            sock.close()
            raise
        self.sock = _TimedSocket(sock, self._budget, self._max_bytes)

    def ask(self) -> http.client.HTTPResponse:
        headers = {
            "Host": self._target.authority,
            "User-Agent": "tellapart",
            "Accept": "image/*, application/octet-stream",
            "Accept-Encoding": "identity",
            "Connection": "close",
        }
        self.request("GET", self._target.path, headers=headers)
        return self.getresponse()


class _TimedSocket:
    """The part of a socket that `http.client` uses, with what is left of the time before each wait.

    A socket's own timeout begins anew with every byte, so that a slow sender could hold on for ever.
    """

    def __init__(self, sock: socket.socket, budget: Budget, max_bytes: int) -> None:
        self._sock = sock
        self._budget = budget
        self._max_bytes = max_bytes

    def sendall(self, data: bytes) -> None:
        self._sock.settimeout(self._budget.left_s())
        self._sock.sendall(data)

    def makefile(self, mode: str) -> io.BufferedReader:
        return io.BufferedReader(_TimedStream(self._sock, self._budget, self._max_bytes))

    def close(self) -> None:
        self._sock.close()


class _TimedStream(io.RawIOBase):
    """What arrives on a socket, until the time or the limit of bytes is over.

    Bytes are counted here, below `http.client`, since a chunk of size -1 makes that read to the very end.
    """

    def __init__(self, sock: socket.socket, budget: Budget, max_bytes: int) -> None:
        self._sock = sock
        self._raw = sock.makefile("rb", buffering=0)  # keeps the socket open until the last byte is read
        self._budget = budget
        self._left_bytes = max_bytes

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview) -> int | None:  # type: ignore[override]
        self._sock.settimeout(self._budget.left_s())
        count = self._raw.readinto(buffer)
        self._left_bytes -= count or 0
        if self._left_bytes < 0:
            raise OSError("more bytes than any allowed image has")
        return count

    def close(self) -> None:
        self._raw.close()
        super().close()


@functools.cache
def _tls() -> ssl.SSLContext:
    """Verify certificates against the system's authorities, or those that SSL_CERT_FILE names."""
    context = ssl.create_default_context()
    context.set_alpn_protocols(["http/1.1"])
    return context
