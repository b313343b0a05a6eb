"""The request of the old product, as its published client sent it."""

import base64

import httpx2
import pytest

from servers import running
from tellapart.inference import Classifier
from tellapart.serving.app import create_app
from tellapart.serving.settings import Settings


@pytest.fixture(scope="module")
def url(trained):
    with running(create_app(Settings({"lesions": trained.folder}))) as url:
        yield url


@pytest.fixture(scope="module")
def picture(photos) -> bytes:
    return (photos / "malignant" / "001.png").read_bytes()


def item(text: str) -> dict:
    return {"image_in_base64": text, "parameters": {"get_all_top_n": 1}}


def test_scores_are_those_of_the_model_in_class_order(url, trained, picture):
    text = base64.b64encode(picture).decode()
    expected = Classifier.load(trained.folder).answer(picture)

    answer = httpx2.post(f"{url}/score", json=[item(text)])

    [result] = answer.json()
    assert answer.status_code == 200
    assert result["label"] == expected.label
    assert list(result["scores"]) == ["benign", "malignant"]
    assert list(result["scores"].values()) == pytest.approx(expected.y_prob.tolist(), abs=1e-6)


def test_the_text_form_of_bytes_is_understood(url, picture):
    """The old client, run on Python 3, sent str(base64.b64encode(image))."""
    plain = base64.b64encode(picture)
    forms = [plain.decode(), str(plain), f'b"{plain.decode()}"', base64.encodebytes(picture).decode()]

    answers = httpx2.post(f"{url}/score", json=[item(form) for form in forms]).json()

    assert len(answers) == 4
    assert all(answer == answers[0] for answer in answers)
    assert "scores" in answers[0]


def test_one_image_need_not_be_in_a_list_nor_have_parameters(url, picture):
    text = base64.b64encode(picture).decode()
    assert len(httpx2.post(f"{url}/score", json={"image_in_base64": text}).json()) == 1


def test_a_bad_image_is_told_in_its_place(url, picture):
    good = item(base64.b64encode(picture).decode())
    bad = [item("b'"), item("b''"), item("###"), item("QUJD"), {"image_in_base64": None}, {}, None, 3]

    answers = httpx2.post(f"{url}/score", json=[good, *bad, good]).json()

    assert ["scores" in answer for answer in answers] == [True, *[False] * len(bad), True]
    assert all(answer["error"] for answer in answers[1:-1])


def test_the_model_can_be_named(url, picture):
    text = base64.b64encode(picture).decode()
    assert httpx2.post(f"{url}/score?model=lesions", json=[item(text)]).status_code == 200
    assert httpx2.post(f"{url}/score?model=other", json=[item(text)]).status_code == 404
