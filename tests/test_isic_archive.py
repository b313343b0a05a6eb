"""The stand-in of the ISIC Archive behaves as the real one does, and satisfies its official client."""

import csv
import hashlib
import io
import os
import subprocess
import sys
from dataclasses import replace

import httpx2
import pytest
from PIL import Image

from isic_archive import serving
from isic_images import BadQuery, find, make_images
from isic_store import LASTING, PASSING, STALL, etag, path_of


@pytest.fixture(scope="module")
def archive():
    with serving(make_images(300)) as archive:
        yield archive


@pytest.fixture
def ask(archive):
    with httpx2.Client(base_url=f"{archive.api}/", trust_env=False) as client:
        yield client.get


def pages(ask, **params):
    """All images that a list gives, following `next` to the end, and the number of pages."""
    page = ask("images/search/", params=params).json()
    found, n = list(page["results"]), 1
    while page["next"]:
        page = ask(page["next"]).json()
        assert page["count"] is None
        found += page["results"]
        n += 1
    return [image["isic_id"] for image in found], n


def test_the_archive_has_everything_that_is_awkward():
    images = make_images(400)
    assert {image.licence for image in images} == {"CC-0", "CC-BY", "CC-BY-NC"}
    assert {image.clinical.get("diagnosis_1") for image in images} == {
        *("Benign", "Malignant", "Indeterminate", None)
    }
    assert any(image.acquisition["image_type"] == "TBP tile: close-up" for image in images)
    assert any("image_manipulation" in image.acquisition for image in images)
    assert any(not image.clinical for image in images)
    assert not all(image.attribution.isascii() for image in images)
    assert not all(image.public for image in images)
    assert len({image.created for image in images}) < len(images) / 10
    assert len({image.clinical.get("lesion_id") for image in images}) < len(images) * 0.8
    assert len({image.isic_id for image in images}) == len(images)


@pytest.mark.parametrize(
    ("query", "condition"),
    [
        ("diagnosis_1:Malignant", lambda i: i.value("diagnosis_1") == "Malignant"),
        ("diagnosis_1:malignant", lambda i: False),
        ('diagnosis_3:"Melanoma, NOS"', lambda i: i.value("diagnosis_3") == "Melanoma, NOS"),
        ("diagnosis_3:Melanoma*", lambda i: str(i.value("diagnosis_3")).startswith("Melanoma")),
        ("isic_id:*7", lambda i: i.isic_id.endswith("7")),
        ("-diagnosis_1:Benign", lambda i: i.value("diagnosis_1") != "Benign"),
        ("-diagnosis_1:*", lambda i: i.value("diagnosis_1") is None),
        ("age_approx:[20 TO 40]", lambda i: i.value("age_approx") in range(20, 41)),
        ("age_approx:{20 TO *]", lambda i: (i.value("age_approx") or 0) > 20),
        ("age_approx:50", lambda i: i.value("age_approx") == 50),
        ("melanocytic:true", lambda i: i.value("melanocytic") is True),
        ("image_type:clinical", lambda i: i.value("image_type") == "clinical: close-up"),
        (
            "sex:male AND (copyright_license:CC-0 OR copyright_license:CC-BY)",
            lambda i: i.value("sex") == "male" and i.licence != "CC-BY-NC",
        ),
        (
            "sex:male diagnosis_1:Benign OR sex:female",
            lambda i: (
                i.value("sex") == "female" or (i.value("sex"), i.value("diagnosis_1")) == ("male", "Benign")
            ),
        ),
    ],
)
def test_a_query_finds_what_it_says(query, condition):
    images = make_images(300)
    assert find(images, query) == [image for image in images if image.public and condition(image)]


@pytest.mark.parametrize(
    "query",
    [
        *(
            "benign_malignant:benign",
            "sex:male and sex:female",
            "sex:",
            "(sex:male",
            "sex:male)",
            "created:*",
        ),
        *("age_approx:old", "melanocytic:yes", "sex:male AND", "OR sex:male", "NOT sex:male"),
    ],
)
def test_what_is_no_query_is_refused(query, ask):
    with pytest.raises(BadQuery):
        find([], query)
    answer = ask("images/search/", params={"query": query})
    assert (answer.status_code, answer.json()) == (400, {"message": "Could not parse search query."})


