"""The Open Inference Protocol, asked by NVIDIA's own client over real connections."""

import asyncio
import base64
import shutil

import numpy as np
import pytest
import tritonclient.http as triton
import tritonclient.http.aio as triton_aio
from tritonclient.utils import InferenceServerException

from graphs import write_version
from protocol import MODEL, an_image, image_tensor, post, tensor
from servers import running
from tellapart.records import decide
from tellapart.serving.app import create_app
from tellapart.serving.keys import Keys
from tellapart.serving.settings import Settings


@pytest.fixture(scope="module")
def expected(protocol_model, protocol_paths) -> np.ndarray:
    return protocol_model.predict(protocol_paths).y_prob


@pytest.fixture(scope="module")
def labels(protocol_model, expected) -> list[bytes]:
    chosen = decide(expected, protocol_model.class_names, protocol_model.card.threshold)
    return [protocol_model.class_names[index].encode() for index in chosen]


def same(result, expected: np.ndarray) -> bool:
    found = result.as_numpy("probabilities")
    return found.shape == expected.shape and np.abs(found - expected).max() < 1e-6


def test_the_server_the_model_and_its_versions_are_described(triton_client, protocol_model):
    assert triton_client.is_server_live()
    assert triton_client.is_server_ready()
    about = triton_client.get_server_metadata()
    assert about["name"] == "tellapart"
    assert about["extensions"] == ["binary_tensor_data", "classification", "model_repository"]
    model = triton_client.get_model_metadata(MODEL)
    [version] = model["versions"]
    assert protocol_model.bundle.model_sha256.startswith(version)
    assert triton_client.get_model_metadata(MODEL, version) == model
    assert model["inputs"] == [
        {"name": "image", "datatype": "BYTES", "shape": [-1]},
        {"name": "pixels", "datatype": "UINT8", "shape": [-1, 64, 64, 3]},
    ]
    assert model["outputs"] == [
        {"name": "probabilities", "datatype": "FP32", "shape": [-1, 2]},
        {"name": "label", "datatype": "BYTES", "shape": [-1]},
    ]
    assert triton_client.is_model_ready(MODEL)
    assert triton_client.is_model_ready(MODEL, version)
    index = [{"name": MODEL, "version": version, "state": "READY", "reason": ""}]
    assert triton_client.get_model_repository_index() == index


def test_a_draining_service_is_live_but_not_ready(trained):
    app = create_app(Settings(models={MODEL: trained.folder}))
    with running(app) as url, triton.InferenceServerClient(url.removeprefix("http://")) as client:
        app.state.service.draining = True
        assert client.is_server_live()
        assert not client.is_server_ready()
        assert not client.is_model_ready(MODEL)


def test_51_an_unknown_model_or_version_is_404_in_words(triton_client, encoded_images):
    asked = [image_tensor(encoded_images)]
    for call in (
        lambda: triton_client.infer("lesions", asked),
        lambda: triton_client.infer(MODEL, asked, model_version="1"),
        lambda: triton_client.get_model_metadata("lesions"),
        lambda: triton_client.get_model_metadata(MODEL, "1"),
        lambda: triton_client.load_model("lesions"),
    ):
        with pytest.raises(InferenceServerException, match=r"no model 'lesions'|no version '1'") as caught:
            call()
        assert caught.value.status() == "404"
    assert not triton_client.is_model_ready("lesions")
    assert not triton_client.is_model_ready(MODEL, "1")


@pytest.mark.parametrize("shape", [(-1,), (-1, 1)])
def test_encoded_images_answer_as_the_classifier_does(triton_client, encoded_images, expected, labels, shape):
    images = np.array(encoded_images, object).reshape(shape)
    result = triton_client.infer(MODEL, [tensor("image", "BYTES", images)], request_id="order-7")
    assert same(result, expected)
    assert result.as_numpy("label").tolist() == labels
    answer = result.get_response()
    assert (answer["id"], answer["model_name"]) == ("order-7", MODEL)
    assert triton_client.is_model_ready(MODEL, answer["model_version"])


def test_raw_pixels_answer_as_the_classifier_does(triton_client, raw_pixels, expected, labels):
    result = triton_client.infer(MODEL, [tensor("pixels", "UINT8", raw_pixels)])
    assert same(result, expected)
    assert result.as_numpy("label").tolist() == labels


def test_a_version_that_serves_can_be_asked_by_name(triton_client, encoded_images, expected):
    [version] = triton_client.get_model_metadata(MODEL)["versions"]
    assert same(triton_client.infer(MODEL, [image_tensor(encoded_images)], model_version=version), expected)


@pytest.mark.parametrize("algorithm", ["gzip", "deflate"])
def test_compressed_requests_are_understood(triton_client, encoded_images, expected, algorithm):
    result = triton_client.infer(
        MODEL,
        [image_tensor(encoded_images)],
        request_compression_algorithm=algorithm,
        response_compression_algorithm=algorithm,
    )
    assert same(result, expected)


def test_many_requests_at_once_each_get_their_own_answer(triton_client, encoded_images, expected):
    asked = [
        triton_client.async_infer(MODEL, [image_tensor([encoded_images[i % 6]])], request_id=str(i))
        for i in range(24)
    ]
    for i, request in enumerate(asked):
        result = request.get_result()
        assert result.get_response()["id"] == str(i)
        assert same(result, expected[[i % 6]])


