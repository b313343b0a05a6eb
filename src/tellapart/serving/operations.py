"""Every route of the service as an OpenAPI operation: what it takes, answers and refuses, and a curl line."""

from collections.abc import Mapping, Sequence
from typing import Any

from tellapart.serving.schemas import Schema, answer_example, array, options, record, ref, text
from tellapart.serving.settings import Settings

_REASONS = {
    400: "The request or the image cannot be understood; `detail` says why.",
    401: "No key, or not one of this service's.",
    404: "No such model; `detail` names those that are served.",
    408: "The body did not arrive in time.",
    413: "The body, the number of images or the pixels of an image are above the limit.",
    415: "Not an image that is accepted, or an encoding of the body that is not.",
    429: "Too many requests with this key; the header `Retry-After` says when to come back.",
    503: "Busy, loading or stopping; the header `Retry-After` says when to come back.",
    504: "The answer, or the address of an image, took too long.",
}
_ANY_REQUEST = (400, 401, 413, 429)
_SCORING = (*_ANY_REQUEST, 404, 408, 415, 503, 504)

_BINARY = {"schema": {"type": "string", "contentMediaType": "application/octet-stream"}}


def _operation(
    tag: str,
    summary: str,
    answer: Mapping[str, Any],
    curl: str,
    *,
    errors: Sequence[int] = (),
    is_open: bool = False,
    **more: Any,
) -> dict[str, Any]:
    """Return one operation; `curl` is its example, without the key."""
    problems = {str(status): _problem(_REASONS[status]) for status in sorted(set(errors))}
    return {
        "tags": [tag],
        "summary": summary,
        "responses": {"200": answer, **problems},
        "x-codeSamples": [{"lang": "shell", "source": curl}],
        "x-open": is_open,
        **more,
    }


def _answer(description: str, schema: Schema, media_type: str = "application/json", **more: Any) -> Schema:
    return {"description": description, "content": {media_type: {"schema": schema, **more}}}


def _problem(description: str) -> Schema:
    return _answer(description, ref("Problem"), "application/problem+json")


def _parameter(name: str, where: str, schema: Schema) -> Schema:
    described = {"name": name, "in": where, "description": schema.get("description", ""), "schema": schema}
    return described | ({"required": True} if where == "path" else {})


def paths(settings: Settings, names: Sequence[str], class_names: Sequence[str]) -> dict[str, dict[str, Any]]:
    """Return path -> method -> operation, with ``x-open`` where no key is ever asked.

    Parameters
    ----------
    names
        Of the models that are served.
    class_names
        Of the first of them, for the examples.
    """
    return {
        **_predict_paths(settings, names, class_names),
        **_protocol_paths(),
        **_health_paths(metrics_are_open=settings.is_loopback),
        **_page_paths(),
    }


def _predict_paths(
    settings: Settings, names: Sequence[str], class_names: Sequence[str]
) -> dict[str, dict[str, Any]]:
    chosen = options(names)
    form = {
        "type": "object",
        "properties": {
            "images": array(
                {"type": "string", "contentMediaType": "application/octet-stream"},
                "Image files; the name of the field does not matter.",
                minItems=1,
                maxItems=settings.max_images,
            ),
            **chosen,
        },
        "required": ["images"],
    }
    example = {"images": [{"base64": "/9j/4AAQSkZJRg…"}], "top_k": 3}
    predict = _operation(
        "predict",
        "What do these images show?",
        _answer(
            "The answers, in the order of the images.",
            ref("PredictAnswer"),
            example=answer_example(class_names),
        ),
        "curl --data-binary @image.jpg -H 'Content-Type: image/jpeg' $URL/v1/predict",
        errors=_SCORING,
        description=(
            "The body is one image file, a form with one or many files, or JSON. A bad image alone is "
            "refused; among others it gets an `error` in its place and the others their answers. Options go "
            "into the query, the form or the JSON."
        ),
        parameters=[_parameter(name, "query", schema) for name, schema in chosen.items()],
        requestBody={
            "required": True,
            "content": {
                "image/*": {"schema": {"type": "string", "contentMediaType": "image/*"}},
                "multipart/form-data": {"schema": form},
                "application/json": {"schema": ref("PredictRequest"), "example": example},
            },
        },
    )
    score = _operation(
        "predict",
        "Scores for a list of images in base64",
        _answer("Scores per image, in order.", ref("ScoreAnswer")),
        """printf '[{"image_in_base64": "%s"}]' "$(base64 -w0 image.jpg)" | """
        "curl --data-binary @- -H 'Content-Type: application/json' $URL/score",
        errors=_SCORING,
        description="The request of an older product, kept so that its clients go on working.",
        parameters=[_parameter("model", "query", chosen["model"])],
        requestBody={"required": True, "content": {"application/json": {"schema": ref("ScoreRequest")}}},
    )
    return {"/v1/predict": {"post": predict}, "/score": {"post": score}}


_MODEL_READY = record("Yes.", {"name": text("Of the model."), "ready": {"type": "boolean"}})
_LOADED = record("What serves.", {"name": text("Of the model."), "version": text("Of its file.")})
_INDEX_ENTRY = record(
    "A model.",
    {
        "name": text("Of the model."),
        "version": text("Of its file."),
        "state": text("`READY`."),
        "reason": text("Empty."),
    },
)


