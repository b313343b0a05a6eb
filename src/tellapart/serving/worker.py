"""One process of the service: uvicorn on a socket that is bound already, which drains before it ends.

A worker is told what to do by signals where it is the only process, and by its supervisor through a pipe
where there are several; the pipe's end tells it that the supervisor is gone, so that none is left behind.
"""

import asyncio
import logging
import os
import signal
import socket
import sys
import time
from collections.abc import Callable, MutableSequence
from multiprocessing.connection import Connection
from pathlib import Path
from threading import Thread
from types import FrameType
from typing import TYPE_CHECKING, Literal

import uvicorn

from tellapart.errors import TellapartError
from tellapart.serving import logs
from tellapart.serving.acceptor import Acceptor
from tellapart.serving.connections import BoundedProtocol
from tellapart.serving.settings import Settings

if TYPE_CHECKING:
    from starlette.applications import Starlette

Order = Literal["reload", "retire", "drain"]
"""What a supervisor may tell a worker; one that retires leaves new connections to others, at once."""

Share = tuple[MutableSequence[int], int]
"""The numbers of connections of all workers, in shared memory, and which of them is this one's."""

READY, FAILED, RELOADED = "ready", "failed", "reloaded"
"""What a worker tells its supervisor: that it answers, or (with the reason) that it cannot; or that a caller
had it read its models again, which the others must then do, too."""

KEEP_ALIVE_S = 75
"""Longer than common proxies keep an idle connection, so that it is they who close it: the other way round,
a request can meet a connection that is just being closed."""

RETIRE_S = 3.0
"""At least so long one that retires answers on its connections, so that all in use learn of its end."""


class Worker(uvicorn.Server):
    """uvicorn, with a drain before its graceful end, and models that can be reloaded meanwhile.

    Orders may come at any moment, from a signal or another thread; they are noted, and obeyed by the event
    loop within a tenth of a second.
    """

    def __init__(
        self,
        app: "Starlette",
        settings: Settings,
        *,
        on_ready: Callable[[], None],
        obeys_signals: bool = True,
        share: Share | None = None,
    ) -> None:
        config = uvicorn.Config(
            app,
            http=BoundedProtocol,
            loop="auto",
            ws="none",
            lifespan="off",  # run here, so that an error in it comes out as it is
            log_config=None,
            access_log=False,
            server_header=False,
            proxy_headers=False,
            timeout_keep_alive=KEEP_ALIVE_S,
            timeout_graceful_shutdown=max(1, round(settings.request_timeout_s)),
        )
        super().__init__(config)
        self._app, self._settings = app, settings
        self._on_ready, self._obeys_signals = on_ready, obeys_signals
        self._reload_wanted = self._retire_wanted = self._drain_wanted = False
        self._ends_at_s: float | None = None
        self._share = share
        self._acceptor: Acceptor | None = None
        self._reload: asyncio.Task[None] | None = None

    def obey(self, order: Order) -> None:
        """Note an order."""
        if order == "reload":
            self._reload_wanted = True
        else:
            self._retire_wanted |= order == "retire"
            self._drain_wanted = True

    def run_on(self, sock: socket.socket) -> None:
        """Serve until told to end.

        Raises
        ------
        TellapartError
            If a model cannot be used.
        """

        async def run() -> None:
            async with self._app.router.lifespan_context(self._app):
                await self.serve(sockets=[sock])

        with asyncio.Runner(loop_factory=self.config.get_loop_factory()) as runner:
            runner.run(run())

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Drain at the first SIGTERM or SIGINT; end at once at a second SIGINT."""
        if not self._obeys_signals and sig == signal.SIGINT:
            return  # Ctrl-C reaches every process of a terminal; here the supervisor says what to do
        if self._drain_wanted and sig == signal.SIGINT:
            signal.signal(sig, signal.SIG_DFL)
            signal.raise_signal(sig)
        self._drain_wanted = True

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Begin to accept, and say so."""
        assert sockets
        if self._share is None:
            await super().startup(sockets)
        else:
            await super().startup([])
            counts, number = self._share
            open_ones = self.server_state.connections
            self._acceptor = Acceptor(sockets[0], self._connect, lambda: len(open_ones), counts, number)
        self._on_ready()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Accept nothing more, finish what was begun, end."""
        self._stop_accepting()
        await super().shutdown(sockets)

    def _connect(self, connection: socket.socket) -> "asyncio.Future[None]":
        """Hand an accepted connection to uvicorn's protocol."""
        loop = asyncio.get_running_loop()

        def protocol() -> asyncio.Protocol:
            return self.config.http_protocol_class(  # type: ignore[call-arg]
                config=self.config, server_state=self.server_state, app_state={}, _loop=loop
            )

        async def connect() -> None:
            try:
                await loop.connect_accepted_socket(protocol, connection)
            except OSError:  # the caller has gone meanwhile
                connection.close()

        return loop.create_task(connect())

    def _stop_accepting(self) -> None:
        for server in self.servers:
            server.close()
        if self._acceptor is not None:
            self._acceptor.stop()
            self._acceptor = None

    async def on_tick(self, counter: int) -> bool:
        """Obey what was ordered since the last tenth of a second."""
        if self._reload_wanted and (self._reload is None or self._reload.done()):
            self._reload_wanted = False
            self._reload = asyncio.get_running_loop().create_task(self._reload_models())
        if self._drain_wanted and self._ends_at_s is None:
            self._begin_to_drain()
        if self._retire_wanted:
            self._retire_wanted = False
            self._stop_accepting()
        if self._ends_at_s is not None and time.monotonic() >= self._ends_at_s:
            self.should_exit = True
        return await super().on_tick(counter)

    async def _reload_models(self) -> None:
        try:
            versions = await self._app.state.service.models.reload()
        except TellapartError as exc:
            logs.event("reload failed", level=logging.ERROR, reason=str(exc))
        else:
            logs.event("reloaded", versions=versions)

    def _begin_to_drain(self) -> None:
        seconds = max(self._settings.drain_s, RETIRE_S if self._retire_wanted else 0)
        logs.event("draining", seconds=seconds)
        self._ends_at_s = time.monotonic() + seconds
        self._app.state.service.draining = True
        # Callers with open connections learn that these end, and open their next one elsewhere. uvicorn
        # takes these headers up with the next second's date.
        self.config.encoded_headers.append((b"connection", b"close"))


