import base64
import csv
import hashlib
import io
import shutil
import struct
import zlib
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx2
import numpy as np
import pytest
from PIL import Image

from pictures import class_picture, encode, solid
from servers import running
from tellapart.bundle import Bundle
from tellapart.data.dataset import Dataset
from tellapart.errors import ConfigError, ReadOnly, UnreadableImage
from tellapart.serving.app import create_app
from tellapart.serving.settings import Settings
from tellapart.studio import examples
from tellapart.studio.opening import Choices, open_desk
from tellapart.studio.operations import perform


@pytest.fixture
def desk(trained, photos, tmp_path):
    choices = Choices(actor="ada", run=[trained.folder], examples=tmp_path / "examples")
    return open_desk(photos, choices)[0]


def as_base64(content):
    return base64.b64encode(content).decode()


def picture(index=1, **options):
    return encode(class_picture(np.random.default_rng(5), index, (200, 150)), **options)


def tried(desk, *contents):
    images = [{"name": f"{k}.png", "base64": as_base64(content)} for k, content in enumerate(contents)]
    return perform(desk, "try", {"images": images})


def test_answers_are_those_of_a_service_with_the_same_bundle(desk, trained):
    contents = [picture(0), picture(1, format="JPEG"), encode(solid("grey")), b"no image at all"]
    told = tried(desk, *contents)
    with running(create_app(Settings(models={"m": trained.folder}))) as url:
        body = {"images": [{"base64": as_base64(content)} for content in contents]}
        answered = httpx2.post(f"{url}/v1/predict", json=body).json()
    assert told["version"] == answered["version"]
    for mine, theirs in zip(told["predictions"], answered["predictions"], strict=True):
        mine = {name: value for name, value in mine.items() if name not in ("thumbnail", "name")}
        assert mine == theirs


def test_the_threshold_and_the_classes_are_told(desk, trained):
    told = tried(desk)
    threshold = Bundle.load(trained.folder).card.threshold
    assert told["predictions"] == []
    assert told["threshold"] == {
        "value": threshold.value,
        "positive": "malignant",
        "rule": threshold.rule,
    }
    assert (told["model"], told["models"]) == (trained.folder.name, [trained.folder.name])
    assert told["class_names"] == ["benign", "malignant"]


def test_the_picture_shown_is_upright_and_without_metadata(desk):
    exif = Image.Exif()
    exif[274], exif[270] = 6, "Mrs Example, born 1950"
    (answer,) = tried(desk, encode(solid("red", (300, 200)), "JPEG", exif=exif))["predictions"]
    content = base64.b64decode(answer["thumbnail"].partition(",")[2])
    assert Image.open(io.BytesIO(content)).size == (200, 300)
    assert b"Example" not in content


def bomb():
    """A PNG of a few hundred bytes that claims 20,000 x 20,000 pixels."""

    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", 20_000, 20_000, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", b"") + chunk(b"IEND", b"")


def test_a_small_file_of_a_huge_picture_is_refused_by_its_header(desk, monkeypatch):
    monkeypatch.setattr(examples, "load_pixels", lambda *_: pytest.fail("it was decoded"))
    (answer,) = tried(desk, bomb())["predictions"]
    assert answer["error"] == "more than 25,000,000 pixels: shrink it first"
    assert answer["status"] == 413


def test_a_large_file_is_refused_before_it_is_read(desk, monkeypatch):
    monkeypatch.setattr(examples, "MAX_BYTES", 1000)
    monkeypatch.setattr(examples.base64, "b64decode", lambda *_, **__: pytest.fail("it was decoded"))
    (answer,) = perform(desk, "try", {"images": [{"base64": "A" * 2000}]})["predictions"]
    assert answer["error"] == "larger than 1,000 bytes: shrink it first"


def test_what_is_no_image_does_not_keep_the_others_from_an_answer(desk):
    good = {"base64": as_base64(picture()), "name": "good.png"}
    odd = [{"base64": "%%%"}, {}, {"base64": 5}, {"base64": as_base64(b"text")}]
    answers = perform(desk, "try", {"images": [*odd, good]})["predictions"]
    assert ["error" in answer for answer in answers] == [True] * 4 + [False]
    with pytest.raises(ConfigError, match="give at most 32"):
        perform(desk, "try", {"images": [good] * 33})
    with pytest.raises(ConfigError, match="list of objects"):
        perform(desk, "try", {"images": ["a"]})


def test_nothing_is_kept_by_trying(desk):
    tried(desk, picture())
    assert not desk.examples.exists()


