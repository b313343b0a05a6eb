"""The Open Inference Protocol v2 under /v2, as NVIDIA's and KServe's clients speak it.

A model takes one of two inputs: `image`, encoded files as BYTES of shape [n] or [n, 1], or `pixels`,
UINT8 of shape [n, size, size, 3], already resized. It answers with `probabilities`, FP32 [n, n_classes],
and `label`, BYTES [n]; with the classification extension, instead of probabilities the k most probable
classes as text, "probability:index:label".
"""

import logging
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from tellapart import __version__
from tellapart.errors import BundleError, DataError, TellapartError
from tellapart.records import refers
from tellapart.serving.answers import decided
from tellapart.serving.batcher import Pixels, Probabilities
from tellapart.serving.bodies import read_body
from tellapart.serving.documents import Document
from tellapart.serving.image_header import TooManyPixels
from tellapart.serving.models import ServedModel
from tellapart.serving.problems import Problem
from tellapart.serving.service import Service
from tellapart.serving.tensors import HEADER, Tensor, WireTensor, listed, member, pack, short, unpack

log = logging.getLogger(__name__)

PLATFORM = "onnxruntime_onnx"
EXTENSIONS = ("binary_tensor_data", "classification", "model_repository")
OUTPUTS = ("probabilities", "label")


@dataclass(frozen=True, slots=True)
class Output:
    """One output that a request asked for.

    Attributes
    ----------
    name
        One of `OUTPUTS`.
    binary
        Whether it goes behind the JSON as raw bytes.
    n_best
        How many classes the classification extension lists; 0 for the plain tensor.
    """

    name: str
    binary: bool
    n_best: int = 0


async def server(request: Request) -> Response:
    """GET /v2."""
    return Document({"name": "tellapart", "version": __version__, "extensions": list(EXTENSIONS)})


async def live(request: Request) -> Response:
    """GET /v2/health/live."""
    return Document({"live": True})


async def ready(request: Request) -> Response:
    """GET /v2/health/ready: 503 while the service drains; while models load, it takes no connection."""
    is_ready = _is_ready(request)
    return Document({"ready": is_ready}, 200 if is_ready else 503)


async def model_ready(request: Request) -> Response:
    """GET /v2/models/NAME[/versions/VERSION]/ready."""
    model, is_ready = _model(request), _is_ready(request)
    return Document({"name": model.name, "ready": is_ready}, 200 if is_ready else 503)


async def model_metadata(request: Request) -> Response:
    """GET /v2/models/NAME[/versions/VERSION]."""
    model = _model(request)
    return Document(
        {
            "name": model.name,
            "versions": [model.version],
            "platform": PLATFORM,
            "inputs": [
                {"name": "image", "datatype": "BYTES", "shape": [-1]},
                {"name": "pixels", "datatype": "UINT8", "shape": [-1, model.size, model.size, 3]},
            ],
            "outputs": [
                {"name": "probabilities", "datatype": "FP32", "shape": [-1, len(model.class_names)]},
                {"name": "label", "datatype": "BYTES", "shape": [-1]},
            ],
        }
    )


async def index(request: Request) -> Response:
    """POST /v2/repository/index: the models of this service."""
    models = _service(request).models
    found = [models.get(name) for name in models.names()]
    return Document([{"name": m.name, "version": m.version, "state": "READY", "reason": ""} for m in found])


async def load(request: Request) -> Response:
    """POST /v2/repository/models/NAME/load: take up what now lies in the model's folder."""
    service, model = _service(request), _model(request)
    body = await read_body(request, service.settings)
    # The protocol would let a client send the model's files here; a service only loads its own folders.
    if body.strip() not in (b"", b"{}"):
        raise Problem(400, "a model is loaded from its own folder only: send no parameters")
    try:
        versions = await service.models.reload(model.name)
        service.tell_others()
    except BundleError as exc:
        log.error("model %s was not loaded: %s", model.name, exc)
        detail = f"the new model cannot be used, the log says why; version {model.version} goes on serving"
        raise Problem(503, detail) from exc
    return Document({"name": model.name, "version": versions[model.name]})


async def infer(request: Request) -> Response:
    """POST /v2/models/NAME[/versions/VERSION]/infer."""
    service, model = _service(request), _model(request)
    body = await read_body(request, service.settings)
    try:
        message, inputs = unpack(body, request.headers.get(HEADER))
        request_id = member(message, "id", str) or request.state.request_id
        outputs = _asked_for(message)
        images = _images(inputs, model, service.settings.max_images)
    except DataError as exc:
        raise Problem(400, str(exc)) from exc
    y_prob = await _probabilities(service, model, images)
    answer, json_length = pack(
        {"id": request_id, "model_name": model.name, "model_version": model.version},
        [(_tensor(output, model, y_prob), output.binary) for output in outputs],
    )
    if json_length is None:
        return Response(answer, media_type="application/json")
    return Response(answer, media_type="application/octet-stream", headers={HEADER: str(json_length)})


def _service(request: Request) -> Service:
    service: Service = request.app.state.service
    return service


