"""A connection to a Ray cluster."""

import logging
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from tellapart.errors import ConfigError, DeploymentError, MissingExtra

if TYPE_CHECKING:
    from types import ModuleType

CONNECT_LIMIT_S = 5.0
"""For a cluster's address to take a connection; Ray itself tries for two minutes."""

LOCAL = "local"
"""In place of an address: a cluster on this machine that ends with the connection."""


@contextmanager
def connected(address: str) -> Iterator["ModuleType"]:
    """Lend Ray, connected to a cluster.

    Raises
    ------
    ConfigError
        If the address is none.
    DeploymentError
        If no cluster answers there.
    MissingExtra
        If Ray is not installed.
    """
    try:
        import ray
    except ImportError as exc:
        raise MissingExtra("this needs Ray: pip install 'tellapart[ray]'") from exc
    if address != LOCAL:
        _try(address)
    try:
        ray.init(address=address, namespace="serve", log_to_driver=False, logging_level=logging.ERROR)
    except (OSError, RuntimeError, ValueError) as exc:
        raise DeploymentError(f"no Ray cluster answers at {address} ({shortened(str(exc))})") from exc
    try:
        yield ray
    finally:
        ray.shutdown()


def shortened(message: str) -> str:
    """Return the last line of what Ray says, which is the reason."""
    lines = [line.strip() for line in message.splitlines() if line.strip()]
    return lines[-1] if lines else "Ray gives no reason; see its logs"


def _try(address: str) -> None:
    host, _, port = address.removeprefix("ray://").rpartition(":")
    if not host or not port.isdecimal() or int(port) > 65535:
        raise ConfigError(
            f"{address!r} is no address of a Ray cluster; give it as HOST:PORT, as in head:6379"
        )
    try:
        socket.create_connection((host, int(port)), timeout=CONNECT_LIMIT_S).close()
    except OSError as exc:
        raise DeploymentError(f"no Ray cluster answers at {address} ({exc})") from exc
