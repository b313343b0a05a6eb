"""The client of downloads: what it asks again, what it gives up, and where it never connects to."""

import json
import socket
import ssl
import subprocess
import threading
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import psutil
import pytest

from image_host import ImageHost, after, answers, breaks_off, hosting
from tellapart.data import addresses
from tellapart.errors import FetchError
from tellapart.sources.session import Refused, Session, Stopped, TryAgain, Unavailable, retry_after_s

PATH = "/list"
OK = answers({"n": 1})


@pytest.fixture
def host() -> Iterator[ImageHost]:
    with hosting() as host:
        yield host


@pytest.fixture
def session() -> Iterator[Session]:
    with Session(allow_private=True, first_pause_s=0.001, attempts=4, timeout_s=5) as session:
        yield session


# ------------------------------------------------------------------------------------- documents


def test_json_with_parameters_added_to_the_address(host, session):
    host.always["/list?cursor=a%3D%3D&limit=100"] = OK
    assert session.get_json(f"{host.url}/list?cursor=a%3D%3D", {"limit": "100"}) == {"n": 1}
    _path, headers = host.asked[0]
    assert headers["user-agent"].startswith("tellapart/")
    assert headers["accept"] == "application/json"


def test_an_address_without_parameters_is_asked_as_it_is(host, session):
    target = "/list?query=diagnosis_1%3A%22Benign%22&cursor=cD0y%2Bx%3D%3D"
    host.always[target] = OK
    session.get_json(host.url + target)
    assert host.paths() == [target]


def test_headers_are_sent(host, session):
    host.always[PATH] = OK
    session.get_json(host.url + PATH, headers={"Authorization": "Bearer key"})
    assert host.asked[0][1]["authorization"] == "Bearer key"


def test_bytes(host, session):
    host.files["/a.png"] = b"pixels"
    assert session.get_bytes(f"{host.url}/a.png") == b"pixels"


def test_bytes_have_a_limit(host, session):
    host.files["/a.png"] = bytes(100_001)
    with pytest.raises(Refused, match="more than 100,000 bytes"):
        session.get_bytes(f"{host.url}/a.png", max_bytes=100_000)


def test_a_connection_is_kept_and_used_again(host, session):
    host.always[PATH] = OK
    for _ in range(5):
        session.get_json(host.url + PATH)
    assert host.connections == 1


def test_threads_that_ended_keep_no_connection(host, session):
    host.always[PATH] = OK
    for _ in range(5):
        thread = threading.Thread(target=session.get_json, args=(host.url + PATH,))
        thread.start()
        thread.join()
    port = int(host.url.rsplit(":")[-1])
    ours = [c for c in psutil.Process().net_connections("tcp") if c.raddr and c.raddr.port == port]
    assert [c.status for c in ours].count(psutil.CONN_ESTABLISHED) == 1
    assert host.connections == 5


def test_a_connection_survives_a_refusal(host, session):
    host.always[PATH] = OK
    with pytest.raises(Refused):
        session.get_json(f"{host.url}/nothing")
    session.get_json(host.url + PATH)
    assert host.connections == 1


# -------------------------------------------------------------------------------------- attempts


@pytest.mark.parametrize("status", [408, 425, 429, 500, 502, 503, 504])
def test_a_passing_failure_is_tried_again(host, session, status):
    host.twists[PATH].extend([answers(b"busy", status), answers(b"busy", status), OK])
    assert session.get_json(host.url + PATH) == {"n": 1}
    assert len(host.asked) == 3


@pytest.mark.parametrize("reset", [False, True])
def test_a_broken_connection_is_tried_again(host, session, reset):
    host.always[PATH] = OK
    host.twists[PATH].append(lambda right: breaks_off(3, reset=reset)(OK(right)))
    assert session.get_json(host.url + PATH) == {"n": 1}
    assert len(host.asked) == 2


def test_after_the_last_attempt_the_last_reason_is_told(host, session):
    host.always[PATH] = answers({"message": "overloaded"}, 503)
    with pytest.raises(Unavailable, match=r"127\.0\.0\.1 answered 503: overloaded"):
        session.get_json(host.url + PATH)
    assert len(host.asked) == 4


