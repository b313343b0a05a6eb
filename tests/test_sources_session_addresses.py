"""Where the client of downloads never connects: private networks, odd addresses, hosts of no standing."""

import json
import socket
import ssl
import subprocess

import pytest

from image_host import answers, hosting
from sessions import PATH, resolver
from tellapart.data import addresses
from tellapart.errors import FetchError
from tellapart.sources.session import Refused, Session, Unavailable

# ------------------------------------------------------------------------------------- addresses


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
def test_a_redirect_is_checked_again(web_host, connected, monkeypatch, location):
    loopback = [net for net in addresses.INTERNAL if str(net) != "127.0.0.0/8"]
    monkeypatch.setattr(addresses, "INTERNAL", tuple(loopback))
    monkeypatch.setattr(
        "tellapart.sources.network.DEFAULT_PORTS", {"http": 80, "https": int(web_host.url.rsplit(":")[-1])}
    )
    web_host.always["/a"] = answers(b"", 302, Location=location)
    with (
        Session(resolver=resolver(inside_example="192.168.0.1")) as session,
        pytest.raises(Refused, match="is not asked"),
    ):
        session.get_bytes(f"{web_host.url}/a")
    assert {address for address, _port in connected} == {"127.0.0.1"}
    assert web_host.paths() == ["/a"]


@pytest.mark.parametrize(
    "location", ["file:///etc/passwd", "ftp://127.0.0.1/a", "ws://127.0.0.1/", "data:,a"]
)
def test_a_redirect_to_something_else_than_the_web_is_refused(web_host, web_session, location):
    web_host.always["/a"] = answers(b"", 302, Location=location)
    with pytest.raises(FetchError):
        web_session.get_bytes(f"{web_host.url}/a")
    assert set(web_host.paths()) == {"/a"}


@pytest.mark.parametrize(
    "url", ["file:///etc/passwd", "/etc/passwd", "gopher://a.example/", "http://a:b/", ""]
)
def test_something_else_than_a_web_address(web_session, url):
    with pytest.raises(Refused, match="not an http or https address"):
        web_session.get_bytes(url)


def test_an_innocent_redirect_is_followed_and_a_loop_ends(web_host, web_session):
    web_host.always["/a"] = answers(b"", 301, Location="/b")
    web_host.files["/b"] = b"here"
    assert web_session.get_bytes(f"{web_host.url}/a") == b"here"
    web_host.always["/loop"] = answers(b"", 302, Location="/loop")
    with pytest.raises(Refused, match="redirects more than 5 times"):
        web_session.get_bytes(f"{web_host.url}/loop")


def test_a_name_is_connected_to_at_the_address_that_was_checked(web_host, connected):
    port = int(web_host.url.rsplit(":")[-1])
    web_host.files["/a"] = b"here"
    with Session(allow_private=True, resolver=resolver(photos_example="127.0.0.1")) as session:
        assert session.get_bytes(f"http://Photos.example:{port}/a") == b"here"
    assert connected == [("127.0.0.1", port)]
    assert web_host.asked[0][1]["host"] == f"photos.example:{port}"


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


def test_proxies_of_the_environment_are_ignored(web_host, web_session, monkeypatch):
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    monkeypatch.setenv("ALL_PROXY", "http://127.0.0.1:9")
    web_host.files["/a"] = b"here"
    with Session(allow_private=True, attempts=1) as fresh:
        assert fresh.get_bytes(f"{web_host.url}/a") == b"here"


def test_a_certificate_that_nobody_vouches_for_is_refused_at_once(tmp_path, web_session):
    made = ["-keyout", "key.pem", "-out", "cert.pem", "-subj", "/CN=localhost", "-days", "1"]
    command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", *made]
    subprocess.run(command, cwd=tmp_path, check=True, capture_output=True)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(tmp_path / "cert.pem", tmp_path / "key.pem")
    with hosting(tls=context) as host, pytest.raises(Refused, match="a certificate that cannot be trusted"):
        web_session.get_bytes(f"{host.url}/a")


def test_answers_are_read_as_utf_8(web_host, web_session):
    web_host.always[PATH] = answers(json.dumps({"who": "Zoë 李"}, ensure_ascii=False).encode())
    assert web_session.get_json(web_host.url + PATH) == {"who": "Zoë 李"}
