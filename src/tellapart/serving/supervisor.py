"""A service from its start to its end: one process, or several behind one socket that are kept alive."""

import logging
import multiprocessing
import signal
import socket
import tempfile
import time
from collections.abc import Callable
from ctypes import Array, c_int
from dataclasses import dataclass
from multiprocessing.connection import Connection
from multiprocessing.context import SpawnProcess
from multiprocessing.sharedctypes import RawArray
from pathlib import Path
from types import FrameType

from prometheus_client.multiprocess import mark_process_dead

from tellapart.errors import ServiceError, TellapartError
from tellapart.serving import logs, worker
from tellapart.serving.acceptor import NOBODY
from tellapart.serving.listener import bind, url_of
from tellapart.serving.settings import Settings

TICK_S = 0.1
LONGEST_PAUSE_S = 30.0
STEADY_AFTER_S = 30.0
"""A worker that lived so long has recovered from whatever ended the one before."""

OnReady = Callable[[str], None]


@dataclass(frozen=True)
class Changes:
    """How a service is told of other settings while it runs.

    Attributes
    ----------
    read
        Asked at SIGHUP for the settings as they should be; host and port cannot change.
    done
        Told when every worker has the settings of the last `read` (None), or why they go on as before.
    """

    read: Callable[[], Settings]
    done: Callable[[str | None], None]


def serve(settings: Settings, *, on_ready: OnReady = lambda url: None, changes: Changes | None = None) -> int:
    """Serve until SIGTERM or SIGINT; return the exit status.

    Parameters
    ----------
    on_ready
        Called once with the service's URL, when every worker answers.
    changes
        Where other settings come from. With it there is a supervisor for a single worker, too.

    Raises
    ------
    ServiceError
        If the port is taken, or the address is none of this machine's.
    TellapartError
        If a model, or the keys, cannot be used.
    """
    logs.configure()
    with bind(settings.host, settings.port) as sock:
        url = url_of(sock)

        def ready() -> None:
            logs.event("ready", url=url, workers=settings.workers)
            on_ready(url)

        if settings.workers == 1 and changes is None:
            worker.run(settings, sock, ready)
        else:
            Supervisor(settings, sock, ready, changes).run()
    logs.event("ended")
    return 0


@dataclass(eq=False)
class Place:
    """One of the N workers, whichever process it is at present.

    Until all workers of its settings have been ready it is on trial: what is wrong then stays wrong.
    """

    number: int
    settings: Settings
    counts: "Array[c_int]"
    on_trial: bool = True
    process: SpawnProcess | None = None
    orders: Connection | None = None
    started_s: float = 0.0
    ready: bool = False
    pause_s: float = 0.0
    due_s: float = 0.0

    def tell(self, order: worker.Order) -> None:
        """Give the worker an order; one that has died meanwhile needs none."""
        if self.orders is not None:
            try:
                self.orders.send(order)
            except OSError:
                logs.event("worker is gone", worker=self.number)


def places_for(settings: Settings) -> list[Place]:
    """Return a place for each worker, none of them started."""
    counts = RawArray(c_int, [NOBODY] * settings.workers)
    return [Place(number, settings, counts) for number in range(settings.workers)]


def end_trial(places: list[Place]) -> None:
    """Note that all workers were ready together: one that ends from now on is started again."""
    for place in places:
        place.on_trial = False


def forget(place: Place, metrics_folder: Path) -> None:
    """Close what is left of a worker that has ended."""
    assert place.process is not None
    place.counts[place.number] = NOBODY
    mark_process_dead(place.process.pid, str(metrics_folder))  # type: ignore[no-untyped-call]
    place.process.close()
    if place.orders is not None:
        place.orders.close()
    place.process, place.orders, place.ready = None, None, False


