"""Attack list 39-41: redirects, name servers and certificates that lie."""

import dataclasses
import os
import shutil
import ssl
import subprocess

import pytest

from tellapart.data import fetch as fetching
from tellapart.data.addresses import NO_ANSWER, ForbiddenAddress
from tellapart.data.fetch import NotAnImage, fetch
from web import PNG, at, http, redirect, refused

# ---------------------------------------------------------------------------------- redirects


@pytest.mark.parametrize(
    "location",
    [
        "http://127.0.0.2:{port}/",
        "//127.0.0.2:{port}/",
        "http://10.0.0.1:{port}/",
        "http://[::1]:{port}/",
        "http://internal.example:{port}/",
        "http://2130706433:{port}/",
        "http://127.1:{port}/",
        "http://[::ffff:127.0.0.1]:{port}/",
        "http://0.0.0.0:{port}/",
        "http://169.254.169.254/latest/meta-data/",
        "http://[fd00:ec2::254]/",
        "http://127.0.0.1:22/",
        "http://user@127.0.0.1:{port}/",
        "http://127.0.0.1:{port}\\@127.0.0.2/",
        "http://127.0.0.1:{port}/a b",
        "http://127.0.0.1:{port}/\t",
        "http://\xb2127.0.0.1:{port}/",
        "file:///etc/passwd",
        "ftp://127.0.0.1:{port}/a.png",
        "gopher://127.0.0.1:{port}/",
        "data:image/png;base64,iVBORw0KGgo=",
        "javascript:alert(1)",
        "http://[",
    ],
)
def test_39_a_redirect_is_checked_like_the_first_address(serve, connected, two_worlds, location):
    server = serve(lambda peer, _head: peer.sendall(redirect(location.format(port=server.port))))
    rules = dataclasses.replace(server.rules, allow_private=False)
    assert refused(server.url, rules, ForbiddenAddress, resolver=at("127.0.0.2")) == NO_ANSWER
    assert connected == [("127.0.0.1", server.port)]


@pytest.mark.parametrize("status", ["301 Moved", "302 Found", "303 Other", "307 Same", "308 Same"])
@pytest.mark.parametrize("location", ["/b.png", "b.png", "?b.png", "//127.0.0.1:{port}/b.png"])
def test_39_an_innocent_redirect_is_followed(serve, status, location):
    def answer(peer, head):
        to = location.format(port=server.port)
        peer.sendall(http() if "b.png" in head else http(b"", status=status, content_type=None, Location=to))

    server = serve(answer)
    assert fetch(server.url, server.rules) == PNG
    assert len(server.heads) == 2


def test_39_three_redirects_and_no_more(serve):
    def answer(peer, head):
        left = int(head.split()[1].removeprefix("/"))
        peer.sendall(redirect(f"/{left - 1}") if left else http())

    server = serve(answer)
    root = server.url.removesuffix("a.png")
    assert fetch(f"{root}3", server.rules) == PNG
    assert "more than 3 redirects" in refused(f"{root}4", server.rules, NotAnImage)
    assert len(server.heads) == 8


def test_39_a_loop_ends(serve):
    server = serve(redirect("/a.png"))
    assert "more than 3 redirects" in refused(server.url, server.rules, NotAnImage)
    assert len(server.heads) == 4


def test_a_redirect_without_a_place_is_followed_to_itself_and_ends(serve):
    server = serve(http(b"", status="302 Found", content_type=None))
    assert "redirects" in refused(server.url, server.rules, NotAnImage)


def test_a_redirect_leaves_no_listed_host(serve):
    server = serve(lambda peer, _head: peer.sendall(redirect(f"http://b.example:{server.port}/")))
    rules = dataclasses.replace(server.rules, hosts=frozenset({"a.example"}))
    url = f"http://a.example:{server.port}/"
    assert refused(url, rules, ForbiddenAddress, resolver=at("127.0.0.1")) == NO_ANSWER
    assert len(server.heads) == 1


# ------------------------------------------------------------------------------- name servers


def test_40_mixed_addresses_are_not_connected_to(serve, connected, two_worlds):
    server = serve(http())
    rules = dataclasses.replace(server.rules, allow_private=False)
    for answer in ("127.0.0.1 127.0.0.2", "127.0.0.2 127.0.0.1"):
        url = f"http://a.example:{server.port}/"
        assert refused(url, rules, ForbiddenAddress, resolver=at(answer)) == NO_ANSWER
    assert connected == []


def test_41_a_name_is_looked_up_once_and_the_checked_address_asked(serve, connected, two_worlds):
    server = serve(http())
    rules = dataclasses.replace(server.rules, allow_private=False)
    resolver = at("127.0.0.1", "127.0.0.2")
    assert fetch(f"http://a.example:{server.port}/", rules, resolver=resolver) == PNG
    assert resolver.calls == 1
    assert connected == [("127.0.0.1", server.port)]


def test_41_a_name_that_changes_during_a_redirect_is_checked_again(serve, connected, two_worlds):
    server = serve(redirect("/b.png"))
    rules = dataclasses.replace(server.rules, allow_private=False)
    resolver = at("127.0.0.1", "127.0.0.2")
    refused(f"http://a.example:{server.port}/", rules, ForbiddenAddress, resolver=resolver)
    assert resolver.calls == 2
    assert connected == [("127.0.0.1", server.port)]


# ---------------------------------------------------------------------------------------- TLS


@pytest.fixture(scope="module")
def certificate(tmp_path_factory):
    """A certificate for images.example that signs itself, and its key."""
    if shutil.which("openssl") is None:
        pytest.skip("needs the openssl command to make a certificate")
    folder = tmp_path_factory.mktemp("tls")
    subject = ["-subj", "/CN=images.example", "-addext", "subjectAltName=DNS:images.example"]
    files = ["-keyout", str(folder / "key.pem"), "-out", str(folder / "cert.pem")]
    kind = ["-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2"]
    subprocess.run(["openssl", "req", *kind, *subject, *files], check=True, capture_output=True)
    return folder


@pytest.fixture
def tls_server(serve, certificate):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate / "cert.pem", certificate / "key.pem")
    names = []
    context.sni_callback = lambda _connection, name, _context: names.append(name)
    server = serve(http(), tls=context)
    server.names = names
    yield server
    fetching._tls.cache_clear()


def test_tls_asks_for_the_name_and_checks_it(tls_server, certificate, monkeypatch):
    monkeypatch.setitem(os.environ, "SSL_CERT_FILE", str(certificate / "cert.pem"))
    fetching._tls.cache_clear()
    for host in ("images.example", "images.example."):
        url = f"https://{host}:{tls_server.port}/a.png"
        assert fetch(url, tls_server.rules, resolver=at("127.0.0.1")) == PNG
    assert tls_server.names == ["images.example"] * 2
    assert f"Host: images.example:{tls_server.port}" in tls_server.heads[0]
    for host in ("other.example", "127.0.0.1"):
        url = f"https://{host}:{tls_server.port}/a.png"
        assert refused(url, tls_server.rules, ForbiddenAddress, resolver=at("127.0.0.1")) == NO_ANSWER
    assert len(tls_server.heads) == 2


def test_tls_of_an_unknown_authority_is_refused(tls_server, monkeypatch):
    monkeypatch.delitem(os.environ, "SSL_CERT_FILE", raising=False)
    fetching._tls.cache_clear()
    url = f"https://images.example:{tls_server.port}/a.png"
    assert refused(url, tls_server.rules, ForbiddenAddress, resolver=at("127.0.0.1")) == NO_ANSWER
    assert tls_server.heads == []