def test_the_asyncio_client_is_answered(protocol_url, encoded_images, expected):
    async def ask() -> list[triton.InferResult]:
        async with triton_aio.InferenceServerClient(protocol_url.removeprefix("http://")) as client:
            assert await client.is_server_ready()
            inputs = [triton_aio.InferInput("image", [1], "BYTES") for _ in encoded_images]
            for each, file in zip(inputs, encoded_images, strict=True):
                each.set_data_from_numpy(np.array([file], object))
            return await asyncio.gather(*(client.infer(MODEL, [each]) for each in inputs))

    for result, row in zip(asyncio.run(ask()), expected, strict=True):
        assert same(result, row[None])


def test_inputs_and_outputs_in_json_answer_the_same(
    triton_client, encoded_images, raw_pixels, expected, labels
):
    in_json = [triton.InferRequestedOutput(name, binary_data=False) for name in ("probabilities", "label")]
    texts = [base64.b64encode(file) for file in encoded_images]
    for asked in (
        tensor("image", "BYTES", texts, binary=False),
        tensor("pixels", "UINT8", raw_pixels, binary=False),
    ):
        result = triton_client.infer(MODEL, [asked], outputs=in_json)
        assert same(result, expected)
        assert [text.encode() for text in result.as_numpy("label")] == labels


def test_one_output_can_be_json_and_the_other_binary(triton_client, encoded_images, expected, labels):
    outputs = [
        triton.InferRequestedOutput("label", binary_data=False),
        triton.InferRequestedOutput("probabilities", binary_data=True),
    ]
    result = triton_client.infer(MODEL, [image_tensor(encoded_images)], outputs=outputs)
    assert [output["name"] for output in result.get_response()["outputs"]] == ["label", "probabilities"]
    assert same(result, expected)
    assert [text.encode() for text in result.as_numpy("label")] == labels


def test_without_wishes_the_answer_is_json_and_has_an_id(protocol_url, encoded_images, expected, labels):
    """KServe's client demands the id, also where the request had none."""
    answer = post(protocol_url, an_image(encoded_images[0])).json()
    assert answer["id"]
    by_name = {output["name"]: output["data"] for output in answer["outputs"]}
    np.testing.assert_allclose(by_name["probabilities"], expected[0], atol=1e-6)
    assert by_name["label"] == [labels[0].decode()]


def test_base64_text_in_a_binary_tensor_is_understood_where_it_says_so(
    protocol_url, encoded_images, expected
):
    """`mlserver infer -b` sends such."""
    text = base64.b64encode(encoded_images[0])
    data = len(text).to_bytes(4, "little") + text
    parameters = {"content_type": "base64", "binary_data_size": len(data)}
    spec = {"name": "image", "datatype": "BYTES", "shape": [1, 1], "parameters": parameters}
    answer = post(protocol_url, {"inputs": [spec]}, data).json()
    np.testing.assert_allclose(answer["outputs"][0]["data"], expected[0], atol=1e-6)


@pytest.mark.parametrize("binary", [True, False])
@pytest.mark.parametrize(("asked", "listed"), [(1, 1), (2, 2), (1000, 2)])
def test_classification_lists_the_most_probable_classes(
    triton_client, protocol_model, encoded_images, expected, asked, listed, binary
):
    output = triton.InferRequestedOutput("probabilities", binary_data=binary, class_count=asked)
    found = triton_client.infer(MODEL, [image_tensor(encoded_images)], outputs=[output]).as_numpy(
        "probabilities"
    )
    assert found.shape == (6, listed)
    for row, y_prob in zip(found, expected, strict=True):
        best = np.argsort(-y_prob)[:listed]
        for text, index in zip(row, best, strict=True):
            score, place, label = (text.decode() if binary else text).split(":")
            assert float(score) == pytest.approx(y_prob[index], abs=1e-6)
            assert int(place) == index
            assert label == protocol_model.class_names[index]


def test_a_service_with_keys_answers_clients_that_send_one(trained, tmp_path, encoded_images, expected):
    keys = Keys.open(tmp_path / "keys.json")
    _, key = keys.create()
    service = create_app(Settings(models={MODEL: trained.folder}, keys_file=tmp_path / "keys.json"))
    with running(service) as url, triton.InferenceServerClient(url.removeprefix("http://")) as client:
        asked = [image_tensor(encoded_images)]
        assert same(client.infer(MODEL, asked, headers={"Authorization": f"Bearer {key}"}), expected)
        with pytest.raises(InferenceServerException, match="key is needed"):
            client.infer(MODEL, asked)


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
    own_service, encoded_images, expected
):
    folder, client, told = own_service
    [old] = client.get_model_metadata(MODEL)["versions"]
    write_version(folder)
    client.load_model(MODEL)
    [new] = client.get_model_metadata(MODEL)["versions"]
    assert new != old
    assert told == ["reload"]
    assert not client.is_model_ready(MODEL, old)
    result = client.infer(MODEL, [image_tensor(encoded_images)])
    assert result.get_response()["model_version"] == new
    assert same(result, expected)


def test_60_a_damaged_version_is_not_loaded_and_the_old_one_goes_on(own_service, encoded_images, expected):
    folder, client, told = own_service
    damaged = (folder / "model.onnx").read_bytes()[:-100]
    (folder / "model.onnx").write_bytes(damaged)
    with pytest.raises(InferenceServerException, match="goes on serving") as caught:
        client.load_model(MODEL)
    assert str(folder) not in str(caught.value)
    assert told == []
    assert same(client.infer(MODEL, [image_tensor(encoded_images)]), expected)


def test_a_client_cannot_send_a_model_of_its_own(triton_client):
    with pytest.raises(InferenceServerException, match="from its own folder only"):
        triton_client.load_model(MODEL, config="{}", files={"file:1/model.onnx": b"x"})
