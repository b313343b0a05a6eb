"""Who may use the studio: one browser per link, this machine by its own name, and no other web page."""

import httpx2
import pytest

from browser import opened
from pictures import write_class_folders
from servers import send_raw
from tellapart.studio.guard import MAX_BODY_BYTES, Door

ASK = {"X-Tellapart": "studio"}


@pytest.fixture(scope="module")
def studio(tmp_path_factory):
    folder = write_class_folders(tmp_path_factory.mktemp("guarded") / "photos", {"cat": 2, "dog": 2})
    with opened(folder) as studio:
        yield studio


@pytest.fixture
def known(studio):
    """A client that came in by a link."""
    with httpx2.Client(base_url=studio.url, follow_redirects=True) as client:
        assert client.get(studio.link()).status_code == 200
        yield client


def test_a_link_gives_a_cookie_and_leaves_the_address(studio):
    answer = httpx2.get(studio.link().replace("/?", "/grid?label=a%26b&"))
    assert answer.status_code == 303
    assert answer.headers["location"] == "/grid?label=a%26b"
    cookie = answer.headers["set-cookie"].lower()
    assert "httponly" in cookie
    assert "samesite=strict" in cookie


def test_a_link_works_once(studio):
    link = studio.link()
    assert httpx2.get(link).status_code == 303
    second = httpx2.get(link)
    assert second.status_code == 403
    assert "each works once" in second.text
    assert "set-cookie" not in second.headers


def test_after_a_link_was_used_another_one_is_told():
    told: list[str] = []
    door = Door(on_entered=lambda: told.append(door.token))
    first = door.token
    session = door.enter(first)
    assert door.knows(session)
    assert door.enter(first) is None
    assert told == [door.token]
    assert door.token != first


def test_one_who_is_known_already_may_follow_an_old_link(studio, known):
    assert known.get("/?token=old").status_code == 200


@pytest.mark.parametrize(
    "path", ["/", "/static/core/app.js", "/thumb/0", "/image/0", "/api/overview", "/nowhere"]
)
def test_without_the_cookie_nothing_is_shown(studio, path):
    assert httpx2.get(studio.url + path).status_code == 403
    wrong = {f"tellapart-studio-{studio.url.rpartition(':')[2]}": "wrong"}
    assert httpx2.get(studio.url + path, cookies=wrong).status_code == 403


@pytest.mark.parametrize(
    "host", ["evil.example", "evil.example:80", "127.0.0.1.evil.example", "", "10.1.1.1"]
)
def test_a_foreign_name_that_points_here_is_refused_even_with_the_cookie(studio, known, host):
    assert known.get("/", headers={"Host": host}).status_code == 400


def test_a_tunnel_from_another_port_may_lead_here(known):
    assert known.get("/", headers={"Host": "localhost:8000"}).status_code == 200


@pytest.mark.parametrize(
    ("headers", "status", "says"),
    [
        ({}, 403, "X-Tellapart"),
        ({**ASK, "Content-Type": "text/plain"}, 415, "application/json"),
        ({**ASK, "Origin": "http://evil.example"}, 403, "another web page"),
        ({**ASK, "Origin": "null"}, 403, "another web page"),
        ({**ASK, "Origin": "http://127.0.0.1:1"}, 403, "another web page"),
    ],
)
def test_only_our_own_page_may_have_something_done(known, headers, status, says):
    answer = known.post(
        "/api/nothing", content=b"{}", headers={"Content-Type": "application/json", **headers}
    )
    assert answer.status_code == status
    assert says in answer.json()["error"]


def test_our_own_page_gets_through_to_the_operations(studio, known):
    answer = known.post("/api/nothing", json={}, headers={**ASK, "Origin": studio.url})
    assert answer.status_code == 400
    assert answer.json() == {"error": "there is no operation 'nothing'"}


def test_a_form_of_another_page_cannot_pass(known):
    form = known.post("/api/write", data={"items": "1"})
    assert form.status_code == 403


@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE", "OPTIONS"])
def test_operations_are_asked_by_post_only(known, method):
    answer = known.request(method, "/api/overview", headers={**ASK, "Content-Type": "application/json"})
    assert answer.status_code == 405


def test_a_body_that_is_too_large_is_refused_before_it_is_sent(studio, known):
    host = studio.url.removeprefix("http://")
    cookies = "; ".join(f"{name}={value}" for name, value in known.cookies.items())
    head = (
        f"POST /api/try HTTP/1.1\r\nHost: {host}\r\nCookie: {cookies}\r\nX-Tellapart: studio\r\n"
        f"Content-Type: application/json\r\nContent-Length: {MAX_BODY_BYTES + 1}\r\n\r\n"
    )
    assert send_raw(studio.url, head.encode()).startswith(b"HTTP/1.1 413")


def test_a_body_of_unknown_length_is_counted(known):
    chunks = (b" " * 1_000_000 for _ in range(30))
    headers = {**ASK, "Content-Type": "application/json"}
    try:
        status = known.post("/api/try", content=chunks, headers=headers).status_code
    except httpx2.WriteError:  # it hung up while we were still sending
        status = 413
    assert status == 413


def test_every_answer_keeps_other_pages_out(known):
    for path in ("/", "/static/style.css", "/thumb/0", "/nowhere"):
        headers = known.get(path).headers
        assert headers["content-security-policy"].startswith(
            "default-src 'self'; img-src 'self' blob: data:;"
        )
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["cross-origin-resource-policy"] == "same-origin"
        assert "access-control-allow-origin" not in headers
