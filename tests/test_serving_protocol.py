"""The Open Inference Protocol, asked by NVIDIA's own client over real connections."""

import asyncio
import base64
import json
import shutil
from pathlib import Path

import httpx2
import numpy as np
import pytest
import tritonclient.http as triton
import tritonclient.http.aio as triton_aio
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image
from tritonclient.utils import InferenceServerException

from graphs import write_version
from pictures import encode
from servers import running, send_raw
from tellapart.data.images import load_pixels
from tellapart.inference import Classifier
from tellapart.records import decide
from tellapart.serving.app import create_app
from tellapart.serving.connections import BoundedProtocol
from tellapart.serving.keys import Keys
from tellapart.serving.settings import Settings

MODEL, HEADER = "tissue", "Inference-Header-Content-Length"
INFER = f"/v2/models/{MODEL}/infer"


@pytest.fixture(scope="module")
def url(trained):
    service = create_app(Settings(models={MODEL: trained.folder}, max_images=8))
    with running(service, http=BoundedProtocol) as url:
        yield url


@pytest.fixture
def client(url):
    with triton.InferenceServerClient(url.removeprefix("http://"), concurrency=4) as client:
        yield client


@pytest.fixture(scope="module")
def classifier(trained) -> Classifier:
    return Classifier.load(trained.folder)


@pytest.fixture(scope="module")
def paths(photos) -> list[Path]:
    return [photos / name / f"{number:03d}.png" for name in ("benign", "malignant") for number in range(3)]


@pytest.fixture(scope="module")
def files(paths) -> list[bytes]:
    return [path.read_bytes() for path in paths]


@pytest.fixture(scope="module")
def expected(classifier, paths) -> np.ndarray:
    return classifier.predict(paths).y_prob


@pytest.fixture(scope="module")
def labels(classifier, expected) -> list[bytes]:
    chosen = decide(expected, classifier.class_names, classifier.card.threshold)
    return [classifier.class_names[index].encode() for index in chosen]


@pytest.fixture(scope="module")
def pixels(classifier, files) -> np.ndarray:
    return np.stack([load_pixels(file, classifier.card.preprocessing) for file in files])


def tensor(name: str, datatype: str, values: np.ndarray, *, binary: bool = True) -> triton.InferInput:
    values = np.asarray(values, object if datatype == "BYTES" else None)
    return triton.InferInput(name, list(values.shape), datatype).set_data_from_numpy(values, binary)


def image_tensor(files: list[bytes]) -> triton.InferInput:
    return tensor("image", "BYTES", files)


def same(result, expected: np.ndarray) -> bool:
    found = result.as_numpy("probabilities")
    return found.shape == expected.shape and np.abs(found - expected).max() < 1e-6


def post(url: str, message: object, data: bytes = b"", **headers: str) -> httpx2.Response:
    """Send a request as written; with data behind the JSON unless a header says otherwise."""
    body = message if isinstance(message, bytes) else json.dumps(message).encode()
    lengths = {HEADER: str(len(body))} if data else {}
    return httpx2.post(url + INFER, content=body + data, headers={**lengths, **headers})


def an_image(file: bytes, **members: object) -> dict[str, object]:
    data = [base64.b64encode(file).decode()]
    return {"inputs": [{"name": "image", "datatype": "BYTES", "shape": [1], "data": data, **members}]}


# --- what is there


def test_the_server_the_model_and_its_versions_are_described(client, classifier):
    assert client.is_server_live()
    assert client.is_server_ready()
    about = client.get_server_metadata()
    assert about["name"] == "tellapart"
    assert about["extensions"] == ["binary_tensor_data", "classification", "model_repository"]
    model = client.get_model_metadata(MODEL)
    [version] = model["versions"]
    assert classifier.bundle.model_sha256.startswith(version)
    assert client.get_model_metadata(MODEL, version) == model
    assert model["inputs"] == [
        {"name": "image", "datatype": "BYTES", "shape": [-1]},
        {"name": "pixels", "datatype": "UINT8", "shape": [-1, 64, 64, 3]},
    ]
    assert model["outputs"] == [
        {"name": "probabilities", "datatype": "FP32", "shape": [-1, 2]},
        {"name": "label", "datatype": "BYTES", "shape": [-1]},
    ]
    assert client.is_model_ready(MODEL)
    assert client.is_model_ready(MODEL, version)
    index = [{"name": MODEL, "version": version, "state": "READY", "reason": ""}]
    assert client.get_model_repository_index() == index


