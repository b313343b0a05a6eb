"""The shapes of what the service takes and answers, as JSON Schemas for the OpenAPI document."""

from collections.abc import Mapping, Sequence
from typing import Any

Schema = Mapping[str, Any]


def schemas(class_names: Sequence[str], *, max_images: int, url_scoring: bool) -> dict[str, Schema]:
    """Return name -> schema of every body.

    Parameters
    ----------
    class_names
        Of the model that answers where none is named; they make the examples.
    max_images
        Images that one call may carry.
    url_scoring
        Whether images may be given by their address.
    """
    return {
        **_plain(class_names, max_images=max_images, url_scoring=url_scoring),
        **_score(class_names, max_images=max_images),
        **_protocol(),
        "Problem": record(
            "What went wrong, as RFC 9457 says it.",
            {
                "type": text("`about:blank`: the status says all."),
                "title": text("The status in words."),
                "status": integer("The HTTP status."),
                "detail": text("What we got, what we accept, and what to do next."),
                "error": text("The same as `detail`, where clients of the inference protocol look."),
                "request_id": text("Also in the header `X-Request-ID` and in the log."),
                "index": integer("Only where it is an image that is wrong, and not the request.", minimum=0),
                "max_images": integer("Only where there are more in the request.", minimum=1),
            },
            required=("title", "status", "detail", "error", "request_id"),
        ),
    }


def answer_example(class_names: Sequence[str]) -> dict[str, Any]:
    """Return an answer of `/v1/predict` for a model of these classes."""
    rest = 0.1 / max(1, len(class_names) - 1)
    probabilities = {name: 0.9 if i == 0 else round(rest, 4) for i, name in enumerate(class_names)}
    first = class_names[0] if class_names else "cat"
    prediction = {
        "index": 0,
        "label": first,
        "probability": 0.9,
        "probabilities": probabilities,
        "abstained": False,
    }
    return {"model": "photos", "version": "3f9a1c0b77de", "predictions": [prediction]}


def record(
    description: str, properties: Mapping[str, Schema], *, required: Sequence[str] = (), closed: bool = False
) -> Schema:
    """Return the schema of a JSON object."""
    schema: dict[str, Any] = {"type": "object", "description": description, "properties": dict(properties)}
    if required:
        schema["required"] = list(required)
    if closed:
        schema["additionalProperties"] = False
    return schema


def text(description: str, **more: Any) -> Schema:
    """Return the schema of a string."""
    return {"type": "string", "description": description, **more}


def integer(description: str, **more: Any) -> Schema:
    """Return the schema of a whole number."""
    return {"type": "integer", "description": description, **more}


def probability(description: str) -> Schema:
    """Return the schema of a number in [0, 1]."""
    return {"type": "number", "minimum": 0, "maximum": 1, "description": description}


def array(items: Schema, description: str = "", **more: Any) -> Schema:
    """Return the schema of a list."""
    said = {"description": description} if description else {}
    return {"type": "array", "items": items, **said, **more}


def ref(name: str) -> Schema:
    """Point to one of `schemas`."""
    return {"$ref": f"#/components/schemas/{name}"}


def options(models: Sequence[str] = ()) -> dict[str, Schema]:
    """Return what a caller of `/v1/predict` may choose."""
    named = {"enum": list(models)} if models else {}
    return {
        "model": text("Which model answers; the first one served where not given.", **named),
        "top_k": integer("Also list this many of the most probable classes.", minimum=1),
        "threshold": probability("Abstain where the winning probability is below this."),
        "probabilities": {
            "type": "boolean",
            "default": True,
            "description": "Whether to list the probability of every class.",
        },
    }


