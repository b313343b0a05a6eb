"""Requests of the Open Inference Protocol that are refused, each in words."""

import json

import httpx2
import numpy as np
import pytest
import tritonclient.http as triton
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image
from tritonclient.utils import InferenceServerException

from pictures import encode
from protocol import HEADER, INFER, MODEL, an_image, image_tensor, post, tensor
from servers import running, send_raw
from tellapart.serving.app import create_app
from tellapart.serving.settings import Settings


def refused(response: httpx2.Response, status: int, says: str) -> bool:
    error = response.json()["error"]
    assert says in error
    return response.status_code == status and len(error) < 500


def test_an_image_that_cannot_be_read_refuses_the_request_and_says_which(triton_client, encoded_images):
    with pytest.raises(InferenceServerException, match="image 1, counted from 0: damaged") as caught:
        triton_client.infer(
            MODEL, [image_tensor([encoded_images[0], encoded_images[1][:200], encoded_images[2]])]
        )
    assert caught.value.status() == "400"


def test_23_a_picture_of_too_many_pixels_is_413(triton_client):
    bomb = encode(Image.new("1", (9000, 9000)))
    with pytest.raises(InferenceServerException, match="9000x9000 is more than") as caught:
        triton_client.infer(MODEL, [image_tensor([bomb])])
    assert caught.value.status() == "413"


def test_21_the_number_of_images_is_limited(triton_client, protocol_url, encoded_images):
    with pytest.raises(InferenceServerException, match="9 images in one request, accepted are 1 to 8"):
        triton_client.infer(MODEL, [image_tensor(encoded_images[:1] * 9)])
    assert refused(post(protocol_url, an_image(b"", shape=[0], data=[])), 400, "0 images in one request")


def test_12_the_size_of_the_body_is_limited(trained, encoded_images):
    service = create_app(Settings(models={MODEL: trained.folder}, max_body_bytes=1000))
    with running(service) as url:
        assert refused(post(url, an_image(encoded_images[0])), 413, "larger than 1,000 bytes")


@pytest.mark.parametrize("length", ["-1", "two", "", "1e3", "99999999", "9" * 5000, "+3"])
def test_47_a_header_length_that_lies_is_400(protocol_url, encoded_images, length):
    assert refused(post(protocol_url, an_image(encoded_images[0]), **{HEADER: length}), 400, HEADER)


@pytest.mark.parametrize("size", [0, 5, 2**40, -1, "5", None, 4.0])
def test_48_a_data_size_that_lies_is_400(protocol_url, size):
    parameters = {"binary_data_size": size}
    spec = {"name": "image", "datatype": "BYTES", "shape": [1], "parameters": parameters}
    assert refused(post(protocol_url, {"inputs": [spec]}, b"\0\0\0\0abc"), 400, "")


@pytest.mark.parametrize(
    "shape", [[-1], [2**62], [2**31 - 1, 2**31 - 1], [2**40] * 3, [10**300], "1", None, [1.0]]
)
def test_49_a_shape_that_lies_is_400(protocol_url, encoded_images, shape):
    assert refused(post(protocol_url, an_image(encoded_images[0], shape=shape)), 400, "shape")


def test_49_pixels_of_another_shape_are_400(protocol_url, raw_pixels):
    for shape in ([6, 64, 64], [64, 64, 3], [6, 64, 64, 4], [6, 224, 224, 3], []):
        spec = {"name": "pixels", "datatype": "UINT8", "shape": shape}
        spec["parameters"] = {"binary_data_size": raw_pixels.nbytes}
        answer = post(protocol_url, {"inputs": [spec]}, raw_pixels.tobytes())
        assert refused(answer, 400, "accepted is 'image' (BYTES of shape [n] or [n, 1]) or 'pixels'")


def test_50_an_element_that_claims_four_gigabytes_is_400(protocol_url):
    data = b"\xff\xff\xff\xffabc"
    spec = {"name": "image", "datatype": "BYTES", "shape": [1], "parameters": {"binary_data_size": len(data)}}
    assert refused(
        post(protocol_url, {"inputs": [spec]}, data), 400, "an element claims 4,294,967,295 bytes, 3 are left"
    )


