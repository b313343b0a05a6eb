"""The web service as one ASGI application."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import Response

from tellapart.serving import health, pages, predict, protocol, score
from tellapart.serving.guard import Guard
from tellapart.serving.problems import Problem, problem_response
from tellapart.serving.service import Service
from tellapart.serving.settings import Settings


def create_app(settings: Settings) -> Starlette:
    """Return the service; it opens its models when the server starts it."""

    @asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        service = await asyncio.to_thread(Service.open, settings)
        app.state.service = service
        try:
            yield
        finally:
            await asyncio.to_thread(service.close)

    app = Starlette(
        routes=[*predict.routes, *score.routes, *protocol.routes, *health.routes, *pages.routes],
        middleware=[Middleware(Guard, settings=settings)],
        exception_handlers={HTTPException: _refuse},
        lifespan=lifespan,
    )
    app.router.redirect_slashes = False
    return app


async def _refuse(request: Request, exc: Exception) -> Response:
    """Put Starlette's own refusals (no such route, wrong method) into our form."""
    assert isinstance(exc, HTTPException)
    details = {404: f"nothing at {request.url.path[:200]}; see /docs", 405: "not with this method; see /docs"}
    problem = Problem(exc.status_code, details.get(exc.status_code, exc.detail), headers=exc.headers)
    return problem_response(problem, request.state.request_id)