def test_a_draining_service_is_live_but_not_ready(trained):
    app = create_app(Settings(models={MODEL: trained.folder}))
    with running(app) as url, triton.InferenceServerClient(url.removeprefix("http://")) as client:
        app.state.service.draining = True
        assert client.is_server_live()
        assert not client.is_server_ready()
        assert not client.is_model_ready(MODEL)


def test_51_an_unknown_model_or_version_is_404_in_words(client, files):
    asked = [image_tensor(files)]
    for call in (
        lambda: client.infer("lesions", asked),
        lambda: client.infer(MODEL, asked, model_version="1"),
        lambda: client.get_model_metadata("lesions"),
        lambda: client.get_model_metadata(MODEL, "1"),
        lambda: client.load_model("lesions"),
    ):
        with pytest.raises(InferenceServerException, match=r"no model 'lesions'|no version '1'") as caught:
            call()
        assert caught.value.status() == "404"
    assert not client.is_model_ready("lesions")
    assert not client.is_model_ready(MODEL, "1")


# --- answers equal to the classifier's


@pytest.mark.parametrize("shape", [(-1,), (-1, 1)])
def test_encoded_images_answer_as_the_classifier_does(client, files, expected, labels, shape):
    images = np.array(files, object).reshape(shape)
    result = client.infer(MODEL, [tensor("image", "BYTES", images)], request_id="order-7")
    assert same(result, expected)
    assert result.as_numpy("label").tolist() == labels
    answer = result.get_response()
    assert (answer["id"], answer["model_name"]) == ("order-7", MODEL)
    assert client.is_model_ready(MODEL, answer["model_version"])


def test_raw_pixels_answer_as_the_classifier_does(client, pixels, expected, labels):
    result = client.infer(MODEL, [tensor("pixels", "UINT8", pixels)])
    assert same(result, expected)
    assert result.as_numpy("label").tolist() == labels


def test_a_version_that_serves_can_be_asked_by_name(client, files, expected):
    [version] = client.get_model_metadata(MODEL)["versions"]
    assert same(client.infer(MODEL, [image_tensor(files)], model_version=version), expected)


@pytest.mark.parametrize("algorithm", ["gzip", "deflate"])
def test_compressed_requests_are_understood(client, files, expected, algorithm):
    result = client.infer(
        MODEL,
        [image_tensor(files)],
        request_compression_algorithm=algorithm,
        response_compression_algorithm=algorithm,
    )
    assert same(result, expected)


def test_many_requests_at_once_each_get_their_own_answer(client, files, expected):
    asked = [client.async_infer(MODEL, [image_tensor([files[i % 6]])], request_id=str(i)) for i in range(24)]
    for i, request in enumerate(asked):
        result = request.get_result()
        assert result.get_response()["id"] == str(i)
        assert same(result, expected[[i % 6]])


def test_the_asyncio_client_is_answered(url, files, expected):
    async def ask() -> list[triton.InferResult]:
        async with triton_aio.InferenceServerClient(url.removeprefix("http://")) as client:
            assert await client.is_server_ready()
            inputs = [triton_aio.InferInput("image", [1], "BYTES") for _ in files]
            for each, file in zip(inputs, files, strict=True):
                each.set_data_from_numpy(np.array([file], object))
            return await asyncio.gather(*(client.infer(MODEL, [each]) for each in inputs))

    for result, row in zip(asyncio.run(ask()), expected, strict=True):
        assert same(result, row[None])


def test_inputs_and_outputs_in_json_answer_the_same(client, files, pixels, expected, labels):
    in_json = [triton.InferRequestedOutput(name, binary_data=False) for name in ("probabilities", "label")]
    texts = [base64.b64encode(file) for file in files]
    for asked in (
        tensor("image", "BYTES", texts, binary=False),
        tensor("pixels", "UINT8", pixels, binary=False),
    ):
        result = client.infer(MODEL, [asked], outputs=in_json)
        assert same(result, expected)
        assert [text.encode() for text in result.as_numpy("label")] == labels


