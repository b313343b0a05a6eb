"""What one service is told: models, limits, threads and who may ask."""

import json
import math
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, Literal

from tellapart.data.addresses import is_loopback
from tellapart.data.reader import n_cores
from tellapart.errors import ConfigError
from tellapart.inference import BATCH_SIZE

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")

_AT_LEAST = {
    "workers": 1,
    "max_body_bytes": 1,
    "max_pixels": 1,
    "max_images": 1,
    "max_batch": 1,
    "max_wait_ms": 0,
    "queue_size": 1,
    "drain_s": 0,
}
_POSITIVE = ("threads", "request_timeout_s", "url_timeout_s", "rate_per_s")


@dataclass(frozen=True)
class Settings:
    """Everything that one service is told; checked when made.

    Attributes
    ----------
    models
        Name -> bundle or run folder. The first one answers where a request names none.
    precision
        ``"int8"`` serves the ``model-int8`` of run folders; None whatever the folder holds.
    workers
        Processes behind the one port.
    threads
        Engine threads in each process; None shares the cores among the processes.
    keys_file
        See `tellapart.serving.keys`; None lets everybody in, which is accepted on loopback only, and
        behind a gateway.
    behind_gateway
        Whether something in front of the service, around which nobody gets, asks for keys.
    allowed_hosts
        Further names by which clients may call this service in the Host header.
    max_body_bytes
        Of one request, also after decompression.
    max_pixels
        Width times height of one image, checked in its header before anything is decoded.
    max_images
        In one request.
    max_batch, max_wait_ms
        Images per call of the engine, and how long one waits for others to join it.
    queue_size
        Images that may wait in a model's queue; more are refused with 503.
    request_timeout_s
        From the first byte of a request to its answer.
    drain_s
        How long the service says that it is not ready before it stops taking connections.
    rate_per_s
        Requests per second and key; None for no limit.
    url_scoring
        Whether images may be named by URL; the other ``url_`` settings say which.
    """

    models: Mapping[str, Path]
    precision: Literal["fp32", "int8"] | None = None
    host: str = "127.0.0.1"
    port: int = 8000
    workers: int = 1
    threads: int | None = None
    keys_file: Path | None = None
    behind_gateway: bool = False
    allowed_hosts: tuple[str, ...] = ()
    max_body_bytes: int = 10_000_000
    max_pixels: int = 25_000_000
    max_images: int = 32
    max_batch: int = BATCH_SIZE
    max_wait_ms: float = 0.0
    queue_size: int = 64
    request_timeout_s: float = 30.0
    drain_s: float = 5.0
    rate_per_s: float | None = None
    url_scoring: bool = False
    url_hosts: tuple[str, ...] = ()
    url_ports: tuple[int, ...] = (80, 443)
    url_allow_private: bool = False
    url_timeout_s: float = 10.0

    def __post_init__(self) -> None:
        if not self.models:
            raise ConfigError("no model to serve: give one, for example `tellapart serve RUN`")
        for name in self.models:
            if not _NAME.fullmatch(name):
                raise ConfigError(
                    f"{name!r} cannot be a model's name: use letters, digits, '.', '_' and '-', beginning "
                    "with a letter or digit, as in `tellapart serve lesions=RUN`"
                )
        if self.precision not in (None, "fp32", "int8"):
            raise ConfigError(f"precision {self.precision!r} is not known; it is fp32 or int8")
        self._check_numbers()
        if self.keys_file is None and not self.is_loopback and not self.behind_gateway:
            raise ConfigError(
                f"a service on {self.host} needs keys: give a keys file, or bind to 127.0.0.1; "
                "without keys only programs on this machine may ask"
            )

    def _check_numbers(self) -> None:
        numbers = {name: getattr(self, name) for name in (*_AT_LEAST, *_POSITIVE)}
        for name, value in numbers.items():
            if value is None:
                continue
            if not math.isfinite(value) or value < _AT_LEAST.get(name, 0):
                raise ConfigError(f"{name} is {value}; it must be at least {_AT_LEAST.get(name, 0)}")
            if name in _POSITIVE and value == 0:
                raise ConfigError(f"{name} is 0; it must be more")
        if not 0 <= self.port <= 65535:
            raise ConfigError(f"port is {self.port}; it must be between 0 (any free one) and 65535")
        if self.queue_size < self.max_images:
            raise ConfigError(
                f"queue_size is {self.queue_size}, so that a request of max_images ({self.max_images}) "
                "could never be answered; make the queue at least as long"
            )

    @property
    def is_loopback(self) -> bool:
        """Whether only this machine can reach the service."""
        return is_loopback(self.host)

    @property
    def engine_threads(self) -> int:
        """Engine threads in each process."""
        return self.threads or max(1, n_cores() // self.workers)

    @property
    def default_model(self) -> str:
        """Name of the model that answers where a request names none."""
        return next(iter(self.models))

    def to_json(self) -> str:
        """Return a text for another process."""
        values = asdict(self)
        values["models"] = {name: str(path) for name, path in self.models.items()}
        values["keys_file"] = None if self.keys_file is None else str(self.keys_file)
        return json.dumps(values)

    @classmethod
    def from_json(cls, text: str) -> "Settings":
        """Read what `to_json` wrote.

        Raises
        ------
        ConfigError
            If it is damaged, or written by a version that knows other settings.
        """
        try:
            values: dict[str, Any] = json.loads(text)
            values["models"] = {name: Path(path) for name, path in values["models"].items()}
            values["keys_file"] = Path(values["keys_file"]) if values.get("keys_file") else None
            for name in ("allowed_hosts", "url_hosts", "url_ports"):
                values[name] = tuple(values.get(name, getattr(cls, name)))
            known = {field.name for field in fields(cls)}
            if not values.keys() <= known:
                raise ValueError(f"unknown settings {', '.join(sorted(values.keys() - known))}")
            return cls(**values)
        except (ValueError, TypeError, KeyError, AttributeError) as exc:
            if isinstance(exc, ConfigError):
                raise
            raise ConfigError(f"the service's settings are damaged: {exc}") from exc


def http_url(host: str, port: int, machine: str = "") -> str:
    """Return where a server bound to `host` is asked.

    Parameters
    ----------
    machine
        Its machine's address, which counts where it listens on all of them; this one by default.
    """
    if host in ("", "0.0.0.0", "::"):
        host = machine or ("::1" if host == "::" else "127.0.0.1")
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
