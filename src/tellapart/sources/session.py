"""One HTTP client for a whole download: connections kept, addresses checked, patience.

Answers that may be better next time (408, 425, 429, 5xx, broken connections) are asked for again after a
random pause whose bound doubles ("full jitter"), or after as long as the server asks for; a server that
asks for a pause gets it from every thread. Addresses are checked in `network.py`.
"""

import random
import socket
import ssl
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any, NoReturn, Self, TypeVar

import httpx2

import tellapart
from tellapart.data.addresses import Resolver
from tellapart.errors import FetchError
from tellapart.sources.network import BROKEN, SILENT, CheckedNetwork, CheckedTransport, Refused, Unavailable

__all__ = ["Refused", "Session", "Stopped", "TryAgain", "Unavailable"]

T = TypeVar("T")

CONNECTIONS = 16
"""Images that are loaded at once."""

ATTEMPTS = 8
"""How often an address is asked in a row without a byte of progress."""

FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.5, 30.0
LONGEST_WAIT_S = 120.0
"""A server that asks for a longer pause than this is given up."""

NO_GOOD = 3
"""What an answer of the wrong kind costs, in attempts: it may be a passing fault, but hardly is."""

MAX_REDIRECTS = 5
MAX_DOCUMENT_BYTES = 50_000_000
"""The largest answer that `get_json` and `get_bytes` take."""

_OK = frozenset({200, 206, 416})
_PASSING = frozenset({408, 425, 429})  # and 5xx
_MAX_REASON_BYTES = 16 * 1024


class Stopped(FetchError):
    """The session was stopped while something waited for an answer."""


class TryAgain(FetchError):
    """One attempt failed and the next may not; `Session.insist` takes it from here.

    Attributes
    ----------
    after_s
        The pause that the server asked for, in seconds; 0 if it named none.
    cost
        How many attempts it counts for.
    progressed
        Whether something was gained all the same, so that attempts are counted anew.
    """

    def __init__(self, message: str, *, after_s: float = 0.0, cost: int = 1) -> None:
        super().__init__(message)
        self.after_s, self.cost, self.progressed = after_s, cost, False


