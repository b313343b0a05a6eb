"""`tellapart fetch isic` against the stand-in: what it prints and leaves behind, through faults and kills."""

import csv
import hashlib
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import pytest
from PIL import Image

import tellapart as ta
from isic_archive import serving
from isic_images import find, make_images
from isic_store import PASSING, path_of
from tellapart.cli.app import run
from tellapart.cli.fetch import _bytes

FILTER = "image_type:dermoscopic -image_manipulation:*"


@pytest.fixture(scope="module")
def images():
    return make_images(400)


@pytest.fixture
def archive(images):
    with serving(images) as archive:
        yield archive


@pytest.fixture
def fetch(archive, tmp_path):
    def fetch(*options, out="out"):
        return run(arguments(archive, tmp_path / out, *options))

    return fetch


def arguments(archive, out, *options):
    return ["fetch", "isic", str(out), "--allow-private", "--api", archive.api, *map(str, options)]


def rows_of(folder: Path) -> list[dict[str, str]]:
    with (folder / "manifest.csv").open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def test_a_dry_run_counts_and_loads_nothing(fetch, archive, tmp_path, capsys):
    assert fetch("--dry-run", "--per-class", 30) == 0
    header, *lines = capsys.readouterr().out.splitlines()
    assert header.split() == ["class", "there", "are", "wanted", "to", "load", "licences"]
    benign = archive.find(f"diagnosis_1:Benign {FILTER}")
    assert lines[0].split()[:3] == ["Benign", str(len(benign)), "30"]
    assert f"CC-BY-NC {sum(image.licence == 'CC-BY-NC' for image in benign)}" in lines[0]
    assert lines[1].startswith("Malignant")
    assert not archive.files_asked()
    assert not (tmp_path / "out").exists()


def test_what_is_no_documented_part_of_the_api_is_not_needed(fetch, archive, capsys):
    for route in ("images/facets/", "images/search/size/"):
        archive.faults[f"/api/v2/{route}"].append("404")
    assert fetch("--dry-run") == 0
    assert "CC-BY-NC" in capsys.readouterr().out
    assert fetch("--per-class", 3) == 0


def test_a_fetch_through_faults_leaves_a_folder_that_training_takes(fetch, archive, tmp_path, capsys):
    archive.sprinkle(PASSING, share=0.3)
    gone = archive.find(f"diagnosis_1:Malignant {FILTER}")[::2]
    for image in gone:
        archive.faults[path_of(image)].append("403")
    assert fetch("--per-class", 40) == 0
    printed = capsys.readouterr()
    assert "Benign: 40 images, 40 of them new" in printed.out
    assert "may not be used commercially" in printed.err
    assert printed.out.count("answered 403") == 10  # and others took their place
    assert "more that could not be had" in printed.out
    out, by_id = tmp_path / "out", archive.by_id
    dataset = ta.Dataset.load(out / "manifest.csv")
    assert dataset.counts == {"Benign": 40, "Malignant": 40}
    assert not dataset.ledger
    for row in rows_of(out):
        image, content = by_id[row["id"]], (out / row["path"]).read_bytes()
        assert content == image.content
        assert row["sha256"] == hashlib.sha256(content).hexdigest()
        assert row["label"] == image.clinical["diagnosis_1"] == Path(row["path"]).parts[0]
        assert row["group"] == image.clinical.get("patient_id", image.clinical.get("lesion_id", ""))
        assert (row["licence"], row["attribution"]) == (image.licence, image.attribution)
        assert row["age"] == str(image.clinical.get("age_approx", ""))
        assert row["site"] == image.clinical["anatom_site_1"]
        assert row["url"] == f"{archive.url}{path_of(image)}"
    assert "Đặng Thị Ngọc" in (out / "attribution.txt").read_text(encoding="utf-8")
    assert (out / "licences" / "CC-BY.txt").read_text() == "The text of CC-BY.\n"
    card = (out / "README.md").read_text(encoding="utf-8")
    assert "-image_manipulation:*" in card
    assert not [*out.rglob("*.part")]


def test_more_of_the_same_is_added_and_what_is_here_is_not_asked_for_again(fetch, archive, tmp_path, capsys):
    assert fetch("--per-class", 10) == 0
    before = {row["id"] for row in rows_of(tmp_path / "out")}
    archive.asked.clear()
    assert fetch("--per-class", 15) == 0
    assert "15 images, 5 of them new" in capsys.readouterr().out
    after = {row["id"] for row in rows_of(tmp_path / "out")}
    assert before < after
    assert len(after) == 30
    assert not {Path(path).stem for path in archive.files_asked()} & before
    assert fetch("--per-class", 15, "--seed", 1) == 1
    assert "was begun with seed '0', now it is '1'" in capsys.readouterr().err


