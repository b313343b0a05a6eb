"""The OpenAPI document of the service, made from its settings and the models it serves."""

from collections.abc import Mapping
from typing import Any

import tellapart
from tellapart.serving.models import Models, ServedModel
from tellapart.serving.operations import paths
from tellapart.serving.schemas import schemas
from tellapart.serving.settings import Settings

TAGS = {
    "predict": "Ask what images show.",
    "inference protocol": "The Open Inference Protocol, version 2: for its clients, such as `tritonclient`.",
    "health": "For load balancers and monitoring.",
    "pages": "For people.",
}

_AUTH = "-H 'Authorization: Bearer '$KEY "

_SECURITY = {
    "key": {
        "type": "http",
        "scheme": "bearer",
        "description": "A key of this service, shown once when it was made.",
    }
}


def document(settings: Settings, models: Models) -> dict[str, Any]:
    """Return the OpenAPI 3.1 document of this service.

    The member ``x-tellapart`` says what the page at ``/`` needs: models, limits, and whether a key is asked.
    """
    served = [models.get(name) for name in models.names()]
    class_names = served[0].class_names if served else ()
    operations = paths(settings, models.names(), class_names)
    has_keys = settings.keys_file is not None
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "tellapart: " + ", ".join(models.names()),
            "version": tellapart.__version__,
            "description": _about(settings),
        },
        "tags": [{"name": name, "description": says} for name, says in TAGS.items()],
        "paths": {path: _with_keys(item, has_keys) for path, item in operations.items()},
        "components": {
            "schemas": schemas(class_names, max_images=settings.max_images, url_scoring=settings.url_scoring),
            **({"securitySchemes": _SECURITY} if has_keys else {}),
        },
        "x-tellapart": {
            "models": [_model(model) for model in served],
            "key_required": has_keys,
            "max_body_bytes": settings.max_body_bytes,
            "max_pixels": settings.max_pixels,
            "max_images": settings.max_images,
        },
    }


def _model(model: ServedModel) -> dict[str, Any]:
    card = model.card
    return {
        "name": model.name,
        "version": model.version,
        "class_names": list(model.class_names),
        "threshold": card.threshold
        and {
            "value": card.threshold.value,
            "positive": card.threshold.positive,
            "band": card.threshold.band,
        },
        "backbone": card.backbone.get("name", ""),
        "precision": card.precision,
        "size_px": model.size,
    }


def _about(settings: Settings) -> str:
    key = (
        "Every route that answers about images wants a key, sent as `Authorization: Bearer KEY`."
        if settings.keys_file is not None
        else "No key is needed."
    )
    return (
        f"{key} Errors are problem details (RFC 9457). Limits of one request: "
        f"{settings.max_body_bytes / 1e6:g} MB, {settings.max_images} images, "
        f"{settings.max_pixels / 1e6:g} megapixels an image, {settings.request_timeout_s:g} s."
    )


def _with_keys(item: Mapping[str, Any], has_keys: bool) -> dict[str, Any]:
    """Say which operations need a key, and leave the refusal out of those that do not."""
    operations = {}
    for method, operation in item.items():
        is_open = operation["x-open"]
        kept = {name: value for name, value in operation.items() if name != "x-open"}
        curl = kept["x-codeSamples"][0]["source"]
        if is_open or not has_keys:
            kept["responses"] = {s: r for s, r in kept["responses"].items() if s != "401"}
        else:
            kept["security"] = [{"key": []}]
            curl = curl.replace("curl ", "curl " + _AUTH, 1)
        operations[method] = kept | {"x-codeSamples": [{"lang": "shell", "source": curl}]}
    return operations
