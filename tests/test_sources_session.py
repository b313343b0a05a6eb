"""The client of downloads: what it asks again, and what it gives up."""

import socket
import threading
import time
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import psutil
import pytest

from image_host import after, answers, breaks_off
from sessions import PATH, resolver
from tellapart.sources.session import Refused, Session, Stopped, TryAgain, Unavailable, retry_after_s

OK = answers({"n": 1})


# ------------------------------------------------------------------------------------- documents


def test_json_with_parameters_added_to_the_address(web_host, web_session):
    web_host.always["/list?cursor=a%3D%3D&limit=100"] = OK
    assert web_session.get_json(f"{web_host.url}/list?cursor=a%3D%3D", {"limit": "100"}) == {"n": 1}
    _path, headers = web_host.asked[0]
    assert headers["user-agent"].startswith("tellapart/")
    assert headers["accept"] == "application/json"


def test_an_address_without_parameters_is_asked_as_it_is(web_host, web_session):
    target = "/list?query=diagnosis_1%3A%22Benign%22&cursor=cD0y%2Bx%3D%3D"
    web_host.always[target] = OK
    web_session.get_json(web_host.url + target)
    assert web_host.paths() == [target]


def test_headers_are_sent(web_host, web_session):
    web_host.always[PATH] = OK
    web_session.get_json(web_host.url + PATH, headers={"Authorization": "Bearer key"})
    assert web_host.asked[0][1]["authorization"] == "Bearer key"


def test_bytes(web_host, web_session):
    web_host.files["/a.png"] = b"pixels"
    assert web_session.get_bytes(f"{web_host.url}/a.png") == b"pixels"


def test_bytes_have_a_limit(web_host, web_session):
    web_host.files["/a.png"] = bytes(100_001)
    with pytest.raises(Refused, match="more than 100,000 bytes"):
        web_session.get_bytes(f"{web_host.url}/a.png", max_bytes=100_000)


def test_a_connection_is_kept_and_used_again(web_host, web_session):
    web_host.always[PATH] = OK
    for _ in range(5):
        web_session.get_json(web_host.url + PATH)
    assert web_host.connections == 1


def test_threads_that_ended_keep_no_connection(web_host, web_session):
    web_host.always[PATH] = OK
    for _ in range(5):
        thread = threading.Thread(target=web_session.get_json, args=(web_host.url + PATH,))
        thread.start()
        thread.join()
    port = int(web_host.url.rsplit(":")[-1])
    ours = [c for c in psutil.Process().net_connections("tcp") if c.raddr and c.raddr.port == port]
    assert [c.status for c in ours].count(psutil.CONN_ESTABLISHED) == 1
    assert web_host.connections == 5


def test_a_connection_survives_a_refusal(web_host, web_session):
    web_host.always[PATH] = OK
    with pytest.raises(Refused):
        web_session.get_json(f"{web_host.url}/nothing")
    web_session.get_json(web_host.url + PATH)
    assert web_host.connections == 1


# -------------------------------------------------------------------------------------- attempts


@pytest.mark.parametrize("status", [408, 425, 429, 500, 502, 503, 504])
def test_a_passing_failure_is_tried_again(web_host, web_session, status):
    web_host.twists[PATH].extend([answers(b"busy", status), answers(b"busy", status), OK])
    assert web_session.get_json(web_host.url + PATH) == {"n": 1}
    assert len(web_host.asked) == 3


@pytest.mark.parametrize("reset", [False, True])
def test_a_broken_connection_is_tried_again(web_host, web_session, reset):
    web_host.always[PATH] = OK
    web_host.twists[PATH].append(lambda right: breaks_off(3, reset=reset)(OK(right)))
    assert web_session.get_json(web_host.url + PATH) == {"n": 1}
    assert len(web_host.asked) == 2


def test_after_the_last_attempt_the_last_reason_is_told(web_host, web_session):
    web_host.always[PATH] = answers({"message": "overloaded"}, 503)
    with pytest.raises(Unavailable, match=r"127\.0\.0\.1 answered 503: overloaded"):
        web_session.get_json(web_host.url + PATH)
    assert len(web_host.asked) == 4


@pytest.mark.parametrize("status", [400, 401, 403, 404, 410, 422])
def test_a_refusal_is_final_and_says_why(web_host, web_session, status):
    web_host.always[PATH] = answers({"message": "Could not parse\nsearch query."}, status)
    with pytest.raises(Refused) as caught:
        web_session.get_json(web_host.url + PATH)
    assert caught.value.code == status
    assert caught.value.detail == "Could not parse search query."
    assert len(web_host.asked) == 1


@pytest.mark.parametrize(
    ("body", "detail"),
    [
        (b'{"detail": "Not Found"}', "Not Found"),
        (b'["a", "list"]', ""),
        (b"<html>", ""),
        (b"\xff\xfe", ""),
        (b'{"detail": "' + b"x" * 500 + b'"}', "x" * 199 + "…"),
        (b'{"detail": "' + b"x" * 50_000 + b'"}', ""),
        (b'{"detail": "\\u001b[31mred"}', "[31mred"),
    ],
)
def test_reasons_are_one_short_printable_line(web_host, web_session, body, detail):
    web_host.always[PATH] = answers(body, 404)
    with pytest.raises(Refused) as caught:
        web_session.get_json(web_host.url + PATH)
    assert caught.value.detail == detail


