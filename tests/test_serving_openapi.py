"""The OpenAPI document: valid, complete, true; and what a fuzzer that reads it can do to the service."""

import base64
import json
import os
import subprocess
import urllib.error
import urllib.request

import jsonschema
import pytest
import schemathesis
from hypothesis import HealthCheck, given
from hypothesis import settings as fuzzing
from hypothesis import strategies as st
from schemathesis import GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)
from starlette.routing import Mount

from pictures import encode, solid
from servers import running
from tellapart.serving.app import create_app
from tellapart.serving.keys import Keys
from tellapart.serving.settings import Settings

CHECKS = (not_a_server_error, status_code_conformance, content_type_conformance, response_schema_conformance)


@pytest.fixture(scope="module")
def url(trained):
    with running(create_app(Settings(models={"photos": trained.folder}))) as url:
        yield url


@pytest.fixture(scope="module")
def locked(trained, tmp_path_factory):
    """A service with a key: its URL and the key."""
    keys_file = tmp_path_factory.mktemp("keys") / "keys.json"
    _, key = Keys.open(keys_file).create()
    with running(create_app(Settings(models={"photos": trained.folder}, keys_file=keys_file))) as url:
        yield url, key


def document_of(url: str) -> dict:
    with urllib.request.urlopen(f"{url}/openapi.json") as response:
        return json.load(response)


def operations_of(document: dict) -> dict[tuple[str, str], dict]:
    return {
        (method.upper(), path): operation
        for path, item in document["paths"].items()
        for method, operation in item.items()
    }


def status_of(request: urllib.request.Request) -> int:
    try:
        with urllib.request.urlopen(request) as response:
            return response.status
    except urllib.error.HTTPError as error:
        return error.code


# ---- the document --------------------------------------------------------------------------------------


def test_the_document_is_valid_openapi(url, locked):
    for document in (document_of(url), document_of(locked[0])):
        schemathesis.openapi.from_dict(document).validate()
        for schema in document["components"]["schemas"].values():
            jsonschema.Draft202012Validator.check_schema(schema)


def test_every_reference_leads_somewhere(url):
    document = document_of(url)

    def references(node):
        if isinstance(node, dict):
            yield from ([node["$ref"]] if "$ref" in node else [])
            node = list(node.values())
        if isinstance(node, list):
            for inner in node:
                yield from references(inner)

    found = set(references(document))
    names = {f"#/components/schemas/{name}" for name in document["components"]["schemas"]}
    assert found
    assert found <= names


def test_every_route_is_in_the_document_and_nothing_else(trained, url):
    app = create_app(Settings(models={"photos": trained.folder}))
    routes = {
        (method, f"{route.path}/{{path}}" if isinstance(route, Mount) else route.path)
        for route in app.routes
        for method in (getattr(route, "methods", None) or {"GET"}) - {"HEAD"}
    }
    assert set(operations_of(document_of(url))) == routes


def test_operations_want_a_key_just_where_the_document_says_so(url, locked):
    for (method, path), operation in operations_of(document_of(locked[0])).items():
        target = path.replace("{model}", "photos").replace("{version}", "1").replace("{path}", "try.js")
        request = urllib.request.Request(locked[0] + target, method=method)
        assert (status_of(request) == 401) == ("security" in operation), path
        assert ("401" in operation["responses"]) == ("security" in operation), path
    assert not any("security" in operation for operation in operations_of(document_of(url)).values())


def test_settings_show_in_the_document(trained, tmp_path):
    models = {"photos": trained.folder, "again": trained.folder}
    settings = Settings(models=models, url_scoring=True, max_images=3, max_body_bytes=2_500_000)
    with running(create_app(settings)) as url:
        document = document_of(url)
    assert "2.5 MB, 3 images" in document["info"]["description"]
    schemas = document["components"]["schemas"]
    assert list(schemas["Image"]["properties"]) == ["base64", "url", "name"]
    assert schemas["PredictRequest"]["properties"]["images"]["maxItems"] == 3
    by_name = {p["name"]: p for p in document["paths"]["/v1/predict"]["post"]["parameters"]}
    assert by_name["model"]["schema"]["enum"] == ["photos", "again"]
    assert [model["name"] for model in document["x-tellapart"]["models"]] == ["photos", "again"]