def _is_ready(request: Request) -> bool:
    return not _service(request).draining


def _model(request: Request) -> ServedModel:
    model = _service(request).models.get(request.path_params["model"])
    version = request.path_params.get("version", model.version)
    if version != model.version:
        raise Problem(404, f"model {model.name} has no version {version[:40]!r}; it has {model.version}")
    return model


def _asked_for(message: dict[str, Any]) -> list[Output]:
    binary = member(member(message, "parameters", dict, {}), "binary_data_output", bool, False)
    specs = listed(message, "outputs") or [{"name": name} for name in OUTPUTS]
    outputs = [_output(spec, binary) for spec in specs]
    if len({output.name for output in outputs}) < len(outputs):
        raise DataError("an output is asked for twice")
    return outputs


def _output(spec: dict[str, Any], binary: bool) -> Output:
    name, parameters = spec.get("name"), member(spec, "parameters", dict, {})
    if name not in OUTPUTS:
        raise DataError(f"there is no output {short(name)}; there are {', '.join(OUTPUTS)}")
    if "shared_memory_region" in parameters:
        raise DataError(f"output {name} was asked for in shared memory; it comes in the answer")
    n_best = member(parameters, "classification", int, 0)
    if n_best < 0 or (n_best and name != "probabilities"):
        raise DataError("'classification' is a number of classes, from 1, of the output 'probabilities'")
    return Output(name, member(parameters, "binary_data", bool, binary), n_best)


def _images(inputs: Sequence[WireTensor], model: ServedModel, max_images: int) -> Sequence[bytes | Pixels]:
    """Return the one input's images, encoded or as pixels."""
    square = (model.size, model.size, 3)
    accepted = (
        "'image' (BYTES of shape [n] or [n, 1]) or "
        f"'pixels' (UINT8 of shape [n, {', '.join(map(str, square))}])"
    )
    if len(inputs) != 1:
        raise DataError(f"{len(inputs)} inputs, accepted is one: {accepted}")
    [tensor] = inputs
    n_images, *rest = tensor.shape or (0,)
    if (tensor.name, tensor.datatype) == ("image", "BYTES"):
        fits = rest in ([], [1])
    else:
        fits = (tensor.name, tensor.datatype, *rest) == ("pixels", "UINT8", *square)
    if not fits:
        found = f"{short(tensor.name)} ({tensor.datatype} of shape {list(tensor.shape)})"
        raise DataError(f"the input is {found}, accepted is {accepted}")
    if not 1 <= n_images <= max_images:
        raise DataError(f"{n_images:,} images in one request, accepted are 1 to {max_images}")
    values = tensor.decode()
    return values.ravel().tolist() if tensor.datatype == "BYTES" else list(values)


async def _probabilities(
    service: Service, model: ServedModel, images: Iterable[bytes | Pixels]
) -> Probabilities:
    """Return float64 of shape (n, n_classes); the protocol knows no answer for some of the images only."""
    rows = []
    for position, result in enumerate(await model.probabilities_of(images)):
        if isinstance(result, TellapartError):
            service.metrics.image_failed(type(result).__name__)
            status = 413 if isinstance(result, TooManyPixels) else 400
            raise Problem(status, f"image {position}, counted from 0: {result}")
        rows.append(result)
    for row in rows:
        index = decided(model, row)
        abstained = refers(row, model.class_names, model.card.threshold)
        service.metrics.predicted(model.name, model.class_names[index], float(row[index]), abstained)
    return np.stack(rows)


def _tensor(output: Output, model: ServedModel, y_prob: Probabilities) -> Tensor:
    if output.name == "label":
        return _text("label", [model.class_names[decided(model, row)] for row in y_prob])
    if output.n_best:
        return _text("probabilities", [_best(row, output.n_best, model.class_names) for row in y_prob])
    return Tensor("probabilities", "FP32", y_prob.astype(np.float32))


def _best(row: Probabilities, n: int, class_names: Sequence[str]) -> list[str]:
    order = np.argsort(-row, kind="stable")[:n]
    return [f"{row[index]:.9f}:{index}:{class_names[index]}" for index in order]


def _text(name: str, values: Sequence[Any]) -> Tensor:
    # Names of folders that are not UTF-8 may have become names of classes.
    encode = np.frompyfunc(lambda text: text.encode(errors="replace"), 1, 1)
    return Tensor(name, "BYTES", encode(np.array(values, object)))


routes = [
    Route("/v2", server),
    Route("/v2/health/live", live),
    Route("/v2/health/ready", ready),
    *(
        Route(f"/v2/models/{{model}}{version}{suffix}", endpoint, methods=methods)
        for version in ("", "/versions/{version}")
        for suffix, endpoint, methods in (
            ("", model_metadata, ["GET"]),
            ("/ready", model_ready, ["GET"]),
            ("/infer", infer, ["POST"]),
        )
    ),
    Route("/v2/repository/index", index, methods=["POST"]),
    Route("/v2/repository/models/{model}/load", load, methods=["POST"]),
]
