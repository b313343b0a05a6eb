"""A connection to a Ray cluster."""

import logging
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from tellapart.errors import ConfigError, MissingExtra, Unreachable

if TYPE_CHECKING:
    from types import ModuleType

CONNECT_LIMIT_S = 5.0
"""For a cluster's address to take a connection; Ray itself tries for two minutes."""

LOCAL = "local"
"""In place of an address: a cluster on this machine that ends with the connection."""


@contextmanager
def connected(address: str, *, is_coming: Callable[[], bool] = lambda: False) -> Iterator["ModuleType"]:
    """Lend Ray, connected to a cluster.

    Parameters
    ----------
    address
        HOST:PORT, or `LOCAL`.
    is_coming
        Whether a cluster that does not answer yet is just being started; as long as it is, we wait.

    Raises
    ------
    ConfigError
        If the address is none.
    Unreachable
        If no cluster answers there.
    MissingExtra
        If Ray is not installed.
    """
    try:
        import ray
    except ImportError as exc:
        raise MissingExtra("this needs Ray: pip install 'tellapart[ray]'") from exc
    if address != LOCAL:
        _check(address)
    while True:
        try:
            if address != LOCAL:
                _try(address)
            ray.init(address=address, namespace="serve", log_to_driver=False, logging_level=logging.ERROR)
            break
        except (OSError, RuntimeError, ValueError) as exc:
            if not is_coming():
                raise Unreachable(f"no Ray cluster answers at {address} ({shortened(str(exc))})") from exc
            time.sleep(0.2)
    try:
        yield ray
    finally:
        ray.shutdown()


def shortened(message: str) -> str:
    """Return the last line of what Ray says, which is the reason; pydantic's has an advertisement below."""
    lines = [line.strip() for line in message.splitlines()]
    lines = [line for line in lines if line and not line.startswith("For further information")]
    return lines[-1] if lines else "Ray gives no reason; see its logs"


def _check(address: str) -> None:
    host, port = _parts(address)
    if not host or not port.isdecimal() or int(port) > 65535:
        raise ConfigError(
            f"{address!r} is no address of a Ray cluster; give it as HOST:PORT, as in head:6379"
        )


def _try(address: str) -> None:
    host, port = _parts(address)
    socket.create_connection((host, int(port)), timeout=CONNECT_LIMIT_S).close()


def _parts(address: str) -> tuple[str, str]:
    host, _, port = address.removeprefix("ray://").rpartition(":")
    return host, port
