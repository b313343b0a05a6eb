"""A check names every planted defect and nothing else, reads each file once, and writes plain JSON."""

import json
import shutil
from pathlib import Path, PurePath

import numpy as np
import pytest
from PIL import ExifTags, Image, ImageFilter, ImageOps

from pictures import class_pixels, corner, encode, scene
from tellapart.audit.check import WITHOUT_NETWORK, check
from tellapart.audit.inspection import inspect
from tellapart.audit.labels import self_confidence, suspects
from tellapart.data import survey
from tellapart.data.dataset import Dataset
from tellapart.data.embedding import Network
from tellapart.data.images import Resize
from tellapart.errors import SplitError
from tellapart.training.config import TrainConfig
from tellapart.training.evidence import FrozenEvidence
from tellapart.training.partition import deal, refuse_leaks, straddling, union, without_split

N = 40


class Colours:
    """Evidence from the mean colour, which is what tells the test's classes apart."""

    network = Network("test-colours", Resize(16), lambda pixels: pixels.mean(axis=(1, 2)).astype("<f4") / 255)

    def out_of_fold(self, features, y, ties, n_classes):
        return FrozenEvidence.out_of_fold(self, features, y, ties, n_classes)


@pytest.fixture(scope="module")
def clean(tmp_path_factory) -> Path:
    """Two classes of pictures with nothing wrong but that colour tells them apart."""
    root = tmp_path_factory.mktemp("clean")
    rng = np.random.default_rng(0)
    for index, label in enumerate(("cat", "dog")):
        (root / label).mkdir()
        for number in range(N):
            pixels = class_pixels(rng, index, (96, 80))
            (root / label / f"{number:02d}.png").write_bytes(encode(Image.fromarray(pixels)))
    return root


@pytest.fixture
def planted(clean, tmp_path) -> Path:
    """The same with a defect of each kind."""
    root = tmp_path / "planted"
    for path in clean.rglob("*.png"):
        copy = root / path.relative_to(clean)
        copy.parent.mkdir(parents=True, exist_ok=True)
        copy.write_bytes(path.read_bytes())
    (root / "cat" / "broken.jpg").write_bytes(b"\xff\xd8\xff\xe0 and then nothing")
    (root / "dog" / "same.png").write_bytes((root / "cat" / "00.png").read_bytes())
    Image.open(root / "cat" / "01.png").resize((120, 100)).rotate(180).save(root / "cat" / "turned.jpg")
    Image.new("RGB", (96, 80), "black").save(root / "dog" / "black.png")
    (root / "cat" / "05.png").rename(root / "dog" / "wrong.png")
    return root


def kinds(audit):
    return {finding.kind for finding in audit.findings}


def test_clean_images_have_no_errors_and_no_suspects(clean):
    audit = check(Dataset.load(clean), Colours())
    assert not audit.has_errors
    assert kinds(audit) <= {"shortcut"}  # that colour alone tells these classes apart is true


def test_every_planted_defect_is_named_and_no_other_image(planted):
    audit = check(Dataset.load(planted), Colours())
    assert audit.of_kind("unreadable file")[0].sample_ids == ("cat/broken.jpg",)
    assert set(audit.of_kind("conflicting labels")[0].sample_ids) == {"cat/00.png", "dog/same.png"}
    assert set(audit.of_kind("near-duplicates")[0].sample_ids) == {"cat/01.png", "cat/turned.jpg"}
    suspected = [finding.sample_ids[0] for finding in audit.of_kind("suspected label")]
    assert set(suspected) == {"dog/wrong.png", "dog/same.png"}
    named = {i for finding in audit.findings if finding.kind != "shortcut" for i in finding.sample_ids}
    assert named == {
        "cat/broken.jpg",
        "cat/00.png",
        "dog/same.png",
        "cat/01.png",
        "cat/turned.jpg",
        "dog/black.png",
        "dog/wrong.png",
    }
    assert audit.counts["error"] == 1