def test_one_output_can_be_json_and_the_other_binary(client, files, expected, labels):
    outputs = [
        triton.InferRequestedOutput("label", binary_data=False),
        triton.InferRequestedOutput("probabilities", binary_data=True),
    ]
    result = client.infer(MODEL, [image_tensor(files)], outputs=outputs)
    assert [output["name"] for output in result.get_response()["outputs"]] == ["label", "probabilities"]
    assert same(result, expected)
    assert [text.encode() for text in result.as_numpy("label")] == labels


def test_without_wishes_the_answer_is_json_and_has_an_id(url, files, expected, labels):
    """KServe's client demands the id, also where the request had none."""
    answer = post(url, an_image(files[0])).json()
    assert answer["id"]
    by_name = {output["name"]: output["data"] for output in answer["outputs"]}
    np.testing.assert_allclose(by_name["probabilities"], expected[0], atol=1e-6)
    assert by_name["label"] == [labels[0].decode()]


def test_base64_text_in_a_binary_tensor_is_understood_where_it_says_so(url, files, expected):
    """`mlserver infer -b` sends such."""
    text = base64.b64encode(files[0])
    data = len(text).to_bytes(4, "little") + text
    parameters = {"content_type": "base64", "binary_data_size": len(data)}
    spec = {"name": "image", "datatype": "BYTES", "shape": [1, 1], "parameters": parameters}
    answer = post(url, {"inputs": [spec]}, data).json()
    np.testing.assert_allclose(answer["outputs"][0]["data"], expected[0], atol=1e-6)


@pytest.mark.parametrize("binary", [True, False])
@pytest.mark.parametrize(("asked", "listed"), [(1, 1), (2, 2), (1000, 2)])
def test_classification_lists_the_most_probable_classes(
    client, classifier, files, expected, asked, listed, binary
):
    output = triton.InferRequestedOutput("probabilities", binary_data=binary, class_count=asked)
    found = client.infer(MODEL, [image_tensor(files)], outputs=[output]).as_numpy("probabilities")
    assert found.shape == (6, listed)
    for row, y_prob in zip(found, expected, strict=True):
        best = np.argsort(-y_prob)[:listed]
        for text, index in zip(row, best, strict=True):
            score, place, label = (text.decode() if binary else text).split(":")
            assert float(score) == pytest.approx(y_prob[index], abs=1e-6)
            assert int(place) == index
            assert label == classifier.class_names[index]


def test_a_service_with_keys_answers_clients_that_send_one(trained, tmp_path, files, expected):
    keys = Keys.open(tmp_path / "keys.json")
    _, key = keys.create()
    service = create_app(Settings(models={MODEL: trained.folder}, keys_file=tmp_path / "keys.json"))
    with running(service) as url, triton.InferenceServerClient(url.removeprefix("http://")) as client:
        asked = [image_tensor(files)]
        assert same(client.infer(MODEL, asked, headers={"Authorization": f"Bearer {key}"}), expected)
        with pytest.raises(InferenceServerException, match="key is needed"):
            client.infer(MODEL, asked)


# --- a new version of a model


@pytest.fixture
def own_service(trained, tmp_path):
    """A service on a copy of the bundle, which a test may change: folder, client, what it told others."""
    folder = tmp_path / "model"
    shutil.copytree(trained.folder / "model", folder)
    app = create_app(Settings(models={MODEL: folder}))
    told: list[str] = []
    with (
        running(app) as url,
        triton.InferenceServerClient(url.removeprefix("http://")) as client,
    ):
        app.state.service.tell_others = lambda: told.append("reload")
        yield folder, client, told


def test_loading_takes_up_what_now_lies_in_the_folder_and_tells_the_other_processes(
    own_service, files, expected
):
    folder, client, told = own_service
    [old] = client.get_model_metadata(MODEL)["versions"]
    write_version(folder)
    client.load_model(MODEL)
    [new] = client.get_model_metadata(MODEL)["versions"]
    assert new != old
    assert told == ["reload"]
    assert not client.is_model_ready(MODEL, old)
    result = client.infer(MODEL, [image_tensor(files)])
    assert result.get_response()["model_version"] == new
    assert same(result, expected)


def test_60_a_damaged_version_is_not_loaded_and_the_old_one_goes_on(own_service, files, expected):
    folder, client, told = own_service
    damaged = (folder / "model.onnx").read_bytes()[:-100]
    (folder / "model.onnx").write_bytes(damaged)
    with pytest.raises(InferenceServerException, match="goes on serving") as caught:
        client.load_model(MODEL)
    assert str(folder) not in str(caught.value)
    assert told == []
    assert same(client.infer(MODEL, [image_tensor(files)]), expected)


