"""The studio as one ASGI application: the page, its files, the pictures by number, and what may be asked."""

import json
import secrets
from typing import Any

from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import FileResponse, HTMLResponse, PlainTextResponse, Response
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles

from tellapart.errors import ConfigError, UnreadableImage
from tellapart.studio import pages
from tellapart.studio.answers import answered, as_json, whole_picture
from tellapart.studio.desk import Desk
from tellapart.studio.guard import Door, Guard

_FOR_GOOD = {"Cache-Control": "private, max-age=31536000, immutable"}
"""Of pictures: their address changes when they may have."""

_ANEW = {"Cache-Control": "no-cache"}
"""Of the page and its files: kept, but asked for each time."""


def create_app(desk: Desk, door: Door) -> Starlette:
    """Return the application.

    Parameters
    ----------
    desk
        What is open.
    door
        Who may come in.
    """
    app = Starlette(
        routes=[
            Route("/api/{name}", ask, methods=["POST"]),
            Route("/thumb/{i:int}", thumb),
            Route("/image/{i:int}", image),
            Route("/shared/{name}", shared),
            Mount("/static", _Files(directory=pages.STATIC)),
            Route("/{view}", page),
            Route("/", page),
        ],
        middleware=[Middleware(Guard, door=door)],
        exception_handlers={HTTPException: _refuse},
    )
    app.router.redirect_slashes = False
    app.state.desk = desk
    app.state.edition = secrets.token_hex(4)
    return app


async def ask(request: Request) -> Response:
    """POST /api/NAME: carry out one operation with the JSON object of the body."""
    desk: Desk = request.app.state.desk
    name = request.path_params["name"]
    try:
        values = _object(await request.body())
    except ConfigError as exc:
        return _json(400, as_json({"error": str(exc)}))
    return _json(*await run_in_threadpool(answered, desk, name, values))


async def thumb(request: Request) -> Response:
    """GET /thumb/I: a small picture of image I; ``s`` is its long edge in pixels."""
    desk: Desk = request.app.state.desk
    i = _number(request)
    edge = request.query_params.get("s", "160")
    if edge not in ("160", "320"):
        raise HTTPException(400, "s is 160 or 320")
    try:
        content = await run_in_threadpool(desk.thumbnails.get, i, int(edge))
    except UnreadableImage as exc:
        raise HTTPException(404, f"this image cannot be shown: {exc}") from exc
    return Response(content, media_type="image/jpeg", headers=_FOR_GOOD)


async def image(request: Request) -> Response:
    """GET /image/I: the whole picture of image I, upright, without the file's metadata."""
    desk: Desk = request.app.state.desk
    path = desk.given.samples[_number(request)].path
    try:
        content, media_type = await run_in_threadpool(whole_picture, path)
    except UnreadableImage as exc:
        raise HTTPException(404, f"this image cannot be shown: {exc}") from exc
    return Response(content, media_type=media_type, headers=_FOR_GOOD)


async def shared(request: Request) -> Response:
    """GET /shared/NAME: what the report, too, draws its curves with."""
    name = request.path_params["name"]
    if name not in pages.SHARED_FILES:
        raise HTTPException(404, "no such file")
    return FileResponse(pages.SHARED / name, headers=_ANEW)


async def page(request: Request) -> Response:
    """GET / and GET /VIEW: the page, which looks at its address to see what to show."""
    if request.path_params.get("view", "grid") not in pages.VIEWS:
        raise HTTPException(404, f"nothing at {request.url.path[:200]}")
    return HTMLResponse(pages.page(request.app.state.edition), headers=_ANEW)


class _Files(StaticFiles):
    def file_response(self, *args: Any, **kwargs: Any) -> Response:
        response = super().file_response(*args, **kwargs)
        response.headers.update(_ANEW)
        return response


def _object(body: bytes) -> dict[str, Any]:
    """Return the JSON object in a body; an empty body is an empty object."""
    try:
        values = json.loads(body or b"{}")
    except (ValueError, RecursionError) as exc:
        raise ConfigError(f"the request is not JSON ({exc})") from exc
    if not isinstance(values, dict):
        raise ConfigError("the request is not a JSON object")
    return values


def _json(status: int, text: str) -> Response:
    return Response(text, status, media_type="application/json")


def _number(request: Request) -> int:
    i = int(request.path_params["i"])
    if i >= len(request.app.state.desk.given):
        raise HTTPException(404, f"there is no image {i}")
    return i


async def _refuse(request: Request, exc: Exception) -> Response:
    assert isinstance(exc, HTTPException)
    return PlainTextResponse(f"{exc.detail}\n", exc.status_code, headers=exc.headers)