@pytest.mark.parametrize("status", [400, 401, 403, 404, 410, 422])
def test_a_refusal_is_final_and_says_why(host, session, status):
    host.always[PATH] = answers({"message": "Could not parse\nsearch query."}, status)
    with pytest.raises(Refused) as caught:
        session.get_json(host.url + PATH)
    assert caught.value.code == status
    assert caught.value.detail == "Could not parse search query."
    assert len(host.asked) == 1


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
def test_reasons_are_one_short_printable_line(host, session, body, detail):
    host.always[PATH] = answers(body, 404)
    with pytest.raises(Refused) as caught:
        session.get_json(host.url + PATH)
    assert caught.value.detail == detail


def test_no_json_is_tried_again_but_not_for_long(host, session):
    host.always[PATH] = answers(b"<html>log in</html>")
    with pytest.raises(Unavailable, match="something else than JSON"):
        session.get_json(host.url + PATH)
    assert len(host.asked) == 2


def test_a_part_that_nobody_asked_for_is_refused(host, session):
    host.always[PATH] = answers(b"{}", 206)
    with pytest.raises(Refused, match="answered 206"):
        session.get_json(host.url + PATH)


def test_silence_ends(host):
    host.always[PATH] = after(2)
    with (
        Session(allow_private=True, first_pause_s=0.001, attempts=1, timeout_s=0.2) as session,
        pytest.raises(Unavailable, match=r"did not answer within 0\.2 s"),
    ):
        session.get_json(host.url + PATH)


def test_a_port_where_nobody_listens(session):
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{unused.getsockname()[1]}/"
    with pytest.raises(Unavailable, match=r"the connection to 127\.0\.0\.1 broke"):
        session.get_json(url)


def test_pauses_are_random_and_their_bound_doubles(host, monkeypatch):
    bounds = []
    monkeypatch.setattr("random.uniform", lambda low, high: bounds.append((low, high)) or 0.0)
    host.always[PATH] = answers(b"", 500)
    with Session(allow_private=True, first_pause_s=8.0) as session, pytest.raises(Unavailable):
        session.get_json(host.url + PATH)
    assert bounds == [(0, 8.0), (0, 16.0), *[(0, 30.0)] * 5]


def test_progress_counts_attempts_anew(session):
    calls = []

    def attempt() -> str:
        calls.append(1)
        if len(calls) == 10:
            return "done"
        error = TryAgain("not yet")
        error.progressed = len(calls) % 3 == 0
        raise error

    assert session.insist(attempt) == "done"


# ------------------------------------------------------------------------- a server that asks for time


def test_retry_after_is_honoured_by_every_thread(host, session):
    host.always[PATH] = OK
    host.twists[PATH].append(answers(b"", 429, Retry_After="1"))
    started = time.monotonic()
    first = threading.Thread(target=session.get_json, args=(host.url + PATH,))
    first.start()
    while not host.asked:
        time.sleep(0.01)
    time.sleep(0.1)
    session.get_json(host.url + PATH)  # waits too, though nobody refused it
    assert time.monotonic() - started >= 1
    first.join()
    assert len(host.asked) == 3


def test_a_pause_is_not_shortened_by_a_later_failure_that_names_none(host, session):
    host.always[PATH] = OK
    host.twists[PATH].append(answers(b"", 429, Retry_After="1"))
    paused = threading.Thread(target=session.get_json, args=(host.url + PATH,))

    def fails_when_the_pause_has_begun(right):
        paused.start()
        return after(0.3)(answers(b"", 503)(right))

    host.twists["/other"].extend([fails_when_the_pause_has_begun, OK])
    started = time.monotonic()
    session.get_json(f"{host.url}/other")
    assert time.monotonic() - started >= 1
    paused.join()
    assert len(host.asked) == 4


def test_the_pause_is_that_of_the_server_that_a_redirect_leads_to(host):
    host.twists["/image"].extend([answers(b"", 429, Retry_After="1"), answers(b"pixels")])
    port = host.url.rsplit(":")[-1]
    host.always["/list"] = answers(b"", 302, Location=f"http://store.example:{port}/image")
    host.always["/page"] = OK
    names = resolver(list_example="127.0.0.1", store_example="127.0.0.1")
    with Session(allow_private=True, resolver=names, first_pause_s=0.001) as session:
        loading = threading.Thread(target=session.get_bytes, args=(f"http://list.example:{port}/list",))
        started = time.monotonic()
        loading.start()
        while "/image" not in host.paths():
            time.sleep(0.01)
        session.get_json(f"http://list.example:{port}/page")  # nobody asked us to spare this one
        assert time.monotonic() - started < 0.9
        loading.join()
        assert time.monotonic() - started >= 1
    assert host.paths().count("/image") == 2


