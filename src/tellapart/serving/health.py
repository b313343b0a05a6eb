"""The three routes by which other machines watch the service."""

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from tellapart.serving.documents import Document


def metrics(request: Request) -> Response:
    """Answer Prometheus; not a coroutine, so that adding up the workers' files does not hold up others."""
    body, content_type = request.app.state.service.metrics.render()
    return Response(body, headers={"Content-Type": content_type})


async def healthz(request: Request) -> Response:
    """Say that the process lives, overloaded, loading or draining as it may be."""
    return Document({"status": "alive"})


async def readyz(request: Request) -> Response:
    """Say whether new requests should be sent here; not while models load, nor when about to end."""
    service = getattr(request.app.state, "service", None)
    if service is None:
        return Document({"status": "loading"}, status_code=503, headers={"Retry-After": "1"})
    if service.draining:
        return Document({"status": "draining"}, status_code=503, headers={"Retry-After": "5"})
    return Document({"status": "ready"})


routes = [Route("/metrics", metrics), Route("/healthz", healthz), Route("/readyz", readyz)]
