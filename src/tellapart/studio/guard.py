"""Who may use the studio: whoever opened a link from its terminal, in that browser, and no other web page.

The studio listens on this machine only, but every program and every web page that this machine shows can
reach it. So each request must name this machine as its host (a foreign name that was made to point here
does not help), carry the cookie that a one-time link gave, and, where it asks for something to be done,
come as JSON with a header that other pages cannot send unasked.
"""

import hmac
import secrets
from collections.abc import Callable, Mapping
from http.cookies import SimpleCookie
from urllib.parse import parse_qsl, urlencode

from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import ClientDisconnect
from starlette.responses import JSONResponse, PlainTextResponse, RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

MAX_BODY_BYTES = 25_000_000
"""Of one request: an image to try, in base64, is the largest."""

HOSTS = frozenset({"127.0.0.1", "localhost", "[::1]"})
"""Names of this machine; any port, so that a tunnel may lead here."""

_HEADERS: Mapping[str, str] = {
    "Content-Security-Policy": "default-src 'self'; img-src 'self' blob: data:; object-src 'none'; "
    "base-uri 'none'; form-action 'self'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(self), microphone=(), geolocation=()",
    "Cache-Control": "no-store",
}
"""Where the answer does not say otherwise itself."""

_AGAIN = "open the link that `tellapart studio` shows in its terminal; each works once"


class Door:
    """Links that work once, and the browsers that came in by them.

    Parameters
    ----------
    on_entered
        Called after a link has been used, when `token` is a new one.
    """

    def __init__(self, on_entered: Callable[[], None] = lambda: None) -> None:
        self.token = secrets.token_urlsafe(24)
        self._on_entered = on_entered
        self._sessions: set[str] = set()

    def enter(self, token: str) -> str | None:
        """Return what is to be the browser's cookie, or None if the token is not the one that is valid."""
        if not hmac.compare_digest(token.encode(), self.token.encode()):
            return None
        self.token = secrets.token_urlsafe(24)
        session = secrets.token_urlsafe(24)
        self._sessions.add(session)
        self._on_entered()
        return session

    def knows(self, session: str) -> bool:
        """Return whether a browser with this cookie came in by a link."""
        return session in self._sessions


class Refusal(Exception):
    """A request that is not answered; the message says why."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


class Guard:
    """ASGI middleware around the whole studio."""

    def __init__(self, app: ASGIApp, door: Door) -> None:
        self.app, self.door = app, door

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] == "lifespan":
            return await self.app(scope, receive, send)
        if scope["type"] != "http":
            return await send({"type": "websocket.close", "code": 1008})
        answer = _Answer(receive, send)
        try:
            admitted = self._admit(scope, Headers(scope=scope))
            await (admitted or self.app)(scope, answer.receive, answer.send)
        except Refusal as refusal:
            await _told(scope, refusal)(scope, receive, answer.send)
        except ClientDisconnect:
            pass  # nobody is left to tell

    def _admit(self, scope: Scope, headers: Headers) -> Response | None:
        """Raise `Refusal`, or return the answer to a link from the terminal, or None to go on."""
        host = headers.get("host", "")
        if host.rpartition(":")[0] not in HOSTS and host not in HOSTS:
            raise Refusal(400, "this studio answers as 127.0.0.1 or localhost only")
        query = dict(parse_qsl(scope["query_string"].decode("latin-1"), keep_blank_values=True))
        cookie = f"tellapart-studio-{(scope.get('server') or ('', 0))[1]}"  # one host's ports share cookies
        token = query.pop("token", None)
        if token is not None and scope["method"] == "GET":
            session = self.door.enter(token)
            if session is not None:
                return _entered(scope["path"], query, cookie, session)
        if not self.door.knows(_cookie(headers, cookie)):
            raise Refusal(403, f"this browser is not known here, or the studio was started anew: {_AGAIN}")
        if token is not None:
            return RedirectResponse(_address(scope["path"], query), 303)
        if scope["method"] not in ("GET", "HEAD"):
            _check_order(headers, host)
        return None


class _Answer:
    """One exchange: counts the bytes that come, and adds the headers that every answer has."""

    def __init__(self, receive: Receive, send: Send) -> None:
        self._receive, self._send = receive, send
        self._n_bytes = 0

    async def receive(self) -> Message:
        message = await self._receive()
        self._n_bytes += len(message.get("body", b""))
        if self._n_bytes > MAX_BODY_BYTES:
            raise _too_large()
        return message

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            headers = MutableHeaders(scope=message)
            for name, value in _HEADERS.items():
                headers.setdefault(name, value)
            if message["status"] == 413:
                headers["Connection"] = "close"  # what is left of the body is not worth reading
        await self._send(message)


def _check_order(headers: Headers, host: str) -> None:
    """Raise unless our own page sent this: no other can add the header without asking us first."""
    if headers.get("x-tellapart") != "studio":
        raise Refusal(403, "the header X-Tellapart: studio is missing")
    if headers.get("origin", f"http://{host}") != f"http://{host}":
        raise Refusal(403, "this request comes from another web page")
    if headers.get("content-type", "").partition(";")[0].strip().lower() != "application/json":
        raise Refusal(415, "send JSON, with the content type application/json")
    length = headers.get("content-length", "0")
    if not length.isdecimal() or int(length) > MAX_BODY_BYTES:
        raise _too_large()


def _too_large() -> Refusal:
    return Refusal(413, f"the request is larger than {MAX_BODY_BYTES / 1e6:.0f} MB")


def _cookie(headers: Headers, name: str) -> str:
    held = SimpleCookie(headers.get("cookie", "")).get(name)
    return held.value if held else ""


def _entered(path: str, query: Mapping[str, str], cookie: str, session: str) -> Response:
    response = RedirectResponse(_address(path, query), 303)
    response.set_cookie(cookie, session, httponly=True, samesite="strict", path="/")
    return response


def _address(path: str, query: Mapping[str, str]) -> str:
    return "/" + path.lstrip("/") + (f"?{urlencode(query)}" if query else "")


def _told(scope: Scope, refusal: Refusal) -> Response:
    if scope["path"].startswith("/api/"):
        return JSONResponse({"error": str(refusal)}, refusal.status)
    return PlainTextResponse(f"{refusal}\n".capitalize(), refusal.status)