def test_a_server_that_asks_for_too_much_time_is_given_up(host, session):
    host.always[PATH] = answers(b"", 429, Retry_After="3600")
    with pytest.raises(Unavailable, match="asks to wait 3600 s"):
        session.get_json(host.url + PATH)
    assert len(host.asked) == 1


def test_retry_after_is_read_as_seconds_or_as_a_date():
    in_a_minute = format_datetime(datetime.now(UTC) + timedelta(seconds=60), usegmt=True)
    assert retry_after_s("7") == 7
    assert 55 < retry_after_s(in_a_minute) <= 60
    assert retry_after_s("Wed, 21 Oct 2015 07:28:00 GMT") == 0
    for nonsense in ("", "soon", "-3", "\u0663"):
        assert retry_after_s(nonsense) == 0


def test_stop_ends_a_pause(host):
    host.always[PATH] = answers(b"", 429, Retry_After="60")
    with Session(allow_private=True) as session:
        threading.Timer(0.2, session.stop).start()
        started = time.monotonic()
        with pytest.raises(Stopped):
            session.get_json(host.url + PATH)
        assert time.monotonic() - started < 5
        with pytest.raises(Stopped):
            session.get_json(host.url + PATH)
    assert len(host.asked) == 1


# ------------------------------------------------------------------------------------- addresses


@pytest.fixture
def connected(monkeypatch) -> list[tuple]:
    """Every address that a socket of this process was connected to."""
    seen = []
    connect = socket.socket.connect

    def recording(sock, address):
        seen.append(address[:2])
        return connect(sock, address)

    monkeypatch.setattr(socket.socket, "connect", recording)
    return seen


def resolver(**known: str):
    """Look names up in a table; a value may be an errno of `socket.gaierror`."""

    def look_up(host, port, *, type):
        answer = known[host.replace(".", "_")]
        if isinstance(answer, int):
            raise socket.gaierror(answer, "no")
        return [(socket.AF_INET, type, 6, "", (address, port)) for address in answer.split()]

    return look_up


@pytest.mark.parametrize(
    "host",
    [
        "127.0.0.1",
        "localhost",
        "[::1]",
        "10.0.0.1",
        "169.254.169.254",
        "inside.example",
        "[::ffff:127.0.0.1]",
    ],
)
def test_private_networks_are_not_asked(connected, host):
    look_up = resolver(inside_example="192.168.0.1", localhost="127.0.0.1")
    with (
        Session(resolver=look_up) as session,
        pytest.raises(Refused, match="--allow-private permits"),
    ):
        session.get_bytes(f"http://{host}/")
    assert connected == []


def test_other_ports_are_not_asked(connected):
    with Session() as session, pytest.raises(Refused, match="port 80 or 443"):
        session.get_bytes("http://8.8.8.8:22/")
    assert connected == []


@pytest.mark.parametrize("host", ["169.254.169.254", "[fe80::a9fe:a9fe]", "0.0.0.0", "224.0.0.1"])
def test_metadata_services_are_never_asked(connected, host):
    with Session(allow_private=True) as session, pytest.raises(Refused, match="is never asked"):
        session.get_bytes(f"http://{host}/latest/meta-data/")
    assert connected == []


def test_a_name_with_one_private_address_among_others_is_refused(connected):
    with Session(resolver=resolver(a_example="8.8.8.8 127.0.0.1")) as session, pytest.raises(Refused):
        session.get_bytes("http://a.example/")
    assert connected == []


