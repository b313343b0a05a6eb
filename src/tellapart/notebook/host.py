"""The kernel's side of a widget: answers what a view asks, by messages instead of HTTP."""

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from threading import Event, Lock, Thread
from typing import Any

from tellapart.data.reader import n_cores
from tellapart.errors import ConfigError
from tellapart.studio.answers import outcome, whole_picture
from tellapart.studio.desk import Desk
from tellapart.studio.operation import Arguments, Json
from tellapart.studio.operations import perform

Send = Callable[[Json, list[bytes]], None]

LOOK_S = 1.0
"""Seconds between two looks at the journal, while a view waits for what others change."""

MOST_PICTURES = 100
"""Small pictures in one message."""

_LOG_IS = "the log of this notebook's kernel"


class Host:
    """Answers one widget.

    A message is ``{"id", "op", "args"}``: an operation by its name, ``thumbs`` for small pictures, or
    ``picture`` for a whole one. The answer is ``{"id", "status", "answer"}``, where ``answer`` is the text of
    a JSON object as over HTTP, with the pictures as binary buffers beside it.

    Each is answered, whatever comes of it. That is done on a thread, since the studio's operations may run
    side by side, so that the kernel goes on with what the user types. ``changes`` is answered as soon as
    there are any, and not before: a page that asked every two seconds would keep the kernel busy for ever.

    Parameters
    ----------
    desk
        What is open.
    send
        Sends an answer and its buffers to the page; called from several threads.
    """

    def __init__(self, desk: Desk, send: Send) -> None:
        self.desk, self._send = desk, send
        self._pool = ThreadPoolExecutor(max(2, n_cores()), thread_name_prefix="tellapart")
        self._waiting: dict[str, int] = {}
        self._lock, self._closed = Lock(), Event()
        self._watcher: Thread | None = None

    def receive(self, message: Any, buffers: Sequence[memoryview] = ()) -> None:
        """Take a message from the page; returns at once. What is no message of ours is passed over."""
        match message:
            case {"id": str() as id_, "op": str() as operation, "args": dict() as arguments}:
                if not self._closed.is_set():
                    self._pool.submit(self._answer, id_, operation, arguments)

    def close(self) -> None:
        """Answer nothing more; what is being worked out is not waited for."""
        self._closed.set()
        self._pool.shutdown(wait=False, cancel_futures=True)

    def _answer(self, id_: str, operation: str, values: Mapping[str, Any]) -> None:
        if operation == "changes" and self._must_wait(id_, values):
            return
        buffers: list[bytes] = []

        def work() -> Json:
            if operation not in _PICTURES:
                return perform(self.desk, operation, values)
            told, pictures = _PICTURES[operation](self.desk, Arguments(values))
            buffers.extend(pictures)
            return told

        status, text = outcome(self.desk, operation, work, _LOG_IS)
        self._send({"id": id_, "status": status, "answer": text}, buffers)

    def _must_wait(self, id_: str, values: Mapping[str, Any]) -> bool:
        """Remember a question for changes that there are not yet."""
        after = values.get("after")
        if not isinstance(after, int) or self._version() != after:
            return False
        with self._lock:
            self._waiting[id_] = after
            if self._watcher is None:
                self._watcher = Thread(target=self._watch, name="tellapart changes", daemon=True)
                self._watcher.start()
        return True

    def _watch(self) -> None:
        """Answer questions for changes once there are any."""
        while not self._closed.wait(LOOK_S):
            version = self._version()
            with self._lock:
                due = {id_: after for id_, after in self._waiting.items() if after != version}
                for id_ in due:
                    del self._waiting[id_]
            for id_, after in due.items():
                self._answer(id_, "changes", {"after": after})

    def _version(self) -> int | None:
        """Return the number of the journal's last event, or None if it cannot be read: asking tells why."""
        try:
            self.desk.catalog.refresh()
        except Exception:
            return None
        return self.desk.catalog.version


def _thumbs(desk: Desk, arguments: Arguments) -> tuple[Json, list[bytes]]:
    """Return small pictures, JPEG each, of ``items`` (at most 100) with a long edge of ``size`` pixels."""
    items, size = arguments.integers("items"), arguments.integer("size", 160)
    if len(items) > MOST_PICTURES or any(i >= len(desk.given) for i in items):
        raise ConfigError(f"give at most {MOST_PICTURES} image numbers below {len(desk.given)}")
    return {}, [desk.thumbnails.get(i, size) for i in items]


def _picture(desk: Desk, arguments: Arguments) -> tuple[Json, list[bytes]]:
    """Return the whole picture of image ``i``, and its media ``type``."""
    i = arguments.integer("i", high=len(desk.given) - 1)
    content, media_type = whole_picture(desk.given.samples[i].path)
    return {"type": media_type}, [content]


_PICTURES = {"thumbs": _thumbs, "picture": _picture}
