"""A host of images on this machine, and a session that may ask it."""

import socket
from collections.abc import Iterator

import pytest

from image_host import ImageHost, hosting
from tellapart.sources.session import Session

PATH = "/list"


@pytest.fixture
def web_host() -> Iterator[ImageHost]:
    with hosting() as host:
        yield host


@pytest.fixture
def web_session() -> Iterator[Session]:
    with Session(allow_private=True, first_pause_s=0.001, attempts=4, timeout_s=5) as session:
        yield session


def resolver(**known: str):
    """Look names up in a table; a value may be an errno of `socket.gaierror`."""

    def look_up(host, port, *, type):
        answer = known[host.replace(".", "_")]
        if isinstance(answer, int):
            raise socket.gaierror(answer, "no")
        return [(socket.AF_INET, type, 6, "", (address, port)) for address in answer.split()]

    return look_up