@pytest.mark.parametrize(
    "location",
    ["http://10.1.2.3/", "http://169.254.169.254/", "http://inside.example/", "//10.1.2.3/", "http://[::1]/"],
)
def test_a_redirect_is_checked_again(host, connected, monkeypatch, location):
    loopback = [net for net in addresses.INTERNAL if str(net) != "127.0.0.0/8"]
    monkeypatch.setattr(addresses, "INTERNAL", tuple(loopback))
    monkeypatch.setattr(
        "tellapart.sources.network.DEFAULT_PORTS", {"http": 80, "https": int(host.url.rsplit(":")[-1])}
    )
    host.always["/a"] = answers(b"", 302, Location=location)
    with (
        Session(resolver=resolver(inside_example="192.168.0.1")) as session,
        pytest.raises(Refused, match="is not asked"),
    ):
        session.get_bytes(f"{host.url}/a")
    assert {address for address, _port in connected} == {"127.0.0.1"}
    assert host.paths() == ["/a"]


@pytest.mark.parametrize(
    "location", ["file:///etc/passwd", "ftp://127.0.0.1/a", "ws://127.0.0.1/", "data:,a"]
)
def test_a_redirect_to_something_else_than_the_web_is_refused(host, session, location):
    host.always["/a"] = answers(b"", 302, Location=location)
    with pytest.raises(FetchError):
        session.get_bytes(f"{host.url}/a")
    assert set(host.paths()) == {"/a"}


@pytest.mark.parametrize(
    "url", ["file:///etc/passwd", "/etc/passwd", "gopher://a.example/", "http://a:b/", ""]
)
def test_something_else_than_a_web_address(session, url):
    with pytest.raises(Refused, match="not an http or https address"):
        session.get_bytes(url)


def test_an_innocent_redirect_is_followed_and_a_loop_ends(host, session):
    host.always["/a"] = answers(b"", 301, Location="/b")
    host.files["/b"] = b"here"
    assert session.get_bytes(f"{host.url}/a") == b"here"
    host.always["/loop"] = answers(b"", 302, Location="/loop")
    with pytest.raises(Refused, match="redirects more than 5 times"):
        session.get_bytes(f"{host.url}/loop")


def test_a_name_is_connected_to_at_the_address_that_was_checked(host, connected):
    port = int(host.url.rsplit(":")[-1])
    host.files["/a"] = b"here"
    with Session(allow_private=True, resolver=resolver(photos_example="127.0.0.1")) as session:
        assert session.get_bytes(f"http://Photos.example:{port}/a") == b"here"
    assert connected == [("127.0.0.1", port)]
    assert host.asked[0][1]["host"] == f"photos.example:{port}"


def test_an_unknown_name_is_not_tried_again_but_a_silent_name_server_is():
    names = resolver(gone_example=socket.EAI_NONAME, silent_example=socket.EAI_AGAIN)
    calls = []

    def counting(host, port, **options):
        calls.append(host)
        return names(host, port, **options)

    with Session(resolver=counting, attempts=3, first_pause_s=0.001) as session:
        with pytest.raises(Unavailable, match=r"no server is known by the name gone\.example"):
            session.get_bytes("http://gone.example/")
        with pytest.raises(Unavailable, match=r"no name server answers for silent\.example"):
            session.get_bytes("http://silent.example/")
    assert calls == ["gone.example", *["silent.example"] * 3]


def test_proxies_of_the_environment_are_ignored(host, session, monkeypatch):
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    monkeypatch.setenv("ALL_PROXY", "http://127.0.0.1:9")
    host.files["/a"] = b"here"
    with Session(allow_private=True, attempts=1) as fresh:
        assert fresh.get_bytes(f"{host.url}/a") == b"here"


def test_a_certificate_that_nobody_vouches_for_is_refused_at_once(tmp_path, session):
    made = ["-keyout", "key.pem", "-out", "cert.pem", "-subj", "/CN=localhost", "-days", "1"]
    command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", *made]
    subprocess.run(command, cwd=tmp_path, check=True, capture_output=True)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(tmp_path / "cert.pem", tmp_path / "key.pem")
    with hosting(tls=context) as host, pytest.raises(Refused, match="a certificate that cannot be trusted"):
        session.get_bytes(f"{host.url}/a")


def test_answers_are_read_as_utf_8(host, session):
    host.always[PATH] = answers(json.dumps({"who": "Zoë 李"}, ensure_ascii=False).encode())
    assert session.get_json(host.url + PATH) == {"who": "Zoë 李"}
