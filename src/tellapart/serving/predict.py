"""``POST /v1/predict``: one image as the body, several as files, or a JSON list of base64 and URLs."""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from tellapart.errors import DataError, TellapartError
from tellapart.serving.answers import model_answer
from tellapart.serving.bodies import parse_multipart, read_body, too_many_images
from tellapart.serving.documents import Document, decode_base64, parse
from tellapart.serving.image_header import TooManyPixels
from tellapart.serving.models import ServedModel
from tellapart.serving.problems import Problem
from tellapart.serving.service import Service

_RAW_TYPES = ("application/octet-stream", "application/x-www-form-urlencoded", "")
"""Beside image/*: what clients send that were not told a type."""


@dataclass(frozen=True, slots=True)
class Options:
    """What a request may ask for; see `tellapart.serving.answers.model_answer`."""

    model: str | None = None
    top_k: int | None = None
    threshold: float | None = None
    probabilities: bool = True

    def told(self, values: Mapping[str, Any]) -> "Options":
        """Return these options with `values`, JSON values or text, in their place.

        Raises
        ------
        Problem
            400 for an option that is not known or cannot have that value.
        """
        unknown = [name for name in values if name not in _OPTIONS]
        if unknown:
            raise Problem(400, f"unknown option {unknown[0][:100]!r}; there is {', '.join(_OPTIONS)}")
        told = {name: _OPTIONS[name](value) for name, value in values.items() if value is not None}
        return replace(self, **told)


@dataclass(frozen=True, slots=True)
class Asked:
    """One image of a request: its bytes, the address that has them, or what is wrong with it."""

    content: bytes | str | Problem
    name: str | None = None


async def predict(request: Request) -> Response:
    """Answer with labels and probabilities."""
    service: Service = request.app.state.service
    options = Options().told(request.query_params)
    images, options, is_list = await _images(request, service, options)
    model = service.models.get(options.model)
    results = await answers(service, model, images, options)
    if not is_list and "error" in results[0]:
        raise Problem(results[0]["status"], results[0]["error"], members={"index": 0})
    return Document({"model": model.name, "version": model.version, "predictions": results})


routes = [Route("/v1/predict", predict, methods=["POST"])]


async def answers(
    service: Service, model: ServedModel, images: Sequence[Asked], options: Options
) -> list[dict[str, Any]]:
    """Return one JSON object per image, in their order."""
    found = iter(await model.probabilities_of([i.content for i in images if isinstance(i.content, bytes)]))
    results: list[dict[str, Any]] = []
    for index, image in enumerate(images):
        y_prob = image.content if isinstance(image.content, Problem) else next(found)
        if isinstance(y_prob, Problem | TellapartError):
            result = _failed(service, y_prob)
        else:
            result = model_answer(
                model,
                y_prob,
                top_k=options.top_k,
                threshold=options.threshold,
                probabilities=options.probabilities,
            )
            service.metrics.predicted(model.name, result["label"], result["probability"], result["abstained"])
        name = {} if image.name is None else {"name": image.name}
        results.append({"index": index, **name, **result})
    return results


def _failed(service: Service, error: Problem | TellapartError) -> dict[str, Any]:
    service.metrics.image_failed(type(error).__name__)
    if isinstance(error, Problem):
        return {"error": error.detail, "status": error.status}
    return {"error": str(error), "status": 413 if isinstance(error, TooManyPixels) else 400}


async def _images(request: Request, service: Service, options: Options) -> tuple[list[Asked], Options, bool]:
    """Return the images, the options, and whether the client sent a list."""
    settings = service.settings
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    is_raw = kind in _RAW_TYPES or kind.startswith("image/")
    if not is_raw and kind not in ("multipart/form-data", "application/json"):
        raise Problem(
            415, f"Content-Type {kind[:100]!r} is not known; send image/*, multipart/form-data or JSON"
        )
    body = await read_body(request, settings)
    if is_raw:
        if not body:
            raise Problem(400, "the body is empty; send an image")
        return [Asked(body)], options, False
    if kind == "multipart/form-data":
        parts, fields = await parse_multipart(request.headers, body, settings.max_images)
        options = options.told(fields)
        images = [Asked(part.content, part.name) for part in parts]
    else:
        images, options = _from_json(body, options, settings.max_images)
        del body  # while others may wait for images by URL
        images = await _fetched(request, service, images)
    check_number(len(images), settings.max_images)
    return list(images), options, len(images) > 1 or kind == "application/json"


def check_number(n_images: int, max_images: int) -> None:
    """Refuse a request with no image, or with more than one may have."""
    if not n_images:
        raise Problem(400, "the request has no image")
    if n_images > max_images:
        raise too_many_images(str(n_images), max_images)


def _from_json(body: bytes, options: Options, max_images: int) -> tuple[list[Asked], Options]:
    try:
        value = parse(body)
    except DataError as exc:
        raise Problem(400, str(exc)) from exc
    if not isinstance(value, dict) or not isinstance(value.get("images"), list):
        raise Problem(400, 'the body must be like {"images": [{"base64": "…"}, {"url": "https://…"}]}')
    items = value.pop("images")
    check_number(len(items), max_images)
    return [_asked(item) for item in items], options.told(value)


def _asked(item: Any) -> Asked:
    name = item.get("name") if isinstance(item, dict) else None
    name = name if isinstance(name, str) else None
    match item:
        case {"base64": str(text)}:
            try:
                return Asked(decode_base64(text), name)
            except DataError as exc:
                return Asked(Problem(400, str(exc)), name)
        case {"url": str(url)}:
            return Asked(url, name)
    return Asked(Problem(400, 'an image is {"base64": "…"} or {"url": "https://…"}'), name)


async def _fetched(request: Request, service: Service, images: Sequence[Asked]) -> list[Asked]:
    """Return the images with content in the place of addresses."""
    urls = [image.content for image in images if isinstance(image.content, str)]
    if not urls:
        return list(images)
    seconds = request.state.ends_at_s - asyncio.get_running_loop().time()
    found = iter(
        await service.downloads.fetch(
            urls, caller=request.state.caller, seconds=seconds, hold=request.state.held.add
        )
    )
    return [replace(i, content=next(found)) if isinstance(i.content, str) else i for i in images]


def _model(value: Any) -> str:
    if not isinstance(value, str):
        raise Problem(400, "model is the name of a model")
    return value


def _top_k(value: Any) -> int:
    n = int(value) if isinstance(value, str) and value.isdecimal() and len(value) < 10 else value
    if not isinstance(n, int) or isinstance(n, bool) or n < 1:
        raise Problem(400, "top_k is a number of classes, 1 or more")
    return n


def _threshold(value: Any) -> float:
    try:
        threshold = float(value) if isinstance(value, str) else value
    except ValueError:
        threshold = None
    if not isinstance(threshold, int | float) or isinstance(threshold, bool) or not 0 <= threshold <= 1:
        raise Problem(400, "threshold is a probability between 0 and 1")
    return float(threshold)


def _flag(value: Any) -> bool:
    flags = {"true": True, "1": True, "false": False, "0": False}
    flag = flags.get(value.lower()) if isinstance(value, str) else value
    if not isinstance(flag, bool):
        raise Problem(400, "probabilities is true or false")
    return flag


_OPTIONS: Mapping[str, Callable[[Any], Any]] = {
    "model": _model,
    "top_k": _top_k,
    "threshold": _threshold,
    "probabilities": _flag,
}
