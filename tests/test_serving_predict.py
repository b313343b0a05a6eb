"""POST /v1/predict in its three forms, with every option."""

import base64
import socket
import time
from threading import Thread

import httpx2
import pytest

from predictions import post
from servers import running
from tellapart.serving.app import create_app
from tellapart.serving.settings import Settings


@pytest.fixture(scope="module")
def pictures(photos) -> list[bytes]:
    return [(photos / label / "001.png").read_bytes() for label in ("benign", "malignant")]


def b64(content: bytes) -> str:
    return base64.b64encode(content).decode()


def test_one_image_as_the_body(predict_url, predict_model, pictures):
    for picture in pictures:
        expected = predict_model.answer(picture)
        answer = post(predict_url, content=picture).json()

        assert answer["model"] == "lesions"
        assert answer["version"] == predict_model.bundle.model_sha256[:12]
        [result] = answer["predictions"]
        assert result["label"] == expected.label
        assert result["probability"] == pytest.approx(expected.probability, abs=1e-6)
        assert list(result["probabilities"]) == ["benign", "malignant"]
        assert list(result["probabilities"].values()) == pytest.approx(expected.y_prob.tolist(), abs=1e-6)
        assert result["abstained"] is False
        assert result["index"] == 0


@pytest.mark.parametrize(
    "kind", ["image/png", "image/anything", "application/octet-stream", "application/x-www-form-urlencoded"]
)
def test_types_that_clients_give_to_raw_images(predict_url, pictures, kind):
    assert post(predict_url, content=pictures[0], headers={"Content-Type": kind}).status_code == 200


@pytest.mark.parametrize("kind", ["text/html", "text/plain", "application/pdf", "video/mp4", "x" * 500])
def test_other_types_are_refused(predict_url, pictures, kind):
    """Attack 26."""
    assert post(predict_url, content=pictures[0], headers={"Content-Type": kind}).status_code == 415


def test_files_are_answered_in_order_with_their_names(predict_url, pictures):
    files = [("image", ("b.png", pictures[1])), ("image", ("a.png", pictures[0])), ("x", ("bad.png", b"no"))]
    answer = post(predict_url, files=files, data={"top_k": "1", "probabilities": "false"})

    results = answer.json()["predictions"]
    assert answer.status_code == 200
    assert [result["name"] for result in results] == ["b.png", "a.png", "bad.png"]
    assert [result["index"] for result in results] == [0, 1, 2]
    assert [result.get("label") for result in results] == ["malignant", "benign", None]
    assert "probabilities" not in results[0]
    assert results[2]["status"] == 400
    assert "not an image" in results[2]["error"]


def test_a_list_in_json_with_per_image_errors(predict_url, pictures):
    images = [
        {"base64": b64(pictures[1]), "name": "first"},
        {"base64": "!"},
        {"base64": "data:image/png;base64," + b64(pictures[0])},
        {"base64": b64(pictures[0][:100])},
        {"url": "http://127.0.0.1/a.png"},
        {},
        None,
        {"base64": 3},
    ]
    answer = post(predict_url, json={"images": images, "top_k": 2, "threshold": 0.9})

    results = answer.json()["predictions"]
    assert answer.status_code == 200
    assert [result.get("status") for result in results] == [None, 400, None, 400, 403, 400, 400, 400]
    assert results[0]["name"] == "first"
    assert [entry["label"] for entry in results[0]["top"]] == ["malignant", "benign"]
    assert "--allow-urls" in results[4]["error"]


@pytest.mark.parametrize(
    "body",
    [
        '{"images": [{"base64": "B64", "name": "a\\ud800b"}, {"base64": "!", "name": "\\udfff"}]}',
        '{"images": [{"base64": "B64"}], "\\ud800": 1}',
        '{"images": [{"base64": "B64"}], "model": "\\ud800"}',
        '{"images": [{"url": "http://\\ud800/"}]}',
    ],
)
def test_text_that_no_answer_could_repeat_is_no_error(predict_url, pictures, body):
    answer = post(
        predict_url,
        content=body.replace("B64", b64(pictures[0])).encode(),
        headers={"Content-Type": "application/json"},
    )
    assert answer.status_code in (200, 400, 404)
    assert answer.status_code > 200 or answer.json()["predictions"][0].get("name", "a?b") == "a?b"


@pytest.mark.parametrize(
    "charset", ["utf-8", "unicode_escape", "utf-16", "utf-7", "idna", "undefined", "rot13"]
)
def test_file_names_in_any_charset_are_no_error(predict_url, pictures, charset):
    head = b'--x\r\nContent-Disposition: form-data; name="a"; filename="\\ud800\xff.png"\r\n\r\n'
    kind = f"multipart/form-data; boundary=x; charset={charset}"
    answer = post(predict_url, content=head + pictures[0] + b"\r\n--x--", headers={"Content-Type": kind})
    assert answer.status_code in (200, 400)


def test_one_bad_image_alone_is_a_problem(predict_url):
    for request in ({"content": b"no image"}, {"files": {"a": b"no image"}}):
        answer = post(predict_url, **request)
        assert answer.status_code == 400
        assert answer.headers["content-type"] == "application/problem+json"
        assert "not an image" in answer.json()["detail"]


def test_options_in_the_address(predict_url, pictures):
    [result] = post(
        predict_url, "?top_k=1&threshold=1&probabilities=0&model=second", content=pictures[0]
    ).json()["predictions"]
    assert result["abstained"] is True
    assert len(result["top"]) == 1
    assert "probabilities" not in result


