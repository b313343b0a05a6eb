"""The pages for people: try an image at ``/``, read the API at ``/docs``; ``/openapi.json`` behind both."""

from pathlib import Path

from starlette.requests import Request
from starlette.responses import FileResponse, Response
from starlette.routing import BaseRoute, Mount, Route
from starlette.staticfiles import StaticFiles

from tellapart.serving.documents import Document
from tellapart.serving.openapi import document

HTML, STATIC = (Path(__file__).parent / name for name in ("html", "static"))
"""The pages, and what they are made of, which anybody may load by its name."""

_HEADERS = {
    "Content-Security-Policy": "default-src 'self'; img-src 'self' blob: data:; frame-ancestors 'none'",
    "Cache-Control": "no-cache",
}
"""A policy that lets the pages load and ask nothing but this service; always the newest version of them."""


async def try_page(request: Request) -> Response:
    """GET /: try the model on an image."""
    return FileResponse(HTML / "try.html", headers=_HEADERS)


async def docs_page(request: Request) -> Response:
    """GET /docs."""
    return FileResponse(HTML / "docs.html", headers=_HEADERS)


async def openapi(request: Request) -> Response:
    """GET /openapi.json."""
    service = request.app.state.service
    return Document(document(service.settings, service.models), headers={"Cache-Control": "no-cache"})


routes: list[BaseRoute] = [
    Route("/", try_page),
    Route("/docs", docs_page),
    Route("/openapi.json", openapi),
    Mount("/static", StaticFiles(directory=STATIC)),
]