def _protocol_paths() -> dict[str, dict[str, Any]]:
    tag = "inference protocol"
    model = _parameter("model", "path", text("Name of a model.", minLength=1))
    version = _parameter("version", "path", text("Version of the model.", minLength=1))
    paths: dict[str, dict[str, Any]] = {
        "/v2": {
            "get": _operation(
                tag,
                "What answers here?",
                _answer("Metadata.", ref("ServerMetadata")),
                "curl $URL/v2",
                errors=_ANY_REQUEST,
            )
        },
        "/v2/repository/index": {
            "post": _operation(
                tag,
                "Which models are there?",
                _answer("The models.", array(_INDEX_ENTRY)),
                "curl -X POST $URL/v2/repository/index",
                errors=_ANY_REQUEST,
            )
        },
        "/v2/repository/models/{model}/load": {
            "post": _operation(
                tag,
                "Read a model's file again",
                _answer("What now serves.", _LOADED),
                "curl -X POST $URL/v2/repository/models/$MODEL/load",
                errors=(*_ANY_REQUEST, 404, 503),
                parameters=[model],
            )
        },
    }
    for base, parameters in (
        ("/v2/models/{model}", [model]),
        ("/v2/models/{model}/versions/{version}", [model, version]),
    ):
        url = "$URL" + base.replace("{model}", "$MODEL").replace("{version}", "$VERSION")
        paths |= _model_paths(tag, base, url, parameters)
    return paths


def _model_paths(tag: str, base: str, url: str, parameters: list[Schema]) -> dict[str, dict[str, Any]]:
    known = (*_ANY_REQUEST, 404)
    infer = """'{"inputs": [{"name": "image", "datatype": "BYTES", "shape": [1], "data": ["%s"]}]}'"""
    return {
        base: {
            "get": _operation(
                tag,
                "What does the model take and give?",
                _answer("Metadata.", ref("ModelMetadata")),
                f"curl {url}",
                errors=known,
                parameters=parameters,
            )
        },
        f"{base}/ready": {
            "get": _operation(
                tag,
                "Is the model ready?",
                _answer("It is.", _MODEL_READY),
                f"curl {url}/ready",
                errors=(*known, 503),
                parameters=parameters,
            )
        },
        f"{base}/infer": {
            "post": _operation(
                tag,
                "Run the model on tensors",
                {
                    "description": "Tensors out, in JSON or binary as asked.",
                    "content": {
                        "application/json": {"schema": ref("InferAnswer")},
                        "application/octet-stream": _BINARY,
                    },
                },
                f"""printf {infer} "$(base64 -w0 image.jpg)" | curl --data-binary @- {url}/infer""",
                errors=_SCORING,
                description="With the header `Inference-Header-Content-Length`, tensors follow the JSON.",
                parameters=parameters,
                requestBody={
                    "required": True,
                    "content": {
                        "application/json": {"schema": ref("InferRequest")},
                        "application/octet-stream": _BINARY,
                    },
                },
            )
        },
    }


def _health_paths(metrics_are_open: bool) -> dict[str, dict[str, Any]]:
    def probe(tag: str, summary: str, path: str, schema: Schema) -> dict[str, Any]:
        operation = _operation(tag, summary, _answer("Yes.", schema), f"curl $URL{path}", is_open=True)
        if path.endswith("ready") or path == "/readyz":
            operation["responses"]["503"] = _answer("Not yet, or not any more.", schema)
        return {"get": operation}

    protocol, health = "inference protocol", "health"
    status = record("What it does.", {"status": text("In a word.")}, required=("status",))
    flag = {"type": "boolean", "description": "Whether it is."}
    live, ready = (record("Yes or no.", {name: flag}, required=(name,)) for name in ("live", "ready"))
    figures = _operation(
        health,
        "Figures for Prometheus",
        _answer("Prometheus' text format.", {"type": "string"}, "text/plain"),
        "curl $URL/metrics",
        errors=_ANY_REQUEST,
        is_open=metrics_are_open,
    )
    return {
        "/v2/health/live": probe(protocol, "Does the process live?", "/v2/health/live", live),
        "/v2/health/ready": probe(protocol, "Are all models ready?", "/v2/health/ready", ready),
        "/healthz": probe(health, "Does the process live?", "/healthz", status),
        "/readyz": probe(health, "Will it answer requests?", "/readyz", status),
        "/metrics": {"get": figures},
    }


def _page_paths() -> dict[str, dict[str, Any]]:
    def page(summary: str, path: str, media_type: str, schema: Schema, **more: Any) -> dict[str, Any]:
        answer = _answer("The page.", schema, media_type)
        return {"get": _operation("pages", summary, answer, f"curl $URL{path}", is_open=True, **more)}

    string = {"type": "string"}
    name = _parameter("path", "path", text("`try.js`, `docs.js`, `dom.js` or `service.css`.", minLength=1))
    files = {
        "description": "The file.",
        "content": {"text/javascript": {"schema": string}, "text/css": {"schema": string}},
    }
    static = _operation(
        "pages",
        "What the pages are made of",
        files,
        "curl $URL/static/service.css",
        errors=(404,),
        is_open=True,
        parameters=[name],
    )
    return {
        "/": page("Try the model on an image", "/", "text/html", string),
        "/docs": page("This document for people", "/docs", "text/html", string),
        "/openapi.json": page("This document", "/openapi.json", "application/json", {"type": "object"}),
        "/static/{path}": {"get": static},
    }
