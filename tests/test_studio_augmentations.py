import base64
import io
import subprocess
import sys
import time

import numpy as np
import pytest
from PIL import Image

from pictures import write_class_folders
from tellapart.errors import ConfigError, MissingExtra
from tellapart.studio import augmentations
from tellapart.studio.opening import Choices, open_desk
from tellapart.studio.operations import perform


@pytest.fixture(scope="module")
def desk(tmp_path_factory):
    data = write_class_folders(tmp_path_factory.mktemp("data") / "photos", {"cup": 4, "plate": 4})
    (data / "cup" / "broken.png").write_bytes(b"\x89PNG and then nothing")
    return open_desk(data, Choices(actor="ada", runs=data.parent / "runs"))[0]


def ask(desk, **values):
    """Ask until torch has been imported."""
    deadline = time.monotonic() + 60
    while (told := perform(desk, "augmentations", values))["state"] == "preparing":
        assert time.monotonic() < deadline
        time.sleep(0.05)
    return told


def pixels(url):
    head, _, text = url.partition(",")
    assert head == "data:image/jpeg;base64"
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(text))))


def test_variants_stand_beside_the_original_at_the_size_of_the_network(desk):
    told = ask(desk, items=[1, 5], policy="strong", variants=6)
    assert (told["size"], told["policy"]) == (240, "strong")
    assert [image["i"] for image in told["images"]] == [1, 5]
    for image in told["images"]:
        assert image["label"] == desk.catalog.label(image["i"])
        assert len(image["variants"]) == 6
        assert {pixels(url).shape for url in (image["original"], *image["variants"])} == {(240, 240, 3)}
        assert len(set(image["variants"])) == 6


def test_the_size_is_that_of_the_run_that_is_shown(trained, photos):
    desk, _ = open_desk(photos, Choices(actor="ada", run=[trained.folder]))
    told = ask(desk, items=[0], variants=1)
    assert told["size"] == 64


def test_no_policy_leaves_the_picture_as_it_is(desk):
    (image,) = ask(desk, items=[1], policy="none", variants=2)["images"]
    assert image["variants"] == [image["original"]] * 2


def test_a_light_policy_only_mirrors(desk):
    (image,) = ask(desk, items=[1], policy="light", variants=12)["images"]
    original = pixels(image["original"]).astype(int)
    for url in image["variants"]:
        apart = [np.abs(pixels(url).astype(int) - other).mean() for other in (original, original[:, ::-1])]
        assert min(apart) < 2  # JPEG
    assert len(set(image["variants"])) == 2


def test_variants_are_those_that_training_makes(desk):
    from tellapart.data.images import Resize, load_pixels
    from tellapart.training.augmentation import policy

    (image,) = ask(desk, items=[2], policy="standard", variants=1, seed=7)["images"]
    square = load_pixels(desk.given.samples[2].path, Resize(240))
    epoch_one = policy("standard", 240).seeded(square, 7, 1, 2)
    assert np.abs(pixels(image["variants"][0]).astype(int) - epoch_one).mean() < 2


def test_the_same_seed_gives_the_same_variants_and_another_seed_others(desk):
    first, again = (ask(desk, items=[1], seed=1)["images"] for _ in range(2))
    assert first == again
    assert ask(desk, items=[1], seed=2)["images"][0]["variants"] != first[0]["variants"]


def test_without_a_choice_some_of_every_class_are_drawn(desk):
    told = ask(desk, draw=3, variants=1)
    labels = [image["label"] for image in told["images"]]
    assert {name: labels.count(name) for name in labels} == {"cup": 3, "plate": 3}
    drawn = [[image["i"] for image in ask(desk, draw=n, variants=1)["images"]] for n in range(6)]
    assert len({tuple(numbers) for numbers in drawn}) > 1


def test_a_file_that_cannot_be_read_says_so(desk):
    broken = desk.catalog.index("cup/broken.png")
    (image,) = ask(desk, items=[broken])["images"]
    assert "damaged" in image["error"]
    assert image["variants"] == []


def test_what_cannot_be_shown_is_refused(desk):
    for wrong in ({"items": [99]}, {"items": list(range(13))}, {"policy": "x"}, {"variants": 13}):
        with pytest.raises(ConfigError):
            ask(desk, **wrong)


def test_without_torch_one_line_says_what_to_install(desk, monkeypatch):
    monkeypatch.setattr(augmentations, "_loading", [])
    monkeypatch.setitem(sys.modules, "torch", None)
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(MissingExtra, match=r"pip install 'tellapart\[train\]'"):
        perform(desk, "augmentations", {})


def test_the_first_question_does_not_wait_for_torch(desk):
    code = f"""
import sys, time
from pathlib import Path
from tellapart.studio.opening import Choices, open_desk
from tellapart.studio.operations import perform
desk, _ = open_desk(Path({str(desk.data)!r}), Choices(actor="ada"))
assert "torch" not in sys.modules
started = time.monotonic()
assert perform(desk, "augmentations", {{"items": [1]}}) == {{"state": "preparing"}}
assert time.monotonic() - started < 1
while perform(desk, "augmentations", {{"items": [1]}})["state"] != "ready":
    time.sleep(0.05)
assert "torch" in sys.modules
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.stderr == ""
    assert done.returncode == 0