def test_a_client_cannot_send_a_model_of_its_own(client):
    with pytest.raises(InferenceServerException, match="from its own folder only"):
        client.load_model(MODEL, config="{}", files={"file:1/model.onnx": b"x"})


# --- what is refused


def refused(response: httpx2.Response, status: int, says: str) -> bool:
    error = response.json()["error"]
    assert says in error
    return response.status_code == status and len(error) < 500


def test_an_image_that_cannot_be_read_refuses_the_request_and_says_which(client, files):
    with pytest.raises(InferenceServerException, match="image 1, counted from 0: damaged") as caught:
        client.infer(MODEL, [image_tensor([files[0], files[1][:200], files[2]])])
    assert caught.value.status() == "400"


def test_23_a_picture_of_too_many_pixels_is_413(client):
    bomb = encode(Image.new("1", (9000, 9000)))
    with pytest.raises(InferenceServerException, match="9000x9000 is more than") as caught:
        client.infer(MODEL, [image_tensor([bomb])])
    assert caught.value.status() == "413"


def test_21_the_number_of_images_is_limited(client, url, files):
    with pytest.raises(InferenceServerException, match="9 images in one request, accepted are 1 to 8"):
        client.infer(MODEL, [image_tensor(files[:1] * 9)])
    assert refused(post(url, an_image(b"", shape=[0], data=[])), 400, "0 images in one request")


def test_12_the_size_of_the_body_is_limited(trained, files):
    service = create_app(Settings(models={MODEL: trained.folder}, max_body_bytes=1000))
    with running(service) as url:
        assert refused(post(url, an_image(files[0])), 413, "larger than 1,000 bytes")


@pytest.mark.parametrize("length", ["-1", "two", "", "1e3", "99999999", "9" * 5000, "+3"])
def test_47_a_header_length_that_lies_is_400(url, files, length):
    assert refused(post(url, an_image(files[0]), **{HEADER: length}), 400, HEADER)


@pytest.mark.parametrize("size", [0, 5, 2**40, -1, "5", None, 4.0])
def test_48_a_data_size_that_lies_is_400(url, size):
    parameters = {"binary_data_size": size}
    spec = {"name": "image", "datatype": "BYTES", "shape": [1], "parameters": parameters}
    assert refused(post(url, {"inputs": [spec]}, b"\0\0\0\0abc"), 400, "")


@pytest.mark.parametrize(
    "shape", [[-1], [2**62], [2**31 - 1, 2**31 - 1], [2**40] * 3, [10**300], "1", None, [1.0]]
)
def test_49_a_shape_that_lies_is_400(url, files, shape):
    assert refused(post(url, an_image(files[0], shape=shape)), 400, "shape")


def test_49_pixels_of_another_shape_are_400(url, pixels):
    for shape in ([6, 64, 64], [64, 64, 3], [6, 64, 64, 4], [6, 224, 224, 3], []):
        spec = {"name": "pixels", "datatype": "UINT8", "shape": shape}
        spec["parameters"] = {"binary_data_size": pixels.nbytes}
        answer = post(url, {"inputs": [spec]}, pixels.tobytes())
        assert refused(answer, 400, "accepted is 'image' (BYTES of shape [n] or [n, 1]) or 'pixels'")


def test_50_an_element_that_claims_four_gigabytes_is_400(url):
    data = b"\xff\xff\xff\xffabc"
    spec = {"name": "image", "datatype": "BYTES", "shape": [1], "parameters": {"binary_data_size": len(data)}}
    assert refused(
        post(url, {"inputs": [spec]}, data), 400, "an element claims 4,294,967,295 bytes, 3 are left"
    )


@pytest.mark.parametrize("value", [np.nan, np.inf, 0.5])
def test_52_pixels_of_another_datatype_are_400(client, pixels, value):
    floats = np.full(pixels.shape, value, np.float32)
    with pytest.raises(InferenceServerException, match="the input is 'pixels' \\(FP32") as caught:
        client.infer(MODEL, [tensor("pixels", "FP32", floats)])
    assert caught.value.status() == "400"


