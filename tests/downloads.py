"""A host of forty pictures, and fetching from it."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from image_host import ImageHost, hosting
from pictures import class_picture, encode
from tellapart.sources.candidate import Candidate
from tellapart.sources.collection import Collection
from tellapart.sources.download import Fetched, Order, fetch_class
from tellapart.sources.session import Session

RNG = np.random.default_rng(0)


PICTURES = [encode(class_picture(RNG, number % 3)) for number in range(40)]
"""Forty different PNGs of 48x40 pixels, of about 5 kB each."""


@pytest.fixture
def picture_host() -> Iterator[ImageHost]:
    with hosting() as host:
        host.files = {f"/{number:03d}.png": content for number, content in enumerate(PICTURES)}
        yield host


@pytest.fixture
def download_folder(tmp_path: Path) -> Path:
    return tmp_path / "out"


def offered(host: ImageHost, n: int = len(PICTURES), **options: object) -> Iterator[Candidate]:
    """Candidates 000 and on, of the class ``ant``."""
    for number in range(n):
        yield Candidate(f"{number:03d}", f"{host.url}/{number:03d}.png", "ant", **options)


def fetch(
    host: ImageHost, out: Path, n: int, candidates: Iterator[Candidate] | None = None, **options
) -> Fetched:
    """Fetch `n` images of the class ``ant`` in a session and collection of their own."""
    of_session = {"first_pause_s": 0.001, "connections": 4, "timeout_s": 5.0}
    of_session |= {key: options.pop(key) for key in list(options) if key in (*of_session, "attempts")}
    with Session(allow_private=True, **of_session) as session, Collection(out, {}) as collection:
        wanted = {key: options.pop(key) for key in ("resize_px", "at_most") if key in options}
        order = Order("ant", n, **wanted)
        return fetch_class(session, collection, order, candidates or offered(host), **options)


def files(out: Path) -> dict[str, bytes]:
    """Name -> content of everything in the class's folder, hidden files too."""
    return {path.name: path.read_bytes() for path in (out / "ant").iterdir()}