def _plain(class_names: Sequence[str], *, max_images: int, url_scoring: bool) -> dict[str, Schema]:
    ways = {"base64": text("The image file's bytes in base64.", contentEncoding="base64", minLength=1)}
    if url_scoring:
        ways["url"] = text("Address of the image, http or https.", pattern="^https?://")
    item = {
        "type": "object",
        "description": f"One image, by its {' or its '.join(f'`{way}`' for way in ways)}.",
        "properties": {**ways, "name": text("Comes back in the answer.")},
        "oneOf": [{"required": [way]} for way in ways],
        "additionalProperties": False,
    }
    example = answer_example(class_names)["predictions"][0]
    shares = {"type": "object", "additionalProperties": probability("Of this class.")}
    top = record(
        "A class and its probability.",
        {"label": text("Name of the class."), "probability": probability("Of this class.")},
        required=("label", "probability"),
    )
    place = {
        "index": integer("Place of the image in the request, from 0.", minimum=0),
        "name": {"type": ["string", "null"], "description": "File name, where the request gave one."},
    }
    return {
        "Image": item,
        "PredictRequest": record(
            "Images in JSON, and what to answer about them.",
            {"images": array(ref("Image"), "In order.", minItems=1, maxItems=max_images), **options()},
            required=("images",),
            closed=True,
        ),
        "Prediction": {
            **record(
                "What the model says about one image.",
                {
                    **place,
                    "label": text("The class that the model decides on."),
                    "probability": probability("Of that class."),
                    "probabilities": {**shares, "description": "Of every class; they add up to 1."},
                    "abstained": {
                        "type": "boolean",
                        "description": "True where the probability is below the threshold asked for, or in "
                        "the band of the model's own threshold in which a person is to decide.",
                    },
                    "top": array(top, "The most probable classes first; only with `top_k`."),
                },
                required=("label", "probability", "abstained"),
            ),
            "examples": [example],
        },
        "ImageError": record(
            "Why one image of several has no answer; the others have theirs.",
            {
                **place,
                "error": text("The reason."),
                "status": integer("The HTTP status that the image alone would have got."),
            },
            required=("error", "status"),
        ),
        "PredictAnswer": record(
            "One entry per image, in the order of the request.",
            {
                "model": text("Name of the model that answered."),
                "version": text("First 12 hex digits of the SHA-256 of its file."),
                "predictions": array({"anyOf": [ref("Prediction"), ref("ImageError")]}, "Or what is wrong."),
            },
            required=("model", "version", "predictions"),
        ),
    }


def _score(class_names: Sequence[str], *, max_images: int) -> dict[str, Schema]:
    item = record(
        "One image.",
        {
            "image_in_base64": text(
                "The file's bytes in base64; `b'…'` around it is taken too.", minLength=1
            ),
            "parameters": {"type": ["object", "null"], "description": "Accepted, and not used."},
        },
        required=("image_in_base64",),
    )
    scores = {"type": "object", "additionalProperties": probability("Of this class.")}
    return {
        "ScoreItem": item,
        "ScoreRequest": {
            "description": "A list of images, or one.",
            "anyOf": [array(ref("ScoreItem"), minItems=1, maxItems=max_images), ref("ScoreItem")],
        },
        "ScoreAnswer": array(
            {
                "anyOf": [
                    record(
                        "What the model says about one image.",
                        {
                            "label": text("The class that the model decides on."),
                            "scores": {**scores, "description": "Class -> probability, in class order."},
                        },
                        required=("label", "scores"),
                    ),
                    record("Why it has no answer.", {"error": text("The reason.")}, required=("error",)),
                ]
            },
            "One entry per image, in order.",
        ),
    }


def _protocol() -> dict[str, Schema]:
    tensor = {
        "name": text("Of the tensor."),
        "shape": array({"type": "integer", "minimum": 0}),
        "datatype": text("`BYTES`, `UINT8`, `FP32` or another of the protocol."),
        "parameters": {"type": "object", "description": "As the protocol's extensions define."},
    }
    input_tensor = {
        **tensor,
        "name": text("`image` (BYTES: encoded files) or `pixels` (UINT8, already resized)."),
        "data": array({}, "Flat or nested; encoded files as base64 text. Absent where it follows in binary."),
    }
    described = record(
        "A tensor that the model takes or gives.",
        {**tensor, "shape": array({"type": "integer", "minimum": -1})},
        required=("name", "datatype", "shape"),
    )
    return {
        "ServerMetadata": record(
            "What answers.",
            {
                "name": text("`tellapart`."),
                "version": text("Of tellapart."),
                "extensions": array(text("Name of an extension.")),
            },
            required=("name", "version", "extensions"),
        ),
        "ModelMetadata": record(
            "What a model takes and gives.",
            {
                "name": text("Of the model."),
                "versions": array(text("Of the model.")),
                "platform": text("What runs it."),
                "inputs": array(ref("TensorMetadata")),
                "outputs": array(ref("TensorMetadata")),
            },
            required=("name", "versions", "platform", "inputs", "outputs"),
        ),
        "TensorMetadata": described,
        "InferRequest": record(
            "Tensors in, as the Open Inference Protocol says.",
            {
                "id": text("Comes back in the answer."),
                "parameters": {"type": "object", "description": "Such as `binary_data_output`."},
                "inputs": array(
                    record("A tensor.", input_tensor, required=("name", "shape", "datatype")), minItems=1
                ),
                "outputs": array(
                    record(
                        "`probabilities` or `label`.",
                        {"name": tensor["name"], "parameters": tensor["parameters"]},
                        required=("name",),
                    ),
                    "What to answer; both where not given.",
                ),
            },
            required=("inputs",),
        ),
        "InferAnswer": record(
            "Tensors out.",
            {
                "id": text("Of the request."),
                "model_name": text("Of the model."),
                "model_version": text("Of the model."),
                "outputs": array(
                    record(
                        "A tensor.",
                        {**tensor, "data": array({}, "Flat, row by row.")},
                        required=("name", "shape", "datatype"),
                    )
                ),
            },
            required=("model_name", "model_version", "outputs"),
        ),
    }