def test_52_numbers_that_are_no_pixels_are_400(url):
    for value in ("NaN", "Infinity", "256", "-1", "1.5", "true", '"1"', "null", "[]"):
        message = {"inputs": [{"name": "pixels", "datatype": "UINT8", "shape": [1, 64, 64, 3]}]}
        message["inputs"][0]["data"] = ["VALUE"] + [0] * (64 * 64 * 3 - 1)
        body = json.dumps(message).replace('"VALUE"', value).encode()
        assert refused(post(url, body), 400, "input 'pixels'")


@pytest.mark.parametrize(
    "framing",
    [b"Content-Length: 6\r\nTransfer-Encoding: chunked", b"Content-Length: 6\r\nContent-Length: 70"],
)
def test_54_a_request_within_another_is_never_answered(url, framing):
    hidden = b"GET /healthz HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"
    head = b"POST " + INFER.encode() + b" HTTP/1.1\r\nHost: 127.0.0.1\r\n" + framing + b"\r\n\r\n"
    received = send_raw(url, head + b"0\r\n\r\n" + hidden, timeout_s=2)
    assert received.startswith(b"HTTP/1.1 400")
    assert received.count(b"HTTP/1.1") == 1


@pytest.mark.parametrize(
    "name", ["..", "../..", "%2e%2e", "..%2f..%2fetc%2fpasswd", "%00", "a%0d%0ab", "%ff", "x" * 8000]
)
def test_55_a_model_name_that_is_a_path_is_404(url, name):
    for suffix in ("", "/ready", "/infer"):
        method = b"POST" if suffix == "/infer" else b"GET"
        target = f"/v2/models/{name}{suffix}".encode()
        head = (
            method
            + b" "
            + target
            + b" HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
        )
        received = send_raw(url, head)
        assert received.startswith(b"HTTP/1.1 404"), received[:100]
        assert b'"error"' in received


@pytest.mark.parametrize(
    ("members", "says"),
    [
        ({"inputs": []}, "0 inputs, accepted is one"),
        ({"inputs": {}}, "'inputs' must be a list"),
        ({"id": 7}, "'id' must be a string"),
        ({"parameters": {"binary_data_output": 1}}, "'binary_data_output' must be true or false"),
        ({"outputs": [{"name": "logits"}]}, "no output 'logits'; there are probabilities, label"),
        ({"outputs": [{"name": ["x" * 5000]}]}, "no output"),
        ({"outputs": [{"name": "label"}] * 2}, "asked for twice"),
        (
            {"outputs": [{"name": "label", "parameters": {"classification": 2}}]},
            "of the output 'probabilities'",
        ),
        ({"outputs": [{"name": "probabilities", "parameters": {"classification": -1}}]}, "from 1"),
        ({"outputs": [{"name": "label", "parameters": {"shared_memory_region": "r"}}]}, "shared memory"),
        ({"outputs": [None]}, "'outputs' must be a list of JSON objects"),
    ],
)
def test_a_request_that_makes_no_sense_is_refused_in_words(url, files, members, says):
    assert refused(post(url, {**an_image(files[0]), **members}), 400, says)


def test_two_inputs_or_one_of_another_name_are_refused(url, files):
    message = an_image(files[0])
    assert refused(post(url, {"inputs": message["inputs"] * 2}), 400, "2 inputs, accepted is one: 'image'")
    assert refused(post(url, an_image(files[0], name="x" * 5000)), 400, "accepted is 'image'")


def test_an_id_that_is_no_unicode_comes_back_readable(url, files):
    message = json.dumps({**an_image(files[0]), "id": "case \ud800"}).encode()
    assert post(url, message).json()["id"] == "case ?"


@pytest.mark.parametrize("body", [b"", b"{", b"[" * 100_000, b"\x80\x81", b"7"])
def test_17_a_body_that_is_no_json_is_400(url, body):
    assert refused(post(url, body), 400, "the request")


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_a_damaged_request_is_answered_or_refused_but_breaks_nothing(url, files, data):
    body, length = triton.InferenceServerClient.generate_request_body([image_tensor(files[:1])])
    at = data.draw(st.integers(0, min(len(body) - 1, 400)))
    damaged = body[:at] + data.draw(st.binary(max_size=3)) + body[at + data.draw(st.integers(0, 3)) :]
    answer = httpx2.post(url + INFER, content=damaged, headers={HEADER: str(length)})
    assert answer.status_code in (200, 400, 413)
    assert answer.status_code == 200 or answer.json()["error"]
