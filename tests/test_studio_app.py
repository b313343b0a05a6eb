"""The studio over HTTP: its page and files, pictures by number, and what errors become."""

import io
import json
import re
from types import SimpleNamespace

import httpx2
import pytest
from PIL import Image

from browser import opened
from pictures import solid, write_class_folders
from tellapart.data.journal import Journal
from tellapart.studio import operations, pages
from tellapart.studio.operation import Operation


@pytest.fixture
def folder(tmp_path):
    root = write_class_folders(tmp_path / "photos", {"cat": 3, "dog": 3}, size=(400, 300))
    sideways = Image.Exif()
    sideways[274], sideways[270] = 6, "Mrs Example, born 1950"
    solid("red", (300, 200)).save(root / "cat" / "turned.jpg", exif=sideways)
    (root / "dog" / "broken.png").write_bytes(b"\x89PNG and then nothing")
    return root


@pytest.fixture
def studio(folder):
    with opened(folder) as studio, httpx2.Client(base_url=studio.url, follow_redirects=True) as client:
        client.get(studio.link())

        def ask(operation: str, **values: object) -> httpx2.Response:
            return client.post(f"/api/{operation}", json=values, headers={"X-Tellapart": "studio"})

        def number(sample_id: str) -> int:
            return [sample.id for sample in studio.desk.given.samples].index(sample_id)

        yield SimpleNamespace(get=client.get, post=client.post, ask=ask, number=number, desk=studio.desk)


@pytest.fixture
def operation(monkeypatch):
    """Puts a function among the operations under the name ``probe``."""

    def put(function, *, writes: bool = False) -> None:
        monkeypatch.setattr(operations, "operations", lambda: {"probe": Operation(function, writes)})

    return put


def test_every_view_has_its_address_and_all_are_one_page(studio):
    for path in ("/", *(f"/{view}" for view in pages.VIEWS), "/grid?label=cat"):
        answer = studio.get(path)
        assert answer.status_code == 200
        assert '<script type="module" src="/static/core/app.js">' in answer.text
    assert studio.get("/elsewhere").status_code == 404


def test_the_page_names_the_views_that_there_are(studio):
    text = studio.get("/").text
    assert re.findall(r'<a href="/(\w+)" data-view="\1">(\w+)<', text) == list(pages.VIEWS.items())
    for name in pages.views():
        assert studio.get(f"/static/views/{name}.js").status_code == 200
    assert "{" not in text


def test_files_of_the_page_are_asked_for_anew_each_time(studio):
    script = studio.get("/static/core/app.js")
    assert script.headers["content-type"].startswith("text/javascript")
    assert script.headers["cache-control"] == "no-cache"
    again = studio.get("/static/core/app.js", headers={"If-None-Match": script.headers["etag"]})
    assert again.status_code == 304


@pytest.mark.parametrize(
    "path",
    [
        "/static/../app.py",
        "/static/..%2fapp.py",
        "/static/%2e%2e/app.py",
        "/static//etc/passwd",
        "/shared/report.css",
        "/shared/..%2f..%2frecords.py",
        "/thumb/..%2f0",
        "/image/-1",
        "/image/100",
        "/thumb/0/../../etc/passwd",
    ],
)
def test_no_other_file_can_be_had(studio, path):
    assert studio.get(path).status_code == 404


def test_what_draws_curves_is_the_reports_own(studio):
    assert studio.get("/shared/curves.js").text == (pages.SHARED / "curves.js").read_text(encoding="utf-8")


def test_small_pictures_are_kept_by_the_browser(studio):
    answer = studio.get(f"/thumb/{studio.number('cat/000.png')}?s=160&v=1")
    assert answer.headers["content-type"] == "image/jpeg"
    assert answer.headers["cache-control"] == "private, max-age=31536000, immutable"
    assert Image.open(io.BytesIO(answer.content)).size == (160, 120)
    assert studio.get("/thumb/0?s=5000").status_code == 400


