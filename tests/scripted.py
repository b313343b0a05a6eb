"""A service for a client, and servers that answer as they are told."""

import time

import pytest
from starlette.applications import Starlette
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from servers import running
from tellapart.client import Client
from tellapart.serving.app import create_app
from tellapart.serving.settings import Settings


@pytest.fixture(scope="module")
def lesion_service(trained):
    settings = Settings(models={"lesions": trained.folder}, max_images=8, drain_s=0)
    with running(create_app(settings)) as url:
        yield url


@pytest.fixture
def lesion_client(lesion_service):
    with Client(lesion_service) as client:
        yield client


@pytest.fixture(scope="module")
def lesion_files(photos):
    return sorted((photos / "malignant").glob("*.png"))


@pytest.fixture
def scripted():
    """Start a server that answers /v1/predict with the given responses in turn, the last one for ever."""
    servers = []

    def start(*responses):
        calls = []

        async def predict(request):
            await request.body()
            calls.append(time.monotonic())
            answer = responses[min(len(calls), len(responses)) - 1]
            return answer if isinstance(answer, Response) else answer()

        context = running(Starlette(routes=[Route("/v1/predict", predict, methods=["POST"])]))
        url = context.__enter__()
        servers.append(context)
        return url, calls

    yield start
    for context in servers:
        context.__exit__(None, None, None)


GOOD = {
    "model": "m",
    "version": "1",
    "predictions": [
        {"label": "a", "probability": 0.9, "probabilities": {"a": 0.9, "b": 0.1}, "abstained": False}
    ],
}


def refuse(status, **headers):
    return lambda: JSONResponse({"detail": "come again"}, status, headers=headers)
