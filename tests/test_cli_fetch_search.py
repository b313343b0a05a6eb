import json
import shlex
import subprocess
import sys

import pytest
from starlette.responses import JSONResponse

from pictures import write_class_folders
from search_services import Picture, SearchServices
from servers import running
from tellapart.cli.app import run
from tellapart.data.dataset import Dataset


@pytest.fixture(scope="module")
def server():
    services = SearchServices([])
    with running(services.app) as url:
        services.url = url
        yield services


@pytest.fixture
def services(server):
    server.pictures = [Picture(n, "cat" if n % 2 else "dog") for n in range(1, 61)]
    server.overrides = {}
    for notes in (server.next_answers, server.asked, server.loaded):
        notes.clear()
    return server


@pytest.fixture
def search(services, tmp_path, capsys):
    """Runs `tellapart fetch search` into tmp_path/out; returns its exit status and what it said."""

    def fetching(queries, *options, private=True):
        path = tmp_path / "queries.json"
        path.write_text(json.dumps(queries), encoding="utf-8")
        apis = ["--openverse", f"{services.url}/v1", "--commons", f"{services.url}/w/api.php"]
        allowed = ["--allow-private"] if private else []
        command = [
            "fetch",
            "search",
            str(tmp_path / "out"),
            "--queries",
            str(path),
            *apis,
            *allowed,
            *options,
        ]
        status = run(command)
        said = capsys.readouterr()
        return status, said.out + said.err

    return fetching


def manifest(tmp_path):
    return Dataset.load(tmp_path / "out" / "manifest.csv")


def test_images_of_each_class_arrive_with_their_papers(search, tmp_path):
    status, said = search({"cat": ["cat"], "dog": ["dog"]}, "--per-class", "5")
    assert status == 0
    dataset = manifest(tmp_path)
    assert dataset.counts == {"cat": 5, "dog": 5}
    assert "cat: 5 images, 5 of them new" in said
    for sample in dataset.samples:
        number = int(sample.metadata["title"].removeprefix("Picture "))
        assert sample.path.read_bytes() == Picture(number, sample.label).content()
        assert sample.metadata["licence"] == "CC-BY 4.0"
        assert sample.metadata["licence_url"] == "https://creativecommons.org/licenses/by/4.0/"
        assert sample.metadata["attribution"] == (
            f'"Picture {number}" by Zoë Müller, CC BY 4.0. Source: https://example.org/photos/{number}'
        )
        assert sample.metadata["service"] == "openverse"
    assert "Zoë Müller" in (tmp_path / "out" / "attribution.txt").read_text(encoding="utf-8")
    assert "creativecommons.org/licenses/by/4.0/" in (tmp_path / "out/licences/CC-BY-4.0.txt").read_text()
    assert "openverse" in (tmp_path / "out" / "README.md").read_text(encoding="utf-8")


def test_texts_addresses_folders_and_both_services_share_a_class(search, services, tmp_path):
    write_class_folders(tmp_path, {"own": 3})
    query = ["cat", f"{services.url}/files/2.jpg", "./own"]
    status, said = search({"cat": query}, "--per-class", "16", "--source", "openverse,commons")
    assert status == 0
    found = [sample.metadata["service"] for sample in manifest(tmp_path).samples]
    assert len(found) == 16
    assert found.count("web") == 1
    assert found.count("folder") == 3
    assert found.count("openverse") + found.count("commons") == 12
    assert "excluded_source=wikimedia" in services.asked[0]
    assert "without a licence" in said


def test_the_same_command_goes_on_and_a_larger_number_adds(search, services, tmp_path):
    assert search({"cat": ["cat"]}, "--per-class", "4")[0] == 0
    first = {sample.id for sample in manifest(tmp_path).samples}
    asked, loaded = len(services.asked), len(services.loaded)
    status, said = search({"cat": ["cat"]}, "--per-class", "4")
    assert (status, len(services.asked), len(services.loaded)) == (0, asked, loaded)
    assert "cat: 4 images, 0 of them new" in said
    assert search({"cat": ["cat"]}, "--per-class", "6")[0] == 0
    assert first < {sample.id for sample in manifest(tmp_path).samples}


def test_a_class_that_came_up_short_is_said(search, tmp_path):
    status, said = search({"cat": ["cat"], "dog": ["dog"]}, "--per-class", "31")
    assert status == 1
    assert "class 'cat' came up short: 30 of 31 images" in said
    assert manifest(tmp_path).counts == {"cat": 30, "dog": 30}


def test_a_dead_address_is_replaced_and_named(search, services, tmp_path):
    services.pictures[0] = Picture(1, "cat", suffix="png")
    services.overrides = {1: {"url": f"{services.url}/files/9999.png"}}
    status, said = search({"cat": ["cat"]}, "--per-class", "5")
    assert status == 0
    assert f"could not be had: openverse_{Picture(1).uuid}: " in said
    assert manifest(tmp_path).counts == {"cat": 5}


def test_an_image_found_for_two_classes_is_kept_for_one(search, services, tmp_path):
    services.pictures = [Picture(1, "cat dog"), Picture(2, "cat"), Picture(3, "dog")]
    status, said = search({"cat": ["cat"], "dog": ["dog"]}, "--per-class", "2")
    assert status == 1
    assert manifest(tmp_path).counts == {"cat": 2, "dog": 1}
    assert "1 found and not taken: found for another class too" in said


