"""The socket on which a service listens."""

import errno
import socket

from tellapart.errors import ServiceError
from tellapart.serving.settings import http_url

BACKLOG = 2048
"""Connections that may wait to be accepted."""


def bind(host: str, port: int) -> socket.socket:
    """Return a socket that listens.

    Raises
    ------
    ServiceError
        If it cannot.
    """
    try:
        family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        sock = socket.socket(family, socket.SOCK_STREAM)
    except OSError as exc:
        raise _none(host, exc) from exc
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind(address)
        sock.listen(BACKLOG)
    except OSError as exc:
        sock.close()
        if exc.errno == errno.EADDRNOTAVAIL:
            raise _none(host, exc) from exc
        raise ServiceError(
            f"cannot serve on {host} port {port}: {exc.strerror}; another program may have it: choose "
            "another --port, or --port 0 for any that is free"
        ) from exc
    return sock


def url_of(sock: socket.socket) -> str:
    """Return the address of a listening socket, as a browser on this machine takes it."""
    return http_url(*sock.getsockname()[:2])


def _none(host: str, exc: OSError) -> ServiceError:
    return ServiceError(f"{host} is no address to serve on ({exc.strerror}); try --host 127.0.0.1")