def test_without_a_model_one_line_says_what_to_do(photos, tmp_path):
    desk, _ = open_desk(photos, Choices(actor="ada", runs=tmp_path / "none"))
    with pytest.raises(ConfigError, match="train one first"):
        perform(desk, "try", {})


def test_only_runs_with_a_model_can_be_asked(desk):
    with pytest.raises(ConfigError, match="no run with a model is called 'x'; known here: run"):
        perform(desk, "try", {"run": "x"})


def keep(desk, content, label, name="mine.png"):
    return perform(desk, "keep_example", {"base64": as_base64(content), "label": label, "name": name})


def test_a_wrong_answer_is_kept_byte_for_byte_with_what_it_is_said_to_be(desk, trained):
    content = picture(1, format="JPEG", quality=70)
    kept = keep(desk, content, "benign", "from the phone, 3.jpg")
    sha256 = hashlib.sha256(content).hexdigest()
    path = desk.examples / "benign" / f"{sha256[:16]}.jpg"
    assert kept["path"] == str(path)
    assert path.read_bytes() == content
    assert kept["how"] == f"copy the folders of {desk.examples} into {desk.data} and train again"
    (row,) = csv.DictReader((desk.examples / "examples.csv").open(newline=""))
    answer = trained.model.answer(content)
    assert row["path"] == f"benign/{sha256[:16]}.jpg"
    assert (row["label"], row["who"], row["answer"]) == ("benign", "ada", answer.label)
    assert float(row["probability"]) == answer.probability
    assert row["model"].startswith(f"{trained.folder.name} ")
    assert row["name"] == "from the phone, 3.jpg"
    assert datetime.now(UTC) - datetime.fromisoformat(row["when"]) < timedelta(minutes=1)


def test_the_same_image_is_kept_once_under_what_was_said_last(desk):
    content = picture(1)
    first = keep(desk, content, "benign")
    assert (first["n"], first["moved_from"]) == (1, None)
    second = keep(desk, content, "malignant")
    assert (second["n"], second["moved_from"]) == (1, "benign")
    assert not Path(first["path"]).exists()
    assert Path(second["path"]).read_bytes() == content
    assert keep(desk, picture(0), "malignant")["n"] == 2


def test_what_is_kept_can_be_trained_with(desk):
    for index, label in ((0, "malignant"), (1, "benign")):
        keep(desk, picture(index), label)
    as_folder = Dataset.load(desk.examples)
    as_manifest = Dataset.load(desk.examples / "examples.csv")
    assert as_folder.counts == as_manifest.counts == {"benign": 1, "malignant": 1}


@pytest.mark.parametrize("label", ["../malignant", "a/b", ".hidden", " ", "elsewhere", "c:\\x"])
def test_an_example_goes_to_no_other_folder_than_a_class(desk, label):
    with pytest.raises(ConfigError):
        keep(desk, picture(), label)
    assert not desk.examples.exists()


def test_what_is_no_image_is_not_kept(desk):
    with pytest.raises(UnreadableImage, match="not an image"):
        keep(desk, b"text", "benign")
    assert not desk.examples.exists()


def test_a_desk_that_only_reads_keeps_nothing(desk):
    desk.read_only = True
    assert tried(desk, picture())["predictions"][0]["label"]
    with pytest.raises(ReadOnly):
        keep(desk, picture(), "benign")


def test_examples_kept_at_the_same_time_are_all_in_the_list(desk):
    contents = [encode(solid((shade, 90, 90))) for shade in range(0, 160, 20)]
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda content: keep(desk, content, "benign"), contents))
    rows = list(csv.DictReader((desk.examples / "examples.csv").open(newline="")))
    assert len({row["path"] for row in rows}) == len(contents)
    assert all((desk.examples / row["path"]).is_file() for row in rows)


def test_another_threshold_is_used_at_once(trained, photos, tmp_path):
    folder = tmp_path / "run"
    shutil.copytree(trained.folder, folder)
    desk, _ = open_desk(photos, Choices(actor="ada", run=[folder]))
    content = picture(1)
    assert tried(desk, content)["predictions"][0]["label"] == "malignant"
    bundle = Bundle.load(folder)
    card = replace(bundle.card, threshold=replace(bundle.card.threshold, value=1.0))
    Bundle.write(bundle.folder, card, readme="changed")
    told = tried(desk, content)
    assert told["threshold"]["value"] == 1.0
    assert told["predictions"][0]["label"] == "benign"
