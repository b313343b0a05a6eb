"""The studio's process: one port on this machine, until Ctrl-C."""

import contextlib
import socket
from collections.abc import Callable

import uvicorn
from starlette.types import ASGIApp

from tellapart.errors import ServiceError
from tellapart.serving.connections import BoundedProtocol

HOST = "127.0.0.1"
"""Never another one: what the studio shows are people's images, and it can change their labels."""


def bind(port: int) -> socket.socket:
    """Take a port, or with 0 any free one.

    Raises
    ------
    ServiceError
        If another program has it.
    """
    listener = socket.socket()
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((HOST, port))
    except OSError as exc:
        listener.close()
        raise ServiceError(
            f"port {port} cannot be used ({exc.strerror}); choose another, or leave --port out"
        ) from exc
    return listener


def serve(app: ASGIApp, listener: socket.socket, on_ready: Callable[[], None]) -> None:
    """Answer until a signal ends it; `on_ready` is called when the first answer can be had."""
    config = uvicorn.Config(
        app, http=BoundedProtocol, ws="none", lifespan="off", log_level="warning", access_log=False,
        server_header=False, timeout_graceful_shutdown=2,
    )  # fmt: skip
    with contextlib.suppress(KeyboardInterrupt):  # uvicorn has ended in order, and raises it once more
        _Server(config, on_ready).run(sockets=[listener])


class _Server(uvicorn.Server):
    def __init__(self, config: uvicorn.Config, on_ready: Callable[[], None]) -> None:
        super().__init__(config)
        self._on_ready = on_ready

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self._on_ready()