def test_the_same_command_anywhere_gives_the_same_images(fetch, tmp_path):
    assert fetch("--per-class", 8, "--classes", "Nevus,Basal cell carcinoma", out="a") == 0
    assert fetch("--per-class", 8, "--classes", "nevus", "--classes", "Basal cell carcinoma", out="b") == 0
    assert fetch("--per-class", 8, "--classes", "Nevus,Basal cell carcinoma", "--seed", 3, out="c") == 0
    first, again, other = ({row["path"] for row in rows_of(tmp_path / name)} for name in "abc")
    assert first == again
    assert first != other


def test_the_classes_that_the_documentation_names_are_found(fetch, capsys):
    page = (Path(__file__).parents[1] / "docs" / "data.md").read_text(encoding="utf-8")
    (classes,) = re.findall(r"`--classes '([^`]+)'`", page)
    assert fetch("--classes", classes, "--dry-run") == 0
    _header, *lines = capsys.readouterr().out.splitlines()
    assert len(lines) == len(classes.split(","))


@pytest.mark.parametrize("error", [-3, 50])
def test_as_many_images_come_as_there_are_whatever_was_counted(fetch, archive, capsys, error):
    there = len(archive.find(f'diagnosis_3:"Melanoma, NOS" {FILTER}'))
    archive.count_error = error
    assert fetch("--per-class", there, "--classes", "Melanoma, NOS") == 0
    assert f"Melanoma, NOS: {there} images" in capsys.readouterr().out
    assert fetch("--per-class", there + 1, "--classes", "Melanoma, NOS") == 1
    assert f"came up short: {there} of {there + 1} images" in capsys.readouterr().err


def test_options_reach_the_archive(fetch, images, tmp_path):
    options = (
        "--licence",
        "cc0,CC-BY",
        "--image-type",
        "any",
        "--query",
        "sex:male",
        "--collection",
        "70,212",
    )
    assert fetch("--per-class", 12, "--max-per-lesion", 1, *options) == 0
    rows = rows_of(tmp_path / "out")
    query = "sex:male -image_manipulation:* -copyright_license:CC-BY-NC"
    assert {row["id"] for row in rows} <= {image.isic_id for image in find(images, query, [70, 212])}
    lesions = [row["lesion_id"] for row in rows if row["lesion_id"]]
    assert len(lesions) == len(set(lesions))
    assert "CC-BY-NC.txt" not in {path.name for path in (tmp_path / "out" / "licences").iterdir()}


def test_images_come_small_if_wanted(fetch, tmp_path):
    assert fetch("--per-class", 3, "--size", "thumbnail", out="thumbnails") == 0
    assert fetch("--per-class", 3, "--size", 32, out="small") == 0
    for row in rows_of(tmp_path / "thumbnails"):
        assert Image.open(tmp_path / "thumbnails" / row["path"]).size == (32, 24)
    for row in rows_of(tmp_path / "small"):
        assert min(Image.open(tmp_path / "small" / row["path"]).size) == 32


def test_a_class_that_comes_up_short_is_told(fetch, archive, tmp_path, capsys):
    there = archive.find(f'diagnosis_3:"Melanoma, NOS" {FILTER}')
    assert fetch("--per-class", 500, "--classes", "Melanoma, NOS") == 1
    printed = capsys.readouterr()
    assert f"Melanoma, NOS: {len(there)} images, {len(there)} of them new" in printed.out
    assert "there are fewer images of 'Melanoma, NOS' than wanted" in printed.err
    assert (
        f"error: class 'Melanoma, NOS' came up short: {len(there)} of 500 images; loosen the conditions"
        in printed.err
    )
    assert len(rows_of(tmp_path / "out")) == len(there)


def test_a_licence_text_that_cannot_be_had_is_replaced_by_its_address(fetch, archive, tmp_path, capsys):
    archive.faults["/api/v2/zip-download/license-file/CC-BY/"].append("404")
    assert fetch("--per-class", 10) == 0
    assert "the text of CC-BY cannot be had" in capsys.readouterr().err
    assert "creativecommons.org/licenses/by/4.0" in (tmp_path / "out" / "licences" / "CC-BY.txt").read_text()


