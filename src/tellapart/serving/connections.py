"""Connections whose request heads are bounded: uvicorn waits for them, and keeps them, without end."""

import asyncio
from http import HTTPStatus
from uuid import uuid4

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from tellapart.serving.problems import Problem, problem_response

HEAD_TIMEOUT_S = 15
"""From the first byte of a request, or of a connection, to the end of its headers."""

MAX_HEAD_BYTES = 65_536
"""Of request line and headers together, and whatever came with them in the same packet's read."""


class BoundedProtocol(HttpToolsProtocol):
    """uvicorn's HTTP over httptools; a head that is too long or too slow ends the connection."""

    _head_bytes = 0
    _in_head = True
    _head_timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Start the clock for the first head."""
        super().connection_made(transport)
        self._start_clock()

    def data_received(self, data: bytes) -> None:
        """Parse, then refuse a head that has grown too long without an end."""
        if self._in_head and self._head_timer is None:
            self._start_clock()
        self._head_bytes += len(data)
        super().data_received(data)
        if self._in_head and self._head_bytes > MAX_HEAD_BYTES:
            self._refuse(Problem(431, f"the headers are larger than {MAX_HEAD_BYTES:,} bytes"))

    def on_headers_complete(self) -> None:
        """Stop the clock."""
        self._in_head = False
        self._stop_clock()
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        """Expect the next head; its clock starts with its first byte, until then it is an idle connection."""
        super().on_message_complete()
        self._in_head, self._head_bytes = True, 0

    def connection_lost(self, exc: Exception | None) -> None:
        """Stop the clock."""
        self._stop_clock()
        super().connection_lost(exc)

    def _start_clock(self) -> None:
        late = Problem(408, f"the headers did not come within {HEAD_TIMEOUT_S} s")
        self._head_timer = self.loop.call_later(HEAD_TIMEOUT_S, self._refuse, late)

    def _stop_clock(self) -> None:
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None

    def send_400_response(self, msg: str) -> None:
        """Refuse what is no HTTP; uvicorn's own words for it are plain text."""
        self._refuse(Problem(400, "this is no valid HTTP request"))

    def _refuse(self, problem: Problem) -> None:
        """Answer without the application, which learns of whole requests only, and hang up."""
        self._stop_clock()
        if self.transport.is_closing():
            return
        request_id = uuid4().hex
        answer = problem_response(problem, request_id)
        status = HTTPStatus(problem.status)
        ours = [(b"x-request-id", request_id.encode()), (b"connection", b"close")]
        head = [b"HTTP/1.1 %d %s" % (status, status.phrase.encode())]
        head += [b"%s: %s" % header for header in (*answer.raw_headers, *ours)]
        self.transport.write(b"\r\n".join([*head, b"", bytes(answer.body)]))
        self.transport.close()
