"""A service that is asked by the Open Inference Protocol."""

import base64
import json
from pathlib import Path
from typing import TYPE_CHECKING

import httpx2
import numpy as np
import pytest

from servers import running
from tellapart.data.images import load_pixels
from tellapart.inference import Classifier
from tellapart.serving.app import create_app
from tellapart.serving.connections import BoundedProtocol
from tellapart.serving.settings import Settings

if TYPE_CHECKING:
    from tritonclient.http import InferInput

MODEL, HEADER = "tissue", "Inference-Header-Content-Length"


INFER = f"/v2/models/{MODEL}/infer"


@pytest.fixture(scope="module")
def protocol_url(trained):
    service = create_app(Settings(models={MODEL: trained.folder}, max_images=8))
    with running(service, http=BoundedProtocol) as url:
        yield url


@pytest.fixture
def triton_client(protocol_url):
    from tritonclient.http import InferenceServerClient

    with InferenceServerClient(protocol_url.removeprefix("http://"), concurrency=4) as client:
        yield client


@pytest.fixture(scope="module")
def protocol_model(trained) -> Classifier:
    return Classifier.load(trained.folder)


@pytest.fixture(scope="module")
def protocol_paths(photos) -> list[Path]:
    return [photos / name / f"{number:03d}.png" for name in ("benign", "malignant") for number in range(3)]


@pytest.fixture(scope="module")
def encoded_images(protocol_paths) -> list[bytes]:
    return [path.read_bytes() for path in protocol_paths]


@pytest.fixture(scope="module")
def raw_pixels(protocol_model, encoded_images) -> np.ndarray:
    return np.stack([load_pixels(file, protocol_model.card.preprocessing) for file in encoded_images])


def tensor(name: str, datatype: str, values: np.ndarray, *, binary: bool = True) -> "InferInput":
    from tritonclient.http import InferInput

    values = np.asarray(values, object if datatype == "BYTES" else None)
    return InferInput(name, list(values.shape), datatype).set_data_from_numpy(values, binary)


def image_tensor(files: list[bytes]) -> "InferInput":
    return tensor("image", "BYTES", files)


def post(url: str, message: object, data: bytes = b"", **headers: str) -> httpx2.Response:
    """Send a request as written; with data behind the JSON unless a header says otherwise."""
    body = message if isinstance(message, bytes) else json.dumps(message).encode()
    lengths = {HEADER: str(len(body))} if data else {}
    return httpx2.post(url + INFER, content=body + data, headers={**lengths, **headers})


def an_image(file: bytes, **members: object) -> dict[str, object]:
    data = [base64.b64encode(file).decode()]
    return {"inputs": [{"name": "image", "datatype": "BYTES", "shape": [1], "data": data, **members}]}