@pytest.mark.parametrize("value", [np.nan, np.inf, 0.5])
def test_52_pixels_of_another_datatype_are_400(triton_client, raw_pixels, value):
    floats = np.full(raw_pixels.shape, value, np.float32)
    with pytest.raises(InferenceServerException, match="the input is 'pixels' \\(FP32") as caught:
        triton_client.infer(MODEL, [tensor("pixels", "FP32", floats)])
    assert caught.value.status() == "400"


def test_52_numbers_that_are_no_pixels_are_400(protocol_url):
    for value in ("NaN", "Infinity", "256", "-1", "1.5", "true", '"1"', "null", "[]"):
        message = {"inputs": [{"name": "pixels", "datatype": "UINT8", "shape": [1, 64, 64, 3]}]}
        message["inputs"][0]["data"] = ["VALUE"] + [0] * (64 * 64 * 3 - 1)
        body = json.dumps(message).replace('"VALUE"', value).encode()
        assert refused(post(protocol_url, body), 400, "input 'pixels'")


@pytest.mark.parametrize(
    "framing",
    [b"Content-Length: 6\r\nTransfer-Encoding: chunked", b"Content-Length: 6\r\nContent-Length: 70"],
)
def test_54_a_request_within_another_is_never_answered(protocol_url, framing):
    hidden = b"GET /healthz HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"
    head = b"POST " + INFER.encode() + b" HTTP/1.1\r\nHost: 127.0.0.1\r\n" + framing + b"\r\n\r\n"
    received = send_raw(protocol_url, head + b"0\r\n\r\n" + hidden, timeout_s=2)
    assert received.startswith(b"HTTP/1.1 400")
    assert received.count(b"HTTP/1.1") == 1


@pytest.mark.parametrize(
    "name", ["..", "../..", "%2e%2e", "..%2f..%2fetc%2fpasswd", "%00", "a%0d%0ab", "%ff", "x" * 8000]
)
def test_55_a_model_name_that_is_a_path_is_404(protocol_url, name):
    for suffix in ("", "/ready", "/infer"):
        method = b"POST" if suffix == "/infer" else b"GET"
        target = f"/v2/models/{name}{suffix}".encode()
        head = (
            method
            + b" "
            + target
            + b" HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
        )
        received = send_raw(protocol_url, head)
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
def test_a_request_that_makes_no_sense_is_refused_in_words(protocol_url, encoded_images, members, says):
    assert refused(post(protocol_url, {**an_image(encoded_images[0]), **members}), 400, says)


def test_two_inputs_or_one_of_another_name_are_refused(protocol_url, encoded_images):
    message = an_image(encoded_images[0])
    assert refused(
        post(protocol_url, {"inputs": message["inputs"] * 2}), 400, "2 inputs, accepted is one: 'image'"
    )
    assert refused(
        post(protocol_url, an_image(encoded_images[0], name="x" * 5000)), 400, "accepted is 'image'"
    )


def test_an_id_that_is_no_unicode_comes_back_readable(protocol_url, encoded_images):
    message = json.dumps({**an_image(encoded_images[0]), "id": "case \ud800"}).encode()
    assert post(protocol_url, message).json()["id"] == "case ?"


@pytest.mark.parametrize("body", [b"", b"{", b"[" * 100_000, b"\x80\x81", b"7"])
def test_17_a_body_that_is_no_json_is_400(protocol_url, body):
    assert refused(post(protocol_url, body), 400, "the request")


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_a_damaged_request_is_answered_or_refused_but_breaks_nothing(protocol_url, encoded_images, data):
    body, length = triton.InferenceServerClient.generate_request_body([image_tensor(encoded_images[:1])])
    at = data.draw(st.integers(0, min(len(body) - 1, 400)))
    damaged = body[:at] + data.draw(st.binary(max_size=3)) + body[at + data.draw(st.integers(0, 3)) :]
    answer = httpx2.post(protocol_url + INFER, content=damaged, headers={HEADER: str(length)})
    assert answer.status_code in (200, 400, 413)
    assert answer.status_code == 200 or answer.json()["error"]