def test_pages_of_100_are_whole_and_shorter_ones_lose_images(archive, ask):
    public = [image.isic_id for image in archive.images if image.public]
    assert pages(ask) == (public, 3)
    assert pages(ask, limit="1000") == (public, 3)
    short, _ = pages(ask, limit="7")
    assert len(short) == len(set(short)) < len(public)


@pytest.mark.parametrize(("limit", "n_found"), [(100, 250), (25, 240), (7, 231)])
def test_as_many_images_are_lost_as_the_servers_own_code_loses(limit, n_found):
    images = [replace(image, public=True, created=f"{n:03d}") for n, image in enumerate(make_images(250))]
    images[90:110] = [replace(image, created="090") for image in images[90:110]]
    with serving(images) as archive, httpx2.Client(base_url=f"{archive.api}/", trust_env=False) as client:
        found, _ = pages(client.get, limit=str(limit))
    assert len(found) == len(set(found)) == n_found


def test_values_that_are_none_are_left_out_and_decimals_are_text(ask):
    image = ask("images/search/", params={"query": "clin_size_long_diam_mm:*", "limit": "1"}).json()[
        "results"
    ][0]
    assert isinstance(image["metadata"]["clinical"]["clin_size_long_diam_mm"], str)
    assert None not in image["metadata"]["clinical"].values()
    assert ask(f"images/{image['isic_id']}/").json() == image


def test_counts_sizes_and_facets_agree(archive, ask):
    query = {"query": "diagnosis_1:Benign", "collections": "70"}
    found = find(archive.images, "diagnosis_1:Benign", [70])
    assert ask("images/search/", params=query).json()["count"] == len(found)
    assert ask("images/search/size/", params=query).json()["size"] == sum(len(i.ingested) for i in found)
    facets = ask("images/facets/", params=query).json()
    assert facets["diagnosis_1"]["buckets"] == [{"key": "Benign", "doc_count": len(found)}]
    assert sum(bucket["doc_count"] for bucket in facets["copyright_license"]["buckets"]) == len(found)


def test_a_count_may_be_off(archive, ask):
    archive.count_error = -3
    page = ask("images/search/", params={"query": "diagnosis_3:Nevus"}).json()
    archive.count_error = 0
    assert page["count"] == len(archive.find("diagnosis_3:Nevus")) - 3


def test_some_files_name_somebody_else_than_the_api_does(archive, ask):
    images = [image for image in archive.images if image.public and image.suffix == "jpg"][:50]
    assert len({image.credit == image.attribution for image in images}) == 2
    for image in images:
        assert image.credit.encode() in ask(f"{archive.url}{path_of(image)}").content
        assert ask(f"images/{image.isic_id}/").json()["attribution"] == image.attribution


@pytest.mark.parametrize(
    ("route", "status", "words"),
    [
        ("images/search/?limit=ten", 422, "int_parsing"),
        ("images/search/?cursor=!", 422, "Invalid cursor."),
        ("images/search/?collections=abc", 422, "invalid literal for int() with base 10: 'abc'"),
        ("images/search/?collections=999", 200, '"count": 0'),
        ("images/ISIC_0000000/", 404, '{"detail": "Not Found"}'),
        ("images/ISIC_0024306/similar/", 401, '{"detail": "Unauthorized"}'),
        ("collections/999/", 404, "Not Found"),
        ("collections/70/", 200, "Challenge 2020: Training"),
        ("collections/70/attribution/", 200, "CC-BY-NC"),
        ("collections/", 200, "HAM10000"),
        ("zip-download/license-file/CC-BY/", 200, "The text of CC-BY."),
        ("zip-download/license-file/MIT/", 404, "Not Found"),
        ("images/search", 301, ""),
    ],
)
def test_routes_answer_as_the_archives_do(ask, route, status, words):
    answer = ask(route)
    assert answer.status_code == status
    assert words in answer.text