def test_a_dry_run_says_what_there_is_and_loads_nothing(search, services, tmp_path):
    write_class_folders(tmp_path, {"own": 3})
    query = {"cat": ["cat", "./own"], "dog": ["https://example.org/dog.jpg"]}
    status, said = search(query, "--dry-run", "--source", "openverse,commons")
    assert status == 0
    assert said.splitlines() == [
        "cat: 100 wanted",
        "  text     cat  (about 30 in openverse; about 30 in commons)",
        "  folder   ./own  (3 images)",
        "dog: 100 wanted",
        "  address  https://example.org/dog.jpg  (1 image)",
    ]
    assert not (tmp_path / "out").exists()
    assert services.loaded == []


def test_images_are_shrunk_to_the_edge_that_was_asked_for(search, services, tmp_path):
    services.pictures = [Picture(n, size=(600, 400)) for n in (1, 2)]
    options = ["--per-class", "2", "--size", "100", "--source", "commons"]
    assert search({"cat": ["cat"]}, *options)[0] == 0
    assert all(path.startswith("/thumb/") and path.endswith("/250px.jpg") for path in services.loaded)
    sizes = {(s.metadata["width"], s.metadata["height"]) for s in manifest(tmp_path).samples}
    assert sizes == {("150", "100")}


def test_private_addresses_are_not_asked_unless_allowed(search, services, tmp_path):
    status, said = search({"cat": [f"{services.url}/files/1.jpg"]}, "--per-class", "1", private=False)
    assert status == 1
    assert "came up short: 0 of 1 images" in said
    assert services.loaded == []
    assert not list((tmp_path / "out").rglob("*.jpg"))


def test_a_service_cannot_make_us_read_files_of_this_machine(search, services, tmp_path):
    folder = write_class_folders(tmp_path, {"own": 1, "secret": 1})
    services.pictures = [Picture(1)]
    services.overrides = {1: {"url": (folder / "secret" / "000.png").as_uri()}}
    status, said = search({"cat": ["cat", "./own"]}, "--per-class", "2")
    assert status == 1
    assert "1 found and not taken: without a usable address" in said
    assert manifest(tmp_path).counts == {"cat": 1}
    secret = (folder / "secret" / "000.png").read_bytes()
    assert all(sample.path.read_bytes() != secret for sample in manifest(tmp_path).samples)


def test_one_service_replaces_another_that_fails(search, services, tmp_path):
    services.next_answers.append(JSONResponse({"detail": "No."}, 403))
    status, said = search({"cat": ["cat"]}, "--per-class", "5", "--source", "openverse,commons")
    assert status == 0
    assert "warning: openverse gave up on 'cat': 127.0.0.1 answered 403: No." in said
    assert {sample.metadata["service"] for sample in manifest(tmp_path).samples} == {"commons"}


def test_what_arrived_before_a_service_gave_up_can_be_used(search, services, tmp_path):
    refusal = JSONResponse({"detail": "No."}, 403)
    services.next_answers.extend([JSONResponse(openverse_page(services)), refusal])
    status, said = search({"cat": ["cat"]}, "--per-class", "30")
    assert status == 1
    assert "openverse gave up on 'cat': 127.0.0.1 answered 403" in said
    assert "came up short: 1 of 30" in said
    assert manifest(tmp_path).counts == {"cat": 1}
    assert search({"cat": ["cat"]}, "--per-class", "30")[0] == 0


def openverse_page(services):
    """The first of two pages, with one image."""
    result = {
        "id": Picture(1).uuid,
        "url": f"{services.url}/files/1.jpg",
        "license": "by",
        "license_version": "4.0",
    }
    return {"result_count": 30, "page_count": 2, "results": [result]}


def test_an_interruption_is_one_line(search, services, monkeypatch):
    def interrupted(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("tellapart.sources.openverse.Openverse.find", interrupted)
        status, said = search({"cat": ["cat"]}, "--per-class", "2")
    assert status == 130
    assert "interrupted; the same command goes on from here" in said
    assert search({"cat": ["cat"]}, "--per-class", "2")[0] == 0


def test_a_non_commercial_licence_is_warned_of(search, services):
    services.pictures = [Picture(1, licence="by-nc"), Picture(2)]
    status, said = search({"cat": ["cat"]}, "--per-class", "2", "--licence", "cc-by,cc-by-nc")
    assert status == 0
    assert "may not be used commercially" in said


def test_other_queries_need_another_folder(search):
    assert search({"cat": ["cat"]}, "--per-class", "1")[0] == 0
    status, said = search({"cat": ["dog"]}, "--per-class", "1")
    assert status == 1
    assert "begun with" in said


@pytest.mark.parametrize(
    ("option", "value", "words"),
    [
        ("--source", "bing", "no source is called 'bing'; accepted: openverse, commons"),
        ("--licence", "GPL", "no licence is called 'GPL'; accepted: CC-0"),
        ("--size", "huge", "give full, or the short edge in pixels"),
        ("--size", "8", "give full, or the short edge in pixels"),
        ("--size", "²", "give full, or the short edge in pixels"),
    ],
)
def test_what_is_not_understood_is_said_before_anything_is_asked(search, services, option, value, words):
    status, said = search({"cat": ["cat"]}, option, value)
    assert status == 1
    assert words in " ".join(said.split())
    assert services.asked == []


def test_the_card_says_what_to_type(search, tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["tellapart", "fetch", "search", "my photos"])
    assert search({"cat": ["cat"]}, "--per-class", "1")[0] == 0
    assert (
        shlex.join(["tellapart", "fetch", "search", "my photos"]) in (tmp_path / "out/README.md").read_text()
    )


def test_help_needs_no_heavy_library():
    heavy = ("numpy", "torch", "rich", "httpx2", "PIL")
    code = f"""
import sys
from tellapart.cli.app import run
run(["fetch", "search", "--help"])
sys.exit(str([name for name in {heavy} if name in sys.modules]))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.stderr.strip() == "[]"
    assert "--queries" in done.stdout