def test_whole_pictures_are_upright_and_without_metadata(studio):
    answer = studio.get(f"/image/{studio.number('cat/turned.jpg')}")
    shown = Image.open(io.BytesIO(answer.content))
    assert (shown.format, shown.size) == ("JPEG", (200, 300))
    assert not shown.getexif()
    assert b"Example" not in answer.content


def test_whole_pictures_of_lossless_files_lose_nothing(studio, folder):
    answer = studio.get(f"/image/{studio.number('dog/001.png')}")
    assert answer.headers["content-type"] == "image/png"
    before = Image.open(folder / "dog" / "001.png")
    assert Image.open(io.BytesIO(answer.content)).tobytes() == before.tobytes()


def test_a_broken_file_has_no_picture(studio):
    answer = studio.get(f"/image/{studio.number('dog/broken.png')}")
    assert answer.status_code == 404
    assert "cannot be shown" in answer.text


@pytest.mark.parametrize("body", [b"[]", b"{", b"7", b"\xff", b"[" * 100_000])
def test_a_body_that_is_no_object_is_explained(studio, body):
    headers = {"X-Tellapart": "studio", "Content-Type": "application/json"}
    answer = studio.post("/api/overview", content=body, headers=headers)
    assert answer.status_code == 400
    assert answer.json()["error"].startswith("the request is not")


def test_a_wrong_argument_is_explained(studio, operation):
    operation(lambda desk, arguments: {"i": arguments.integer("i", high=5)})
    assert studio.ask("probe", i=3).json() == {"i": 3}
    answer = studio.ask("probe", i="many")
    assert answer.status_code == 400
    assert answer.json() == {"error": "the argument 'i' is 'many'; accepted: a whole number from 0 to 5"}


def test_our_own_mistakes_are_logged_and_not_shown(studio, operation, caplog):
    def stumble(desk, arguments):
        raise KeyError("a secret")

    operation(stumble)
    answer = studio.ask("probe")
    assert answer.status_code == 500
    assert answer.json() == {"error": "probe went wrong; the studio's terminal shows how"}
    assert "a secret" in caplog.text


def test_any_file_name_comes_through(studio, operation):
    name = "naïve \udcff.png"
    operation(lambda desk, arguments: {"id": arguments.text("id")})
    content = json.dumps({"id": name}).encode()
    headers = {"X-Tellapart": "studio", "Content-Type": "application/json"}
    assert json.loads(studio.post("/api/probe", content=content, headers=headers).content) == {"id": name}


def test_a_conflict_says_what_stands_there_now(studio):
    i = studio.number("cat/001.png")
    wish = {"items": [i], "field": "label", "seen": ["cat"], "source": "key"}
    assert studio.ask("write", **wish, new="dog").status_code == 200
    answer = studio.ask("write", **wish, new="fox")
    assert answer.status_code == 409
    (clash,) = answer.json()["clashes"]
    assert clash.pop("at")
    assert clash.pop("id") == "cat/001.png"
    assert clash == {"i": i, "field": "label", "found": "dog", "wanted": "fox", "by": "ada"}


def test_a_list_that_is_not_known_is_a_conflict_over_no_image(studio):
    answer = studio.ask("positions", list="of another studio", first=0, last=1)
    assert (answer.status_code, answer.json()["clashes"]) == (409, [])
    assert "load it again" in answer.json()["error"]


def test_what_only_reads_writes_nothing(folder, operation):
    operation(lambda desk, arguments: {}, writes=True)
    with opened(folder, read_only=True) as studio, httpx2.Client(base_url=studio.url) as client:
        client.get(studio.link())
        answer = client.post("/api/probe", json={}, headers={"X-Tellapart": "studio"})
    assert answer.status_code == 403
    assert "only reads" in answer.json()["error"]
    assert not Journal(studio.desk.journal.path).path.exists()
