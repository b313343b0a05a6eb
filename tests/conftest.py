"""Fixtures that many tests share; nothing here needs a network or a GPU."""

import logging
import os
import signal
from itertools import zip_longest
from pathlib import Path

import hypothesis
import pytest

from browser import chromium, open_studio, window  # noqa: F401
from downloads import download_folder, picture_host  # noqa: F401
from grids import gallery, gallery_pictures, gallery_to_look_at  # noqa: F401
from journals import journal  # noqa: F401
from pictures import write_class_folders
from predictions import predict_model, predict_url  # noqa: F401
from protocol import (  # noqa: F401
    encoded_images,
    protocol_model,
    protocol_paths,
    protocol_url,
    raw_pixels,
    triton_client,
)
from scripted import lesion_client, lesion_files, lesion_service, scripted  # noqa: F401
from sessions import web_host, web_session  # noqa: F401
from thresholds import doubtful_desk, doubtful_lesions  # noqa: F401
from web import connected, serve, two_worlds  # noqa: F401

# A shell's background jobs, and all that they start, ignore Ctrl-C, which some tests send.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

os.environ.setdefault("MPLBACKEND", "Agg")
os.environ.setdefault("HF_HUB_OFFLINE", "1")

# How long an example takes says more about the machine than about the code.
hypothesis.settings.register_profile("patient", deadline=None)
hypothesis.settings.load_profile("patient")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with the files that take longest, so that no process works alone at the end.

    Those that compute and those that wait for a browser take turns, so that the machine is never idle.
    """

    def files(mark: str) -> dict[Path, None]:
        return dict.fromkeys(item.path for item in items if item.get_closest_marker(mark))

    turns = [
        path for pair in zip_longest(files("slow"), files("browser")) for path in pair if path is not None
    ]
    places = {path: place for place, path in enumerate(dict.fromkeys(turns))}
    items.sort(key=lambda item: places.get(item.path, len(places)))


@pytest.fixture(scope="session", autouse=True)
def own_cache(tmp_path_factory):
    """Keep the user's cache out of the tests, and share one among them."""
    folder = tmp_path_factory.mktemp("cache")
    os.environ["TELLAPART_CACHE"] = str(folder)
    return folder


@pytest.fixture(scope="session", autouse=True)
def pictures_alone():
    """Look for near-duplicates without the default network, whose export takes seconds.

    `small_network` gives tests one that needs none.
    """
    from tellapart.errors import MissingExtra
    from tellapart.training import evidence

    def missing():
        raise MissingExtra("left out to save time")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(evidence, "default_network", missing)
        yield


@pytest.fixture
def small_network(monkeypatch):
    """Take sixteen coarse pixels of an image for the features of the default network."""
    from tellapart.data.embedding import Network
    from tellapart.data.images import Resize
    from tellapart.training import evidence

    def coarse(pixels):
        return pixels.reshape(-1, 4, 4, 4, 4, 3).mean(axis=(2, 4, 5)).reshape(len(pixels), -1).astype("<f4")

    network = Network("coarse", Resize(16), coarse)
    monkeypatch.setattr(evidence, "default_network", lambda: network)
    return network


@pytest.fixture(autouse=True)
def own_logs():
    """Undo what a service that ran in this process did to the logs: its stream may be closed by now."""
    loggers = [logging.getLogger(name) for name in ("tellapart", "uvicorn.error")]
    before = [(logger.handlers[:], logger.level, logger.propagate) for logger in loggers]
    yield
    for logger, (handlers, level, propagate) in zip(loggers, before, strict=True):
        logger.handlers[:], logger.propagate = handlers, propagate
        logger.setLevel(level)


@pytest.fixture
def fresh_cache(tmp_path, monkeypatch) -> Path:
    """Give one test an empty cache of its own."""
    monkeypatch.setenv("TELLAPART_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture(scope="session")
def photos(tmp_path_factory) -> Path:
    """Two classes of 40 learnable pictures, with one broken file and one stray note."""
    root = write_class_folders(tmp_path_factory.mktemp("photos") / "photos", {"benign": 40, "malignant": 40})
    (root / "benign" / "broken.jpg").write_bytes(b"\xff\xd8\xff\xe0 and then nothing")
    (root / "malignant" / "notes.txt").write_text("not a picture")
    return root


@pytest.fixture(scope="session")
def trained(photos, tmp_path_factory):
    """A finished run in features mode, small and quick; tests only read it."""
    from tellapart.api import train
    from tellapart.data.dataset import Dataset
    from tellapart.training.config import TrainConfig

    config = TrainConfig(
        mode="features", backbone="timm:test_resnet", weights="none", image_size=64, test_size=0.3
    )
    return train(Dataset.from_folder(photos), config, tmp_path_factory.mktemp("runs") / "run")


@pytest.fixture(scope="module")
def own_deployments(tmp_path_factory):
    """Keep the user's deployments out of one module's tests, and leave none running."""
    import tellapart
    from tellapart.deploy import state

    with pytest.MonkeyPatch.context() as patch:
        # Ports of its own, so that tests that run beside these never take one that is just being freed.
        number = int(os.environ.get("PYTEST_XDIST_WORKER", "gw9").removeprefix("gw")) + 1
        patch.setattr(state, "PORTS", range(8000 + 1000 * number, 9000 + 1000 * number))
        patch.setenv("TELLAPART_DATA", str(tmp_path_factory.mktemp("data")))
        patch.delenv("TELLAPART_KEY", raising=False)
        yield
        for deployment in tellapart.deployments():
            deployment.delete()