@pytest.mark.parametrize(
    "options",
    ["top_k=0", "top_k=-1", "top_k=x", "top_k=" + "9" * 5000, "threshold=2", "threshold=nan", "threshold=inf",
     "threshold=", "probabilities=maybe", "topk=1", "model="],
)  # fmt: skip
def test_options_that_cannot_be_are_refused(predict_url, pictures, options):
    assert post(predict_url, f"?{options}", content=pictures[0]).status_code == (
        404 if options == "model=" else 400
    )


@pytest.mark.parametrize(
    "options",
    [{"top_k": True}, {"top_k": 1.5}, {"top_k": "x"}, {"threshold": [1]}, {"threshold": True}, {"model": 3},
     {"probabilities": 1}, {"probabilities": {}}, {"unknown": 1}],
)  # fmt: skip
def test_so_they_are_in_json(predict_url, pictures, options):
    answer = post(predict_url, json={"images": [{"base64": b64(pictures[0])}], **options})
    assert answer.status_code == 400


def test_an_unknown_model_is_told_with_those_there_are(predict_url, pictures):
    answer = post(predict_url, "?model=../../etc", content=pictures[0])
    assert answer.status_code == 404
    assert "lesions, second" in answer.json()["detail"]


def test_two_classes_are_decided_by_the_bundles_threshold(predict_url, predict_model, pictures):
    """The label may be the less probable class, where the model was told to rather err on that side."""
    threshold = predict_model.card.threshold
    for picture in pictures:
        [result] = post(predict_url, content=picture).json()["predictions"]
        is_positive = result["probabilities"][threshold.positive] >= threshold.value
        assert (result["label"] == threshold.positive) == is_positive


async def _picture_app(scope, receive, send):
    """A web server that has one picture."""
    body = _picture_app.picture
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"image/png")]})
    await send({"type": "http.response.body", "body": body})


def test_images_by_url_where_the_operator_allows_them(trained, pictures):
    _picture_app.picture = pictures[1]
    with running(_picture_app, lifespan="off") as elsewhere:
        port = int(elsewhere.rsplit(":", 1)[1])
        allowed = Settings(
            {"m": trained.folder},
            url_scoring=True,
            url_allow_private=True,
            url_ports=(port,),
            url_timeout_s=3,
        )
        with running(create_app(allowed)) as url:
            results = post(
                url, json={"images": [{"url": f"{elsewhere}/a.png"}, {"url": "http://127.0.0.1:1/a.png"}]}
            ).json()["predictions"]
    assert results[0]["label"] == "malignant"
    assert results[1]["status"] == 400


def test_images_by_url_may_together_be_as_large_as_a_body(trained, pictures):
    _picture_app.picture = pictures[1]
    with running(_picture_app, lifespan="off") as elsewhere:
        allowed = Settings(
            {"m": trained.folder},
            url_scoring=True,
            url_allow_private=True,
            url_ports=(int(elsewhere.rsplit(":", 1)[1]),),
            max_body_bytes=2 * len(pictures[1]),
        )
        with running(create_app(allowed)) as url:
            results = post(url, json={"images": 3 * [{"url": f"{elsewhere}/a.png"}]}).json()["predictions"]
    assert sorted("label" in result for result in results) == [False, True, True]
    [refused] = [result for result in results if "error" in result]
    assert (refused["status"], "together" in refused["error"]) == (400, True)


def silent_server() -> socket.socket:
    """A server that lets everybody in and never says a word."""
    server = socket.create_server(("127.0.0.1", 0))
    server.listen(200)
    return server


def test_addresses_that_never_answer_harm_no_other_image(trained, pictures):
    """Attack 43, 31 times in one request: the images beside them are answered, well within its time."""
    _picture_app.picture = pictures[1]
    with running(_picture_app, lifespan="off") as elsewhere, silent_server() as silent:
        port = silent.getsockname()[1]
        settings = Settings(
            {"m": trained.folder},
            url_scoring=True,
            url_allow_private=True,
            url_ports=(port, int(elsewhere.rsplit(":", 1)[1])),
            url_timeout_s=1.5,
            request_timeout_s=4,
        )
        hanging = [{"url": f"http://127.0.0.1:{port}/{n}.png"} for n in range(30)]
        images = [{"base64": b64(pictures[0])}, *hanging, {"url": f"{elsewhere}/a.png"}]
        with running(create_app(settings)) as url:
            started = time.monotonic()
            answer = post(url, json={"images": images})
            took_s = time.monotonic() - started

    results = answer.json()["predictions"]
    assert (results[0]["label"], results[-1]["label"]) == ("benign", "malignant")
    assert {result["status"] for result in results[1:-1]} == {504}
    assert took_s < 3


def test_forbidden_addresses_closed_ports_and_unknown_names_answer_alike(trained):
    """Attack 46: nobody scans a network through the service."""
    settings = Settings({"m": trained.folder}, url_scoring=True, url_timeout_s=3)
    addresses = [
        "http://127.0.0.1/",
        "http://169.254.169.254/latest",
        "http://nothing.invalid/",
        "file:///etc/passwd",
    ]
    with running(create_app(settings)) as url:
        results = post(url, json={"images": [{"url": address} for address in addresses]}).json()[
            "predictions"
        ]
    assert len({(result["error"], result["status"]) for result in results}) == 1


def test_many_clients_at_once_each_get_their_own_answer(predict_url, predict_model, pictures):
    expected = [predict_model.answer(picture).label for picture in pictures]
    wrong = []

    def ask(which: int) -> None:
        with httpx2.Client() as client:
            for _ in range(20):
                [result] = client.post(f"{predict_url}/v1/predict", content=pictures[which]).json()[
                    "predictions"
                ]
                if result["label"] != expected[which]:
                    wrong.append(result)

    clients = [Thread(target=ask, args=(number % 2,)) for number in range(8)]
    for client in clients:
        client.start()
    for client in clients:
        client.join()
    assert not wrong
