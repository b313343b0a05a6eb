"""Asking POST /v1/predict."""

import httpx2
import pytest

from servers import running
from tellapart.inference import Classifier
from tellapart.serving.app import create_app
from tellapart.serving.settings import Settings


@pytest.fixture(scope="module")
def predict_url(trained):
    with running(create_app(Settings({"lesions": trained.folder, "second": trained.folder}))) as url:
        yield url


@pytest.fixture(scope="module")
def predict_model(trained) -> Classifier:
    return Classifier.load(trained.folder)


def post(url: str, options: str = "", **request) -> httpx2.Response:
    return httpx2.post(f"{url}/v1/predict{options}", timeout=30, **request)