def test_a_disk_without_room_is_told_before_anything_is_loaded(fetch, archive, capsys, monkeypatch):
    monkeypatch.setattr(shutil, "disk_usage", lambda folder: SimpleNamespace(free=1000))
    assert fetch("--per-class", 10) == 1
    assert "make room" in capsys.readouterr().err
    assert not archive.files_asked()


def start(archive, out, *options):
    command = [sys.executable, "-m", "tellapart", *arguments(archive, out, *options)]
    return subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def wait_for_images(process, out, n):
    deadline = time.monotonic() + 60
    while len(here := [*out.rglob("ISIC_*.jpg")]) < n:
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.005)
    return {path.stem for path in here}


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT], ids=["kill -9", "Ctrl-C"])
def test_an_interrupted_fetch_goes_on(fetch, archive, tmp_path, capsys, number):
    out = tmp_path / "out"
    archive.sprinkle(PASSING, share=0.1)
    archive.pause_s = 0.1
    process = start(archive, out, "--per-class", 40)
    here = wait_for_images(process, out, 30)
    process.send_signal(number)
    _, errors = process.communicate(timeout=30)
    assert process.returncode == (-signal.SIGKILL if number == signal.SIGKILL else 130)
    if number == signal.SIGINT:
        assert "interrupted; the same command goes on from here" in errors
        assert "Traceback" not in errors
    for path in out.rglob("ISIC_*.jpg"):
        assert path.read_bytes() == archive.by_id[path.stem].content
    archive.pause_s = 0.0
    archive.asked.clear()
    assert fetch("--per-class", 40) == 0
    dataset = ta.Dataset.load(out)
    assert dataset.counts == {"Benign": 40, "Malignant": 40}
    assert dataset.groups == ta.Dataset.load(out / "manifest.csv").groups is not None
    assert not {Path(path).stem for path in archive.files_asked()} & here
    for row in rows_of(out):
        assert (out / row["path"]).read_bytes() == archive.by_id[row["id"]].content
    assert not [*out.rglob("*.part*")]


@pytest.mark.parametrize(
    ("options", "status", "message"),
    [
        (["--classes", "Nevi"], 1, "the archive has no diagnosis 'Nevi'"),
        (["--classes", "Benign,Nevus"], 1, "'Benign' and 'Nevus' share"),
        (["--query", "benign_malignant:benign"], 1, "does not understand the query"),
        (["--query", "age_approx:5"], 1, "no image of 'Benign' fulfils these conditions"),
        (["--image-type", "photo"], 1, "no image type 'photo'; accepted: dermoscopic"),
        (["--licence", "MIT"], 1, "licence 'MIT' is not one of the archive's: CC-0"),
        (["--collection", "ham"], 1, "--collection 'ham' is not a number"),
        (["--collection", "999"], 1, "no public collection 999"),
        (["--size", "huge"], 1, "--size 'huge' is not understood; give full, thumbnail"),
        (["--size", "8"], 1, "at least 32"),
        (["--per-class", "0"], 2, "--per-class"),
        (["--max-per-lesion", "0"], 2, "--max-per-lesion"),
        (["--api", "{url}/elsewhere"], 1, "404"),
        (["--api", "ftp://archive.example"], 1, "archive.example"),
    ],
)
def test_a_mistake_is_one_clear_line(fetch, archive, tmp_path, capsys, options, status, message):
    assert fetch(*(option.replace("{url}", archive.url) for option in options)) == status
    err = capsys.readouterr().err
    assert message in " ".join(err.replace("│", " ").split())
    assert "Traceback" not in err
    assert not (tmp_path / "out").exists()


def test_this_machine_is_not_asked_unless_allowed(archive, tmp_path, capsys):
    assert run(["fetch", "isic", str(tmp_path / "out"), "--api", archive.api]) == 1
    assert "--allow-private" in capsys.readouterr().err
    assert not archive.asked


def test_a_folder_with_other_things_in_it_is_left_alone(fetch, tmp_path, capsys):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "thesis.txt").write_text("mine")
    assert fetch() == 1
    assert "is not empty" in capsys.readouterr().err
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["thesis.txt"]


@pytest.mark.parametrize(
    ("n", "text"), [(0, "0 B"), (999, "999 B"), (1000, "1 kB"), (12_345_678, "12 MB"), (5e15, "5000 TB")]
)
def test_sizes_are_easy_to_read(n, text):
    assert _bytes(n) == text