def test_examples_fit_their_schemas(url):
    document = document_of(url)
    for schema in document["components"]["schemas"].values():
        for example in schema.get("examples", ()):
            jsonschema.validate(example, {**schema, "components": document["components"]})
    answer = document["paths"]["/v1/predict"]["post"]["responses"]["200"]["content"]["application/json"]
    jsonschema.validate(answer["example"], {**answer["schema"], "components": document["components"]})
    labels = answer["example"]["predictions"][0]["probabilities"]
    assert list(labels) == ["benign", "malignant"]


def test_every_curl_line_works_as_it_stands(locked, tmp_path):
    url, key = locked
    (tmp_path / "image.jpg").write_bytes(encode(solid("red"), "JPEG"))
    document = document_of(url)
    version = document["x-tellapart"]["models"][0]["version"]
    known = {"URL": url, "KEY": key, "MODEL": "photos", "VERSION": version}
    for (method, path), operation in operations_of(document).items():
        line = operation["x-codeSamples"][0]["source"].replace("curl ", "curl --fail --silent --show-error ")
        done = subprocess.run(
            ["bash", "-c", line], env=os.environ | known, cwd=tmp_path, capture_output=True, timeout=60
        )
        assert done.returncode == 0, (method, path, line, done.stderr)
        assert done.stdout, (method, path)


def test_scores_cannot_be_left_out(url):
    body = json.dumps([{"image_in_base64": base64.b64encode(encode(solid("red"), "PNG")).decode()}])
    request = urllib.request.Request(f"{url}/score?probabilities=false", body.encode())
    with urllib.request.urlopen(request) as response:
        assert set(json.load(response)[0]["scores"]) == {"benign", "malignant"}


# ---- the fuzzer ----------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize("mode", list(GenerationMode))
def test_no_fuzzed_request_gets_a_5xx_or_an_undocumented_answer(url, mode):
    """Bodies and parameters that fit the document, and such that do not; a few hundred of each."""
    n_asked = 0
    for found in schemathesis.openapi.from_url(f"{url}/openapi.json").get_all_operations():
        operation = found.ok()
        has_body = "requestBody" in operation.definition.raw
        if mode is GenerationMode.NEGATIVE and not has_body:
            continue  # where nothing is asked for, nothing wrong can be sent

        @given(case=operation.as_strategy(generation_mode=mode))
        @fuzzing(
            max_examples=60 if has_body else 10,
            deadline=None,
            suppress_health_check=list(HealthCheck),
            derandomize=True,
        )
        def ask(case):
            nonlocal n_asked
            n_asked += 1
            response = case.call_and_validate(checks=CHECKS)
            assert b"Traceback" not in response.content

        ask()
    assert n_asked >= 200


HALVES = st.text(st.characters(categories=["Cs"]) | st.characters(), min_size=1, max_size=8)
"""Text as JSON can write it: half surrogate pairs, as in "\\ud800", included, which UTF-8 cannot write."""


@pytest.mark.slow
@fuzzing(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True)
@given(text=HALVES)
def test_no_text_that_might_be_repeated_gets_a_5xx(url, text):
    good = base64.b64encode(encode(solid("red"), "PNG")).decode()
    tensor = {"name": "image", "datatype": "BYTES", "shape": [1], "data": [good]}
    bodies = {
        "/v1/predict": [
            {"images": [{"base64": good, "name": text}, {"base64": text, "name": text}]},
            {"images": [{"url": text}, {text: text}]},
            {"images": [{"base64": good}], text: text},
            {"images": [{"base64": good}], "model": text},
        ],
        "/score": [[{"image_in_base64": good, "parameters": {text: text}}, {"image_in_base64": text}, text]],
        "/v2/models/photos/infer": [
            {"id": text, "parameters": {text: text}, "inputs": [{**tensor, "parameters": {text: text}}]},
            {"inputs": [{**tensor, "name": text}]},
            {"inputs": [{**tensor, "datatype": text}]},
            {"inputs": [{**tensor, "data": [text]}]},
            {"inputs": [tensor], "outputs": [{"name": text}]},
        ],
    }
    for path, those in bodies.items():
        for body in those:
            request = urllib.request.Request(
                url + path, json.dumps(body).encode(), headers={"Content-Type": "application/json"}
            )
            assert status_of(request) < 500, (path, body)
