"""``POST /score``: the request of the AML package for computer vision, as its published client sent it."""

from dataclasses import replace
from typing import Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from tellapart.errors import DataError
from tellapart.serving.bodies import read_body
from tellapart.serving.documents import Document, decode_base64, parse
from tellapart.serving.predict import Asked, Options, answers, check_number
from tellapart.serving.problems import Problem
from tellapart.serving.service import Service


async def score(request: Request) -> Response:
    """Answer a JSON list of ``{"image_in_base64": …, "parameters": {…}}`` with a list of scores."""
    service: Service = request.app.state.service
    # Scores are all that is answered here: they cannot be left out.
    options = replace(Options().told(request.query_params), probabilities=True)
    try:
        items = parse(await read_body(request, service.settings))
    except DataError as exc:
        raise Problem(400, str(exc)) from exc
    items = [items] if isinstance(items, dict) else items
    if not isinstance(items, list) or not items:
        raise Problem(400, 'the body must be like [{"image_in_base64": "…", "parameters": {}}]')
    check_number(len(items), service.settings.max_images)
    model = service.models.get(options.model)
    results = await answers(service, model, [_asked(item) for item in items], options)
    return Document([_scores(result) for result in results])


routes = [Route("/score", score, methods=["POST"])]


def _scores(result: dict[str, Any]) -> dict[str, Any]:
    if "error" in result:
        return {"error": result["error"]}
    return {"label": result["label"], "scores": result["probabilities"]}


def _asked(item: Any) -> Asked:
    text = item.get("image_in_base64") if isinstance(item, dict) else None
    if not isinstance(text, str):
        return Asked(Problem(400, 'an image is {"image_in_base64": "…", "parameters": {}}'))
    # On Python 3 the old client sent str(bytes).
    if len(text) > 2 and text[:2] in ("b'", 'b"') and text[-1] == text[1]:
        text = text[2:-1]
    try:
        return Asked(decode_base64(text))
    except DataError as exc:
        return Asked(Problem(400, str(exc)))