def run(settings: Settings, sock: socket.socket, on_ready: Callable[[], None]) -> None:
    """Serve in this process until a signal ends it.

    Raises
    ------
    TellapartError
        If the service cannot start.
    """
    signal.signal(signal.SIGHUP, signal.SIG_IGN)  # nothing is loaded yet; by default it would end us
    from tellapart.serving.app import create_app

    worker = Worker(create_app(settings), settings, on_ready=on_ready)
    signal.signal(signal.SIGHUP, lambda number, frame: worker.obey("reload"))
    worker.run_on(sock)


def run_under_supervisor(
    settings_json: str, sock: socket.socket, orders: Connection, metrics_folder: Path, share: Share
) -> None:
    """Serve in a process of its own until the supervisor says so, or is gone."""
    _ignore_signals()
    logs.configure()
    # prometheus_client decides at its first import, which is that of the application, where it counts.
    os.environ["PROMETHEUS_MULTIPROC_DIR"] = str(metrics_folder)
    from tellapart.serving.app import create_app

    settings = Settings.from_json(settings_json)
    app = create_app(settings)

    def ready() -> None:
        app.state.service.tell_others = lambda: orders.send((RELOADED, ""))
        orders.send((READY, ""))

    try:
        worker = Worker(app, settings, on_ready=ready, obeys_signals=False, share=share)
        Thread(target=_listen, args=(orders, worker), name="orders", daemon=True).start()
        worker.run_on(sock)
    except TellapartError as exc:
        orders.send((FAILED, str(exc)))
        sys.exit(1)


def _listen(orders: Connection, worker: Worker) -> None:
    while True:
        try:
            worker.obey(orders.recv())
        except (EOFError, OSError):
            worker.obey("drain")
            return


def _ignore_signals() -> None:
    """Leave Ctrl-C and SIGHUP, which a terminal sends to all of its processes, to the supervisor."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