def exif_with_place():
    exif = Image.Exif()
    exif.get_ifd(ExifTags.IFD.GPSInfo).update(
        {ExifTags.GPS.GPSLatitudeRef: "N", ExifTags.GPS.GPSLatitude: (48.0, 12.0, 30.0)}
    )
    return exif


ODD = {
    "blank": lambda image: Image.new("RGB", image.size, (90, 90, 90)),
    "too dark": lambda image: image.point(lambda value: value // 8),
    "too bright": lambda image: image.point(lambda value: 220 + value // 10),
    "low information": lambda image: image.point(lambda value: 80 if value < 128 else 120),
    "blurred": lambda image: image.filter(ImageFilter.GaussianBlur(6)),
    "border": lambda image: ImageOps.expand(image, 8, "black"),
    "greyscale among colour": lambda image: image.convert("L"),
    "extreme size": lambda image: image.resize((14, 12)),
    "extreme aspect ratio": lambda image: Image.fromarray(np.tile(np.asarray(image), (1, 5, 1))),
    "outlier": lambda image: Image.merge("RGB", [*[image.getchannel(0).point(lambda v: v // 2)] * 2, BLUE]),
}
"""Finding -> what makes one of an ordinary picture."""

BLUE = Image.new("L", (96, 80), 250)

COLOURLESS = {"blank", "too bright", "greyscale among colour"}
"""Which a network that sees nothing but the mean colour finds unlike all others, too."""


def test_each_way_of_being_odd_is_told_of_the_image_that_is(clean, tmp_path):
    rng = np.random.default_rng(7)
    shutil.copytree(clean, tmp_path / "odd")
    for number, (kind, change) in enumerate(ODD.items()):
        image = Image.fromarray(class_pixels(rng, number % 2, (96, 80)))
        change(image).save(tmp_path / "odd" / ("cat", "dog")[number % 2] / f"{kind}.png")
    image = Image.fromarray(class_pixels(rng, 0, (96, 80)))
    image.save(tmp_path / "odd" / "cat" / "place.jpg", exif=exif_with_place(), quality=95)
    image.rotate(180).save(tmp_path / "odd" / "cat" / "misnamed.jpg", "PNG")
    audit = check(Dataset.load(tmp_path / "odd"), Colours())
    told = {
        kind: {PurePath(name).stem for one in found for name in one.sample_ids}
        for kind, found in audit.by_kind().items()
        if kind != "shortcut"  # that colour alone tells these classes apart is true
    }
    assert told == {
        **{kind: {kind} for kind in ODD},
        "outlier": {"outlier", *COLOURLESS},
        "place in metadata": {"place"},
        "misnamed": {"misnamed"},
        "near-duplicates": {"place", "misnamed"},
    }


def test_errors_come_first_and_everything_is_json(planted):
    audit = check(Dataset.load(planted), Colours())
    severities = [finding.severity for finding in audit.findings]
    assert severities == sorted(severities, key=("error", "warning", "note").index)
    told = json.loads(audit.to_json())
    assert [entry["kind"] for entry in told["findings"]] == [finding.kind for finding in audit.findings]
    assert told["counts"]["error"] == 1
    assert told["ledger"][0]["path"] == "cat/broken.jpg"


def test_what_an_earlier_pass_could_not_read_is_an_error_all_the_same(planted):
    dataset = Dataset.load(planted).verified()
    assert check(dataset).of_kind("unreadable file")[0].sample_ids == ("cat/broken.jpg",)


def test_without_evidence_labels_are_left_out_and_it_says_so(planted):
    audit = check(Dataset.load(planted), why_none="no network here")
    assert audit.left_out == (f"{WITHOUT_NETWORK}: no network here",)
    assert not audit.of_kind("suspected label")
    assert audit.of_kind("conflicting labels")


def test_copies_and_groups_on_two_sides_of_a_given_split_are_errors(clean, tmp_path):
    rows = ["path,label,split,group"]
    for number in range(N):
        split = "test" if number % 4 == 0 else "train"
        rows += [
            f"{clean}/{label}/{number:02d}.png,{label},{split},{number // 2}" for label in ("cat", "dog")
        ]
    manifest = tmp_path / "data.csv"
    manifest.write_text("\n".join(rows))
    audit = check(Dataset.load(manifest))
    assert len(audit.of_kind("group on two sides")) == N // 4
    assert audit.has_errors


@pytest.fixture
def cropped(tmp_path) -> Dataset:
    """A given split whose test images are training images without a seventh of each edge."""
    rng = np.random.default_rng(1)
    for label in ("a", "b"):
        for part in ("train", "test"):
            (tmp_path / part / label).mkdir(parents=True)
        for number in range(8):
            image = scene(rng)
            image.save(tmp_path / "train" / label / f"{number}.png")
            corner(image).save(tmp_path / "test" / label / f"{number}.png")
    return Dataset.load(tmp_path)


def test_copies_that_features_bring_together_leak_for_check_as_for_training(cropped, small_network):
    """What only the default network proposes is told by `check`, and refused where a split is given."""
    evidence = Colours()
    evidence.network = small_network
    told = {finding.sample_ids for finding in check(cropped, evidence).of_kind("leak")}
    assert len(told) > 7
    assert len(check(cropped).of_kind("leak")) < 3  # pictures alone do not propose so much of a crop
    used = cropped.with_near_duplicates()
    found = straddling([used.where_split(part) for part in ("train", "test")])["near-duplicate"]
    assert {tuple(sorted(pair)) for pair in found} == told
    with pytest.raises(SplitError, match=f"{len(told)} × near-duplicate"):
        refuse_leaks(used, deal(used, TrainConfig(), needs_val=False))


def test_a_split_dealt_here_has_no_leak_for_check(cropped, small_network):
    evidence = Colours()
    evidence.network = small_network
    for seed in range(3):
        parts = without_split(cropped).split(0.4, seed=seed)
        dealt = union(*parts)
        assert {sample.split for sample in dealt.samples} == {"train", "test"}
        assert check(dealt, evidence).of_kind("leak") == []


def test_each_file_is_decoded_once_and_not_again(planted, fresh_cache, monkeypatch):
    decoded = []
    decode = survey.decode
    monkeypatch.setattr(survey, "decode", lambda *a, **o: decoded.append(1) or decode(*a, **o))
    dataset = Dataset.load(planted)
    first = inspect(dataset, Colours.network)
    n_contents = len({sample.sha256 for sample in first.dataset.samples})
    assert len(decoded) <= len(dataset)
    decoded.clear()
    again = inspect(dataset, Colours.network)
    assert len(decoded) == 1  # the broken one, of which nothing is kept
    assert again.n_computed == 0
    assert n_contents == len(first.looks) - 1  # one content lies there twice
    np.testing.assert_array_equal(again.features, first.features)
    np.testing.assert_array_equal(again.descriptors, first.descriptors)


def test_self_confidence_is_the_probability_of_the_label():
    y_prob = np.array([[0.7, 0.2, 0.1], [0.1, 0.3, 0.6], [0.5, 0.5, 0.0]])
    np.testing.assert_allclose(self_confidence(np.array([0, 1, 2]), y_prob), [0.7, 0.3, 0.0])


def test_confident_learning_by_hand():
    """Northcutt et al. 2021: class thresholds are mean self-confidences, here 0.8 and 0.75."""
    y = np.array([0, 0, 0, 1, 1])
    y_prob = np.array([[0.9, 0.1], [1.0, 0.0], [0.5, 0.5], [0.15, 0.85], [0.35, 0.65]])
    found, _ = suspects(y, y_prob)
    assert len(found) == 0  # nobody reaches the other class's threshold
    y_prob[2] = [0.1, 0.9]
    found, likely = suspects(y, y_prob)
    assert (found.tolist(), likely.tolist()) == ([2], [1])
