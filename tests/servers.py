"""A real web server on loopback for tests: uvicorn in a thread."""

import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Thread
from typing import Any

import uvicorn

from tellapart.serving.connections import BoundedProtocol


@contextmanager
def running(app: Any, *, start_timeout_s: float = 30, **options: Any) -> Iterator[str]:
    """Serve an ASGI application on a free port; yield its URL, such as ``http://127.0.0.1:40211``."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        options = {"http": BoundedProtocol, "lifespan": "on", "timeout_graceful_shutdown": 5, **options}
        config = uvicorn.Config(app, log_level="critical", access_log=False, **options)
        server = uvicorn.Server(config)
        thread = Thread(target=server.run, kwargs={"sockets": [listener]}, daemon=True)
        thread.start()
        deadline = time.monotonic() + start_timeout_s
        while not server.started:
            if not thread.is_alive() or time.monotonic() > deadline:
                raise RuntimeError("the server did not start")
            time.sleep(0.01)
        try:
            yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        finally:
            server.should_exit = True
            thread.join(10)


def send_raw(url: str, request: bytes, *, timeout_s: float = 10) -> bytes:
    """Send bytes as they are over one connection; return all that comes back until it closes."""
    host, port = url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), timeout=timeout_s) as connection:
        connection.sendall(request)
        received = b""
        try:
            while chunk := connection.recv(65536):
                received += chunk
        except (TimeoutError, ConnectionResetError):
            pass
        return received