class Session:
    """A client for one download; may be used from several threads at once. Use it in a ``with`` block.

    Parameters
    ----------
    allow_private
        Whether loopback and private networks, and ports other than 80 and 443, may be asked too.
    connections
        How many images are loaded at once.
    timeout_s
        How long a server may be silent; connecting may take 5 s of it.
    attempts
        How often an address is asked in a row without progress.
    first_pause_s
        Bound of the pause before the second attempt; it doubles from one to the next, up to 30 s.
    resolver
        Looks names up, as `socket.getaddrinfo`.

    Examples
    --------
    >>> with Session() as session:  # doctest: +SKIP
    ...     session.get_json("https://api.isic-archive.com/api/v2/images/", {"limit": "100"})
    """

    def __init__(
        self,
        *,
        allow_private: bool = False,
        connections: int = CONNECTIONS,
        timeout_s: float = 30.0,
        attempts: int = ATTEMPTS,
        first_pause_s: float = FIRST_PAUSE_S,
        resolver: Resolver = socket.getaddrinfo,
    ) -> None:
        self.connections, self.timeout_s = connections, timeout_s
        self._attempts, self._first_pause_s = attempts, first_pause_s
        self._stopped = threading.Event()
        self._not_before_s: defaultdict[str, float] = defaultdict(float)  # host -> time.monotonic()
        self._lock = threading.Lock()
        self._http = httpx2.Client(
            transport=CheckedTransport(CheckedNetwork(allow_private, resolver)),
            headers={"User-Agent": f"tellapart/{tellapart.__version__} (image classification; httpx2)"},
            timeout=httpx2.Timeout(timeout_s, connect=min(timeout_s, 5.0)),
            follow_redirects=True,
            max_redirects=MAX_REDIRECTS,
            event_hooks={"request": [self._wait_for_turn]},  # before each hop of a redirect
            trust_env=False,  # a proxy would look names up again
        )

    # ---- whole documents -----------------------------------------------------------------------------

    def get_json(
        self, url: str, params: Mapping[str, str] | None = None, headers: Mapping[str, str] | None = None
    ) -> Any:
        """Return what a JSON document says.

        Parameters
        ----------
        url
            An absolute http or https address; it may have a query of its own.
        params
            Added to its query; None leaves the address as it is.
        headers
            Sent beside the usual ones.

        Raises
        ------
        Refused
            If the server says no; its `code` and `detail` tell more.
        Unavailable
            If it gave no usable answer, or no JSON, in all attempts.
        """
        return self.insist(lambda: self._json_once(url, params, headers))

    def get_bytes(
        self,
        url: str,
        params: Mapping[str, str] | None = None,
        headers: Mapping[str, str] | None = None,
        *,
        max_bytes: int = MAX_DOCUMENT_BYTES,
    ) -> bytes:
        """Return a body of at most `max_bytes`, decompressed; see `get_json` for the errors."""
        return self.insist(lambda: self._bytes_once(url, params, headers, max_bytes))

    def _json_once(
        self, url: str, params: Mapping[str, str] | None, headers: Mapping[str, str] | None
    ) -> Any:
        wanted = {"Accept": "application/json", **(headers or {})}
        with self.stream(url, wanted, params) as response:
            body = _read(response, MAX_DOCUMENT_BYTES)
        try:
            return httpx2.Response(200, content=body).json()
        except ValueError:
            raise TryAgain(
                f"{response.url.host} answered with something else than JSON", cost=NO_GOOD
            ) from None

    def _bytes_once(
        self,
        url: str,
        params: Mapping[str, str] | None,
        headers: Mapping[str, str] | None,
        max_bytes: int,
    ) -> bytes:
        with self.stream(url, headers, params) as response:
            return _read(response, max_bytes)

    # ---- one attempt ---------------------------------------------------------------------------------

    @contextmanager
    def stream(
        self,
        url: str,
        headers: Mapping[str, str] | None = None,
        params: Mapping[str, str] | None = None,
    ) -> Iterator[httpx2.Response]:
        """Ask once; yield the answer (200, 206 or 416) with its body unread, redirects followed.

        Broken connections inside the block become `TryAgain` as well: call it inside `insist`.

        Raises
        ------
        TryAgain
            After 408, 425, 429, 5xx and broken connections.
        Refused
            After every other status, and for an address that may not be asked.
        """
        try:
            address = httpx2.URL(url)
            if params:
                address = address.copy_merge_params(dict(params))
            with self._http.stream("GET", address, headers=dict(headers or {})) as response:
                if response.status_code not in _OK:
                    self._refuse(response)
                yield response
        except (httpx2.InvalidURL, httpx2.UnsupportedProtocol):
            raise Refused(
                f"{_short(url)} is not an http or https address, or leads to something else"
            ) from None
        except httpx2.TooManyRedirects:
            raise Refused(f"{_short(url)} redirects more than {MAX_REDIRECTS} times") from None
        except BROKEN as exc:
            raise self._broken(address.host, exc) from exc

    def _refuse(self, response: httpx2.Response) -> NoReturn:
        code, host = response.status_code, response.url.host
        detail = _reason(response)
        message = f"{host} answered {code}" + (f": {detail}" if detail else "")
        if code not in _PASSING and code < 500:
            raise Refused(message, code, detail)
        after_s = retry_after_s(response.headers.get("retry-after", ""))
        if after_s > 0:
            message += f", and asks to wait {after_s:.0f} s"
        if after_s <= LONGEST_WAIT_S:
            self._ask_not_before(host, time.monotonic() + after_s)
        raise TryAgain(message, after_s=after_s)

    def _broken(self, host: str, exc: Exception) -> FetchError:
        if isinstance(exc, SILENT):
            return TryAgain(f"{host} did not answer within {self.timeout_s:g} s")
        reason: BaseException | None = exc
        while reason is not None:
            if isinstance(reason, ssl.SSLCertVerificationError):
                return Refused(f"{host} has a certificate that cannot be trusted ({reason.verify_message})")
            reason = reason.__cause__ or reason.__context__
        return TryAgain(f"the connection to {host} broke ({str(exc) or type(exc).__name__})")

    # ---- patience ------------------------------------------------------------------------------------

    def insist(self, attempt: Callable[[], T]) -> T:
        """Return what `attempt` returns, calling it again, after a pause, while it raises `TryAgain`.

        Raises
        ------
        Unavailable
            After the last attempt; the message is that of the last `TryAgain`.
        Stopped
            If the session was stopped meanwhile.
        """
        spent = failures = 0
        while True:
            try:
                return attempt()
            except TryAgain as exc:
                if exc.progressed:
                    spent = failures = 0
                spent, failures = spent + exc.cost, failures + 1
                if spent >= self._attempts or exc.after_s > LONGEST_WAIT_S:
                    raise Unavailable(str(exc)) from exc
                bound_s = min(LONGEST_PAUSE_S, self._first_pause_s * 2 ** (failures - 1))
                self._pause(random.uniform(0, bound_s))

    def _ask_not_before(self, host: str, time_s: float) -> None:
        """Have all threads leave a host alone until then, or longer if it asked for that before."""
        with self._lock:
            self._not_before_s[host] = max(self._not_before_s[host], time_s)

    def _wait_for_turn(self, request: httpx2.Request) -> None:
        """Wait as long as the host asked any of our threads to."""
        self._pause(self._not_before_s[request.url.host] - time.monotonic())

    def _pause(self, seconds: float) -> None:
        if self._stopped.is_set() or (seconds > 0 and self._stopped.wait(seconds)):
            raise Stopped("the download was stopped")

    def check_not_stopped(self) -> None:
        """Raise `Stopped` once the session is: for loops that take long."""
        self._pause(0)

    def stop(self) -> None:
        """End all pauses and let no new request out: whatever waits in `insist` gets `Stopped`."""
        self._stopped.set()

    def close(self) -> None:
        """Stop, and close all connections."""
        self.stop()
        self._http.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _read(response: httpx2.Response, max_bytes: int) -> bytes:
    if response.status_code != 200:  # parts, which nobody asked for
        raise Refused(f"{response.url.host} answered {response.status_code}", response.status_code)
    body = bytearray()
    for chunk in response.iter_bytes():
        body += chunk
        if len(body) > max_bytes:
            raise Refused(f"{response.url.host} answered with more than {max_bytes:,} bytes")
    return bytes(body)


def _reason(response: httpx2.Response) -> str:
    """Return what a JSON error says; its body is read to the end, so that the connection can be kept."""
    body = bytearray()
    for chunk in response.iter_bytes():
        body += chunk
        if len(body) > _MAX_REASON_BYTES:
            return ""
    try:
        document = httpx2.Response(200, content=bytes(body)).json()
    except ValueError:
        return ""
    if not isinstance(document, dict):
        return ""
    return _short(str(document.get("message") or document.get("detail") or document.get("error") or ""))


def _short(text: str) -> str:
    line = " ".join("".join(c if c.isprintable() else " " for c in text).split())
    return line if len(line) <= 200 else line[:199] + "…"


def retry_after_s(header: str) -> float:
    """Read a Retry-After header: seconds, or a date; 0 where there is none to read."""
    if header.isascii() and header.isdecimal():
        return float(header)
    try:
        when = parsedate_to_datetime(header)
    except ValueError:
        return 0.0
    return max(0.0, (when.replace(tzinfo=when.tzinfo or UTC) - datetime.now(UTC)).total_seconds())
