"""What is around every request: its id, its clock, the memory it may hold, and what errors become."""

import asyncio
import logging
import time
import uuid
from collections.abc import Mapping
from re import compile
from typing import Any

from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from tellapart.serving import logs
from tellapart.serving.admission import Admission
from tellapart.serving.held import Held, Share
from tellapart.serving.problems import Problem, problem_response
from tellapart.serving.settings import Settings

log = logging.getLogger(__name__)

MAX_HELD_BODIES = 20
"""Bodies of the largest size that may be in memory at once, over all requests."""

_REQUEST_ID = compile(r"[A-Za-z0-9._-]{1,64}")

_SECURITY_HEADERS: Mapping[str, str] = {
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
}
"""Where the answer does not say otherwise itself, as pages do."""


class Guard:
    """ASGI middleware around the whole service.

    Handlers find in ``request.state``: ``request_id``; ``held``, to which they add what they keep in memory
    beside the body; ``caller``, the name of its key; and ``ends_at_s``, the event loop's time at which it
    is given up.
    """

    def __init__(self, app: ASGIApp, settings: Settings) -> None:
        self.app, self.settings = app, settings
        self.admission = Admission(settings)
        self.held = Held(MAX_HELD_BODIES * settings.max_body_bytes)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] == "http":
            await _Exchange(self, scope, receive, send).run()
        else:
            await self.app(scope, receive, send)


class _Exchange:
    """One request and its answer."""

    def __init__(self, guard: Guard, scope: Scope, receive: Receive, send: Send) -> None:
        self._guard, self._scope, self._receive, self._send = guard, scope, receive, send
        headers = Headers(scope=scope)
        given = headers.get("x-request-id", "")
        self._id = given if _REQUEST_ID.fullmatch(given) else uuid.uuid4().hex
        self._status = 0
        self._held = Share(guard.held)
        self._body_came = "content-length" not in headers and "transfer-encoding" not in headers

    async def run(self) -> None:
        started_s = time.perf_counter()
        self._scope.setdefault("state", {}).update(request_id=self._id, held=self._held)
        try:
            await self._answer()
        except ClientDisconnect:
            self._status = 499  # nobody is left to tell
        finally:
            self._held.end()
            self._note(time.perf_counter() - started_s)

    async def _answer(self) -> None:
        try:
            caller = self._guard.admission.check(self._scope)
            async with asyncio.timeout(self._guard.settings.request_timeout_s) as clock:
                self._scope["state"].update(caller=caller, ends_at_s=clock.when())
                await self._guard.app(self._scope, self.receive, self.send)
        except ClientDisconnect:
            raise
        except Problem as problem:
            await self._refuse(problem)
        except TimeoutError:
            await self._refuse(self._late())
        except Exception:
            log.exception("request %s failed", self._id)
            await self._refuse(Problem(500, "something went wrong here; the log tells it by the request_id"))

    def _late(self) -> Problem:
        limit = f"{self._guard.settings.request_timeout_s:g} s"
        if self._body_came:
            return Problem.busy(f"no answer within {limit}; come again later")
        return Problem(408, f"the body did not come within {limit}")

    async def _refuse(self, problem: Problem) -> None:
        if self._status:
            raise RuntimeError("an answer had begun when its request failed") from problem
        await problem_response(problem, self._id)(self._scope, self.receive, self.send)

    async def receive(self) -> Message:
        """Pass a part of the body on, if there is room for it."""
        message = await self._receive()
        if message["type"] == "http.request":
            self._body_came = not message.get("more_body", False)
            self._held.add(len(message.get("body", b"")))
        return message

    async def send(self, message: Message) -> None:
        """Pass a part of the answer on, with the headers that every answer has."""
        if message["type"] == "http.response.start":
            self._status = message["status"]
            headers = MutableHeaders(scope=message)
            for name, value in _SECURITY_HEADERS.items():
                headers.setdefault(name, value)
            headers["X-Request-ID"] = self._id
            if self._status >= 400 and not self._body_came:
                # What is left of the body is not worth reading, and must not pass for the next request.
                headers["Connection"] = "close"
        await self._send(message)

    def _note(self, seconds: float) -> None:
        route = route_of(self._scope)
        service = getattr(self._scope["app"].state, "service", None)
        if service is not None:
            service.metrics.request_done(route, self._status, seconds)
        client = self._scope.get("client")
        logs.request_done(
            request_id=self._id,
            method=self._scope["method"],
            path=self._scope["path"],
            route=route,
            status=self._status,
            seconds=seconds,
            client=client[0] if client else None,
        )


def route_of(scope: Mapping[str, Any]) -> str:
    """Return the pattern of the route that answered a request, ``"other"`` where there was none.

    Never the path itself: a caller could invent paths without end, and each would be a new time series.
    """
    endpoint = scope.get("endpoint")
    if endpoint is not None:
        for route in scope["app"].routes:
            if endpoint in (getattr(route, "endpoint", None), getattr(route, "app", None)):
                return str(route.path) or "/"
    return "other"
