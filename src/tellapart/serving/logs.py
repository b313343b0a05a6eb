"""What the service writes down: one JSON object per line, on standard error.

A line has ``time``, ``level``, ``event`` and the event's own fields. A request's line says who, what and
how long; it holds no image, no key, no header and no query string, in which addresses of images may
stand.
"""

import json
import logging
import sys
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, TextIO

ROOT = "tellapart"
MAX_PATH = 200
"""Characters of a path that are kept; callers can make them as long as a request line may be."""

_access = logging.getLogger(f"{ROOT}.access")


class JsonLines(logging.Formatter):
    """Turns a log record into one line of JSON; line breaks in it are escaped, so none can be forged."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the line."""
        time = datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds")
        fields: Mapping[str, Any] = getattr(record, "fields", {})
        line = {"time": time, "level": record.levelname.lower(), "event": record.getMessage(), **fields}
        line["pid"] = record.process
        if record.exc_info:
            line["traceback"] = self.formatException(record.exc_info)
        return json.dumps(line, ensure_ascii=True, default=str)


def configure(stream: TextIO | None = None, *, level: int = logging.INFO) -> None:
    """Send the service's and uvicorn's records to `stream`, by default standard error, as JSON lines."""
    handler = logging.StreamHandler(stream or sys.stderr)
    handler.setFormatter(JsonLines())
    for name, least in ((ROOT, level), ("uvicorn.error", max(level, logging.WARNING))):
        logger = logging.getLogger(name)
        logger.handlers[:] = [handler]
        logger.setLevel(least)
        logger.propagate = False


def event(text: str, *, level: int = logging.INFO, **fields: object) -> None:
    """Write one event of the service's life, such as a worker that started."""
    logging.getLogger(f"{ROOT}.service").log(level, text, extra={"fields": fields})


def request_done(
    *, request_id: str, method: str, path: str, route: str, status: int, seconds: float, client: str | None
) -> None:
    """Write the line of one answered request.

    Parameters
    ----------
    path
        Without the query string.
    route
        As from `tellapart.serving.guard.route_of`.
    client
        The caller's address.
    """
    fields = {
        "request_id": request_id,
        "method": method[:16],
        "path": path[:MAX_PATH],
        "route": route,
        "status": status,
        "ms": round(seconds * 1000, 2),
        "client": client,
    }
    _access.info("request", extra={"fields": fields})