def test_files_are_longer_than_announced_and_come_in_ranges(archive, ask):
    image = next(i for i in archive.images if i.suffix == "jpg" and "-" not in etag(i))
    url = f"{archive.url}{path_of(image)}"
    whole = ask(url)
    assert len(whole.content) == len(image.ingested) + 3063
    assert whole.headers["etag"].strip('"') == hashlib.md5(whole.content).hexdigest()
    assert Image.open(io.BytesIO(whole.content)).size == (60, 45)
    rest = ask(url, headers={"Range": "bytes=100-", "If-Range": whole.headers["etag"]})
    assert (rest.status_code, rest.content) == (206, whole.content[100:])
    assert rest.headers["content-range"] == f"bytes 100-{len(whole.content) - 1}/{len(whole.content)}"
    assert ask(url, headers={"Range": "bytes=100-", "If-Range": '"other"'}).status_code == 200
    assert ask(url, headers={"Range": "bytes=999999-"}).status_code == 416
    kinds = {ask(f"{archive.url}{path_of(i)}").headers["content-type"] for i in archive.images[:20]}
    assert kinds == {"image/jpeg", "image/png", "binary/octet-stream"}


@pytest.mark.parametrize("fault", [*PASSING, STALL, *LASTING])
def test_faults_happen_when_planned_and_pass_unless_they_last(archive, ask, fault):
    image = next(i for i in archive.images if "-" not in etag(i) and i.suffix == "jpg")
    url = f"{archive.url}{path_of(image)}"
    archive.faults[path_of(image)].append(fault)
    try:
        answer = ask(url, timeout=1)
        went_well = answer.status_code == 200 and answer.content == image.content
    except httpx2.TransportError:
        went_well = False
    assert went_well == (fault == "slow")
    assert (ask(url).status_code == 200) == (fault not in LASTING)
    archive.faults.clear()


# Its development switch names one port, which may be taken; and what it does not understand it would report.
CLIENT = """
import sys
from isic_cli import cli
cli.DOMAINS["dev"], cli.SENTRY_DSN = sys.argv.pop(1), None
cli.main()
"""


@pytest.fixture
def isic(archive, tmp_path):
    """Runs `isic`, the archive's own client, against the stand-in; returns what it printed."""

    def run(*arguments: object) -> str:
        options = [archive.url, "--dev", "--guest", "--no-version-check", *map(str, arguments)]
        done = subprocess.run(
            [sys.executable, "-c", CLIENT, *options],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            env={**os.environ, "HOME": str(tmp_path), "COLUMNS": "200"},
            timeout=60,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    return run


def ids_in(path):
    """The ids in a table that the client wrote."""
    with path.open(encoding="utf-8") as file:
        return sorted(row["isic_id"] for row in csv.DictReader(file))


def test_the_official_client_downloads_what_a_query_finds(archive, isic, tmp_path):
    query = "diagnosis_1:Malignant AND image_type:dermoscopic"
    wanted = archive.find(query, [70])
    assert 3 < len(wanted) < 60
    archive.asked.clear()
    isic("image", "download", "-s", query, "-c", "70", tmp_path / "some")
    assert "/api/v2/images/search/size/" in {asked.path for asked in archive.asked}
    for image in wanted:
        assert (tmp_path / "some" / f"{image.isic_id}.{image.suffix}").read_bytes() == image.content
    assert ids_in(tmp_path / "some" / "metadata.csv") == sorted(image.isic_id for image in wanted)
    assert {path.stem for path in (tmp_path / "some" / "licenses").iterdir()} == {i.licence for i in wanted}


def test_the_official_client_downloads_the_oldest_few(archive, isic, tmp_path):
    isic("image", "download", "-l", "5", tmp_path / "five")
    oldest = [image for image in archive.images if image.public][:5]
    assert {path.stem for path in (tmp_path / "five").glob("ISIC_*")} == {i.isic_id for i in oldest}


def test_the_official_client_lists_all_metadata_and_collections(archive, isic, tmp_path):
    isic("metadata", "download", "-o", tmp_path / "all.csv")
    assert ids_in(tmp_path / "all.csv") == sorted(image.isic_id for image in archive.images if image.public)
    assert "HAM10000" in isic("collection", "list")