def test_no_json_is_tried_again_but_not_for_long(web_host, web_session):
    web_host.always[PATH] = answers(b"<html>log in</html>")
    with pytest.raises(Unavailable, match="something else than JSON"):
        web_session.get_json(web_host.url + PATH)
    assert len(web_host.asked) == 2


def test_a_part_that_nobody_asked_for_is_refused(web_host, web_session):
    web_host.always[PATH] = answers(b"{}", 206)
    with pytest.raises(Refused, match="answered 206"):
        web_session.get_json(web_host.url + PATH)


def test_silence_ends(web_host):
    web_host.always[PATH] = after(2)
    with (
        Session(allow_private=True, first_pause_s=0.001, attempts=1, timeout_s=0.2) as session,
        pytest.raises(Unavailable, match=r"did not answer within 0\.2 s"),
    ):
        session.get_json(web_host.url + PATH)


def test_a_port_where_nobody_listens(web_session):
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{unused.getsockname()[1]}/"
    with pytest.raises(Unavailable, match=r"the connection to 127\.0\.0\.1 broke"):
        web_session.get_json(url)


def test_pauses_are_random_and_their_bound_doubles(web_host, monkeypatch):
    bounds = []
    monkeypatch.setattr("random.uniform", lambda low, high: bounds.append((low, high)) or 0.0)
    web_host.always[PATH] = answers(b"", 500)
    with Session(allow_private=True, first_pause_s=8.0) as session, pytest.raises(Unavailable):
        session.get_json(web_host.url + PATH)
    assert bounds == [(0, 8.0), (0, 16.0), *[(0, 30.0)] * 5]


def test_progress_counts_attempts_anew(web_session):
    calls = []

    def attempt() -> str:
        calls.append(1)
        if len(calls) == 10:
            return "done"
        error = TryAgain("not yet")
        error.progressed = len(calls) % 3 == 0
        raise error

    assert web_session.insist(attempt) == "done"


# ------------------------------------------------------------------------- a server that asks for time


def test_retry_after_is_honoured_by_every_thread(web_host, web_session):
    web_host.always[PATH] = OK
    web_host.twists[PATH].append(answers(b"", 429, Retry_After="1"))
    started = time.monotonic()
    first = threading.Thread(target=web_session.get_json, args=(web_host.url + PATH,))
    first.start()
    while not web_host.asked:
        time.sleep(0.01)
    time.sleep(0.1)
    web_session.get_json(web_host.url + PATH)  # waits too, though nobody refused it
    assert time.monotonic() - started >= 1
    first.join()
    assert len(web_host.asked) == 3


def test_a_pause_is_not_shortened_by_a_later_failure_that_names_none(web_host, web_session):
    web_host.always[PATH] = OK
    web_host.twists[PATH].append(answers(b"", 429, Retry_After="1"))
    paused = threading.Thread(target=web_session.get_json, args=(web_host.url + PATH,))

    def fails_when_the_pause_has_begun(right):
        paused.start()
        return after(0.3)(answers(b"", 503)(right))

    web_host.twists["/other"].extend([fails_when_the_pause_has_begun, OK])
    started = time.monotonic()
    web_session.get_json(f"{web_host.url}/other")
    assert time.monotonic() - started >= 1
    paused.join()
    assert len(web_host.asked) == 4


def test_the_pause_is_that_of_the_server_that_a_redirect_leads_to(web_host):
    web_host.twists["/image"].extend([answers(b"", 429, Retry_After="1"), answers(b"pixels")])
    port = web_host.url.rsplit(":")[-1]
    web_host.always["/list"] = answers(b"", 302, Location=f"http://store.example:{port}/image")
    web_host.always["/page"] = OK
    names = resolver(list_example="127.0.0.1", store_example="127.0.0.1")
    with Session(allow_private=True, resolver=names, first_pause_s=0.001) as session:
        loading = threading.Thread(target=session.get_bytes, args=(f"http://list.example:{port}/list",))
        started = time.monotonic()
        loading.start()
        while "/image" not in web_host.paths():
            time.sleep(0.01)
        session.get_json(f"http://list.example:{port}/page")  # nobody asked us to spare this one
        assert time.monotonic() - started < 0.9
        loading.join()
        assert time.monotonic() - started >= 1
    assert web_host.paths().count("/image") == 2


def test_a_server_that_asks_for_too_much_time_is_given_up(web_host, web_session):
    web_host.always[PATH] = answers(b"", 429, Retry_After="3600")
    with pytest.raises(Unavailable, match="asks to wait 3600 s"):
        web_session.get_json(web_host.url + PATH)
    assert len(web_host.asked) == 1


def test_retry_after_is_read_as_seconds_or_as_a_date():
    in_a_minute = format_datetime(datetime.now(UTC) + timedelta(seconds=60), usegmt=True)
    assert retry_after_s("7") == 7
    assert 55 < retry_after_s(in_a_minute) <= 60
    assert retry_after_s("Wed, 21 Oct 2015 07:28:00 GMT") == 0
    for nonsense in ("", "soon", "-3", "\u0663"):
        assert retry_after_s(nonsense) == 0


def test_stop_ends_a_pause(web_host):
    web_host.always[PATH] = answers(b"", 429, Retry_After="60")
    with Session(allow_private=True) as session:
        threading.Timer(0.2, session.stop).start()
        started = time.monotonic()
        with pytest.raises(Stopped):
            session.get_json(web_host.url + PATH)
        assert time.monotonic() - started < 5
        with pytest.raises(Stopped):
            session.get_json(web_host.url + PATH)
    assert len(web_host.asked) == 1