class Supervisor:
    """Keeps N workers behind one listening socket alive.

    All workers accept from the one socket, which this process holds open: a connection that waits while
    a worker dies is taken by the next. (With a socket each, by SO_REUSEPORT, it would be lost.) How they
    share it fairly, see `tellapart.serving.acceptor`.
    """

    def __init__(
        self,
        settings: Settings,
        sock: socket.socket,
        on_ready: Callable[[], None],
        changes: Changes | None = None,
    ) -> None:
        self._settings, self._sock, self._on_ready, self._changes = settings, sock, on_ready, changes
        self._places = places_for(settings)
        self._coming: list[Place] = []
        self._leaving: list[Place] = []
        self._context = multiprocessing.get_context("spawn")
        self._stop_wanted = self._kill_wanted = self._reload_wanted = False
        self._announced = self._handing_over = False

    def run(self) -> None:
        """Serve until a signal says otherwise.

        Raises
        ------
        TellapartError
            If the workers cannot start.
        """
        self._hear_signals()
        with tempfile.TemporaryDirectory(prefix="tellapart-metrics-", ignore_cleanup_errors=True) as folder:
            try:
                self._keep_alive(Path(folder))
                self._drain()
            finally:
                self._kill()

    def _hear_signals(self) -> None:
        def stop(number: int, frame: FrameType | None) -> None:
            self._kill_wanted |= self._stop_wanted and number == signal.SIGINT
            self._stop_wanted = True

        def reload(number: int, frame: FrameType | None) -> None:
            self._reload_wanted = True

        signal.signal(signal.SIGINT, stop)
        signal.signal(signal.SIGTERM, stop)
        signal.signal(signal.SIGHUP, reload)

    def _keep_alive(self, metrics_folder: Path) -> None:
        while not self._stop_wanted:
            for place in self._places:
                self._look_after(place, metrics_folder)
            if self._reload_wanted and not self._handing_over:
                self._reload_wanted = False
                self._reload(metrics_folder)
            self._bring_in(metrics_folder)
            self._see_off(metrics_folder)
            self._hand_over()
            if not self._announced and all(place.ready for place in self._places):
                self._announced = True
                end_trial(self._places)
                self._on_ready()
            time.sleep(TICK_S)

    def _look_after(self, place: Place, metrics_folder: Path) -> None:
        if place.process is None and time.monotonic() >= place.due_s:
            self._start(place, metrics_folder)
        # Asked before its last words are read, or those of a worker that ends now would be missed.
        ended = place.process is not None and not place.process.is_alive()
        self._listen_to(place)
        if ended:
            self._bury(place, metrics_folder)

    def _reload(self, metrics_folder: Path) -> None:
        """Begin with other settings, or have the models of the same ones read again."""
        self._dismiss_coming(metrics_folder)
        if self._changes is None:
            self._tell_all("reload")
            return
        try:
            settings = self._changes.read()
        except (TellapartError, OSError) as exc:
            self._changes.done(str(exc))
            return
        if settings == self._settings:
            self._tell_all("reload")
            self._changes.done(None)
        else:
            self._coming = places_for(settings)

    def _bring_in(self, metrics_folder: Path) -> None:
        """Bring up workers with other settings beside the old ones, which leave when all are ready."""
        if self._changes is None or not self._coming:
            return
        try:
            for place in self._coming:
                self._look_after(place, metrics_folder)
        except TellapartError as exc:
            logs.event("change failed", level=logging.ERROR, reason=str(exc))
            self._dismiss_coming(metrics_folder)
            self._changes.done(str(exc))
            return
        if all(place.ready for place in self._coming):
            end_trial(self._coming)
            self._tell_all("retire")
            self._leaving += self._places
            self._places, self._coming = self._coming, []
            self._settings = self._places[0].settings
            logs.event("changed", workers=len(self._places))
            self._handing_over = True

    def _hand_over(self) -> None:
        """Say that a change is done once no old worker takes a connection any more: the next gets the new."""
        left = all(place.counts[place.number] == NOBODY for place in self._leaving)
        if self._handing_over and self._changes is not None and left:
            self._handing_over = False
            self._changes.done(None)

    def _see_off(self, metrics_folder: Path) -> None:
        for place in self._leaving:
            if place.process is not None and not place.process.is_alive():
                logs.event("worker retired", worker=place.number, worker_pid=place.process.pid)
                forget(place, metrics_folder)
        self._leaving = [place for place in self._leaving if place.process is not None]

    def _dismiss_coming(self, metrics_folder: Path) -> None:
        for place in self._coming:
            if place.process is not None:
                place.process.kill()
                place.process.join()
                forget(place, metrics_folder)
        self._coming = []

    def _start(self, place: Place, metrics_folder: Path) -> None:
        place.orders, theirs = self._context.Pipe()
        place.process = self._context.Process(
            target=worker.run_under_supervisor,
            args=(
                place.settings.to_json(),
                self._sock,
                theirs,
                metrics_folder,
                (place.counts, place.number),
            ),
            name=f"tellapart-worker-{place.number}",
            daemon=True,
        )
        place.process.start()
        theirs.close()  # or its end would not be seen
        place.ready, place.started_s = False, time.monotonic()
        logs.event("worker started", worker=place.number, worker_pid=place.process.pid)

    def _listen_to(self, place: Place) -> None:
        if place.orders is None:
            return
        try:
            while place.orders.poll():
                said, text = place.orders.recv()
                if said == worker.READY:
                    place.ready = True
                elif said == worker.RELOADED:
                    self._tell_all("reload", but=place)
                elif place.on_trial:
                    raise TellapartError(text)
                else:
                    logs.event("worker cannot start", level=logging.ERROR, worker=place.number, reason=text)
        except (EOFError, OSError):
            place.orders.close()
            place.orders = None

    def _bury(self, place: Place, metrics_folder: Path) -> None:
        """Note a worker's death, and when the next one is due: at once, then at growing pauses."""
        assert place.process is not None
        if place.on_trial:
            raise ServiceError(
                f"a worker ended with status {place.process.exitcode} before it was ready; its own words are "
                "above, and `--workers 1` may show more"
            )
        steady = time.monotonic() - place.started_s >= STEADY_AFTER_S
        place.pause_s = 0.0 if steady else min(LONGEST_PAUSE_S, max(0.25, 2 * place.pause_s))
        place.due_s = time.monotonic() + place.pause_s
        logs.event(
            "worker ended",
            level=logging.WARNING,
            worker=place.number,
            worker_pid=place.process.pid,
            exit_status=place.process.exitcode,
            next_in_s=place.pause_s,
        )
        forget(place, metrics_folder)

    def _tell_all(self, order: worker.Order, *, but: Place | None = None) -> None:
        for place in self._places:
            if place is not but:
                place.tell(order)

    def _everyone(self) -> list[Place]:
        return [*self._places, *self._coming, *self._leaving]

    def _drain(self) -> None:
        self._tell_all("drain")
        ends_s = time.monotonic() + self._settings.drain_s + self._settings.request_timeout_s + 5
        while time.monotonic() < ends_s and not self._kill_wanted:
            if not any(place.process is not None and place.process.is_alive() for place in self._everyone()):
                return
            time.sleep(TICK_S)

    def _kill(self) -> None:
        for place in self._everyone():
            if place.process is not None:
                place.process.kill()
                place.process.join()
