"""Attack list 33-38 and 40: addresses that nobody may make us ask."""

import ipaddress
import socket
import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tellapart.data.addresses import NO_ANSWER, ForbiddenAddress, is_allowed, resolve
from tellapart.errors import FetchError

PUBLIC = "93.184.216.34"


def answering(*addresses: str):
    """A resolver that knows every name, and keeps what it was asked in `.asked`."""

    def resolver(host, port, *, type):
        resolver.asked.append(host)
        return [(socket.AF_INET, type, 6, "", (address, port)) for address in addresses]

    resolver.asked = []
    return resolver


FORBIDDEN = {
    33: [
        "http://127.0.0.1/a.png",
        "http://127.255.255.254/a.png",
        "http://127.0.0.1./a.png",
        "http://localhost/a.png",
        "http://LOCALHOST./a.png",
        "http://0.0.0.0/a.png",
        "http://0/a.png",
        "http://127.1/a.png",
        "http://127.0.1/a.png",
        "http://2130706433/a.png",
        "http://0x7f000001/a.png",
        "http://0X7F000001/a.png",
        "http://0x7f.0.0.1/a.png",
        "http://0x7f.1/a.png",
        "http://0177.0.0.1/a.png",
        "http://017700000001/a.png",
        "http://127.0.0.01/a.png",
        "http://127.0.0.0x1/a.png",
        "http://0x/a.png",
        "http://4294967297/a.png",
        "http://256.256.256.256/a.png",
        "http://1.2.3.4.5/a.png",
    ],
    34: [
        "http://[::1]/a.png",
        "http://[0:0:0:0:0:0:0:1]/a.png",
        "http://[::]/a.png",
        "http://[::127.0.0.1]/a.png",
        "http://[::ffff:127.0.0.1]/a.png",
        "http://[::ffff:7f00:1]/a.png",
        "http://[::ffff:8.8.8.8]/a.png",
        "http://[::ffff:0:127.0.0.1]/a.png",
        "http://[64:ff9b::127.0.0.1]/a.png",
        "http://[64:ff9b::a9fe:a9fe]/a.png",
        "http://[64:ff9b:1::a00:1]/a.png",
        "http://[2002:7f00:1::]/a.png",
        "http://[2002:a9fe:a9fe::]/a.png",
        "http://[2001:0:a9fe:a9fe::1]/a.png",
        "http://[fec0::1]/a.png",
        "http://[fe80::1]/a.png",
        "http://[fe80::1%lo]/a.png",
        "http://[fe80::1%25lo]/a.png",
        "http://[fc00::1]/a.png",
        "http://[fdab::1]/a.png",
        "http://[ff02::1]/a.png",
        "http://[100::1]/a.png",
        "http://[2001:db8::1]/a.png",
        "http://[3fff::1]/a.png",
        "http://[4000::1]/a.png",
        "http://[127.0.0.1]/a.png",
        "http://[::1/a.png",
        "http://::1/a.png",
        "http://[:::1]/a.png",
        "http://[]/a.png",
    ],
    35: [
        "http://169.254.169.254/latest/meta-data/",
        "http://169.254.170.2/v2/credentials",
        "http://[fd00:ec2::254]/latest/meta-data/",
        "http://[fd20:ce::254]/",
        "http://[fd00:c1::a9fe:a9fe]/opc/v2/",
        "http://[fd00:42::42]/",
        "http://168.63.129.16/machine",
        "http://100.100.100.200/latest/meta-data/",
        "http://192.0.0.192/latest/",
        "http://2852039166/",
        "http://0xa9fea9fe/",
        "http://[::ffff:a9fe:a9fe]/",
    ],
    36: [
        "http://10.0.0.1/a.png",
        "http://10.255.255.255/a.png",
        "http://172.16.0.1/a.png",
        "http://172.31.255.255/a.png",
        "http://192.168.1.1/a.png",
        "http://100.64.0.1/a.png",
        "http://100.127.255.255/a.png",
        "http://198.18.0.1/a.png",
        "http://192.0.2.1/a.png",
        "http://192.88.99.1/a.png",
        "http://224.0.0.1/a.png",
        "http://239.255.255.250/a.png",
        "http://240.0.0.1/a.png",
        "http://255.255.255.255/a.png",
    ],
    37: [
        "file:///etc/passwd",
        "ftp://example.org/a.png",
        "gopher://example.org:80/_GET",
        "data:image/png;base64,iVBORw0KGgo=",
        "//example.org/a.png",
        "example.org/a.png",
        "/etc/passwd",
        "http:example.org/a.png",
        "http:/example.org/a.png",
        "http:///a.png",
        "http://",
        "http\u017f://example.org/a.png",
        "",
    ],
    38: [
        "http://user@example.org/a.png",
        "http://user:password@example.org/a.png",
        "http://example.org@127.0.0.1/a.png",
        "http://example.org:80@127.0.0.1/a.png",
        "http://example.org\\@127.0.0.1/a.png",
        "http://127.0.0.1\\@example.org/a.png",
        "http://example.org/\\a.png",
        "http://example.org/#@127.0.0.1\\",
        "http:\\\\example.org\\a.png",
        "http://exam\tple.org/a.png",
        "http://example.org/a\tb.png",
        "http://example.org/a.png\r\nHost: internal",
        "http://example.org/a.png\n",
        " http://example.org/a.png",
        "http://example.org/a b.png",
        "http://example.org/a.png\x00",
        "http://example.org/\x7f",
        "http://\uff11\uff12\uff17.0.0.1/a.png",
        "http://\u2460\u2461\u2466.0.0.1/a.png",
        "http://127\u30020\u30020\u30021/a.png",
        "http://ex\u00e4mple.org/a.png",
        "http://example.org/\u00e4.png",
        "http://example.org/\ud800",
        "http://127%2e0.0.1/a.png",
        "http://example.or\u212a/a.png",
        "http://exa%6dple.org/a.png",
        "http://example..org/a.png",
        "http://.example.org/a.png",
        "http://example.org../a.png",
        f"http://{'a' * 64}.org/a.png",
        f"http://{'a.' * 127}org/a.png",
        f"http://example.org/{'a' * 9000}",
        "http://example.org:22/a.png",
        "http://example.org:8080/a.png",
        "http://example.org:0/a.png",
        "http://example.org:00080/a.png",
        "http://example.org:99999/a.png",
        "http://example.org:65616/a.png",
        "http://example.org:-80/a.png",
        "http://example.org:+80/a.png",
        "http://example.org:\uff18\uff10/a.png",
        "http://example.org:80:80/a.png",
        "http://example.org:/a.png",
    ],
}
URLS = [(number, url) for number, urls in FORBIDDEN.items() for url in urls]


@pytest.mark.parametrize(("number", "url"), URLS, ids=lambda value: ascii(value)[:60])
def test_forbidden(number, url):
    """Each is refused in the same words, though the names among them resolve to a public address."""
    resolver = answering("127.0.0.1" if "localhost" in url.lower() else PUBLIC)
    with pytest.raises(ForbiddenAddress) as caught:
        resolve(url, resolver=resolver)
    assert isinstance(caught.value, FetchError)
    assert (caught.value.status, str(caught.value)) == (400, NO_ANSWER)


def test_the_system_s_own_resolver_finds_localhost_and_is_not_believed():
    with pytest.raises(ForbiddenAddress):
        resolve("http://localhost/a.png")


@pytest.mark.parametrize(
    "addresses",
    [
        ("127.0.0.1",),
        (PUBLIC, "127.0.0.1"),
        ("10.0.0.1", PUBLIC),
        (PUBLIC, "::1"),
        (PUBLIC, "fe80::1%2"),
        (PUBLIC, "::ffff:127.0.0.1"),
        (PUBLIC, "64:ff9b::a00:1"),
        (PUBLIC, "not an address"),
        (),
    ],
)
def test_40_one_forbidden_address_among_a_name_s_is_enough(addresses):
    with pytest.raises(ForbiddenAddress):
        resolve("http://example.org/a.png", resolver=answering(*addresses))


@pytest.mark.parametrize("error", [socket.gaierror(-2, "unknown"), OSError("down"), UnicodeError("label")])
def test_an_unknown_name_reads_like_a_forbidden_one(error):
    def resolver(*_args, **_kwargs):
        raise error

    with pytest.raises(
        ForbiddenAddress, match=r"^this address may not be asked, or did not answer"
    ) as caught:
        resolve("http://example.org/a.png", resolver=resolver)
    assert caught.value.__cause__ is None


@pytest.mark.parametrize(
    ("url", "scheme", "host", "port", "path", "authority"),
    [
        ("http://example.org", "http", "example.org", 80, "/", "example.org"),
        ("HTTPS://Example.ORG./A.png", "https", "example.org", 443, "/A.png", "example.org"),
        ("http://example.org?id=1", "http", "example.org", 80, "/?id=1", "example.org"),
        ("http://example.org:443/a#top", "http", "example.org", 443, "/a", "example.org:443"),
        ("https://example.org:443/a", "https", "example.org", 443, "/a", "example.org"),
        ("http://a_b.xn--bcher-kva.example/x", "http", "a_b.xn--bcher-kva.example", 80, "/x", None),
        (
            "http://example.org/%C3%A4?u=http://a@b/[1]|{2}",
            "http",
            "example.org",
            80,
            "/%C3%A4?u=http://a@b/[1]|{2}",
            None,
        ),
    ],
)
def test_a_public_name_is_looked_up_once(url, scheme, host, port, path, authority):
    resolver = answering(PUBLIC, "1.1.1.1")
    target = resolve(url, resolver=resolver)
    assert (target.scheme, target.host, target.port, target.path) == (scheme, host, port, path)
    assert target.address == PUBLIC
    assert target.authority == (authority or host)
    assert resolver.asked == [host]


@pytest.mark.parametrize(
    ("url", "address", "authority"),
    [
        ("http://8.8.8.8/a.png", "8.8.8.8", "8.8.8.8"),
        ("http://[2606:4700:0:0::1111]/a.png", "2606:4700::1111", "[2606:4700::1111]"),
    ],
)
def test_a_public_number_is_not_looked_up(url, address, authority):
    resolver = answering("127.0.0.1")
    target = resolve(url, resolver=resolver)
    assert (target.address, target.authority) == (address, authority)
    assert resolver.asked == []


@pytest.mark.parametrize(
    "address", ["127.0.0.1", "10.1.2.3", "172.20.0.1", "192.168.0.9", "100.64.0.1", "::1", "fd12::1"]
)
def test_intranets_are_allowed_on_request(address):
    assert not is_allowed(address)
    assert is_allowed(address, allow_private=True)
    host = f"[{address}]" if ":" in address else address
    assert resolve(f"http://{host}:8080/", ports=(8080,), allow_private=True).address == address


LOOPBACK_OR_LOCAL = {
    "http://[::1]/a.png",
    "http://[0:0:0:0:0:0:0:1]/a.png",
    "http://[fc00::1]/a.png",
    "http://[fdab::1]/a.png",
}
STILL_FORBIDDEN = [
    *(url for number in (34, 35, 37, 38) for url in FORBIDDEN[number] if url not in LOOPBACK_OR_LOCAL),
    "http://0.0.0.0/a.png",
    "http://2130706433/a.png",
    "http://0177.0.0.1/a.png",
    "http://224.0.0.1/a.png",
    "http://[fe80::a9fe:a9fe]/",
    "http://[fd00:a9fe:a9fe::1]/",
    "http://[fd00:100::100:200]/",
]


@pytest.mark.parametrize("url", STILL_FORBIDDEN, ids=lambda url: ascii(url)[:60])
def test_35_metadata_and_disguises_stay_forbidden_on_an_intranet(url):
    with pytest.raises(ForbiddenAddress):
        resolve(url, allow_private=True, resolver=answering(PUBLIC))


def test_only_listed_hosts():
    hosts = frozenset({"Example.org", "::1"})
    assert resolve("http://EXAMPLE.org/", hosts=hosts, resolver=answering(PUBLIC)).host == "example.org"
    assert resolve("http://[0::1]/", hosts=hosts, allow_private=True).host == "::1"
    for url in ("http://www.example.org/", "http://example.org.evil.net/", f"http://{PUBLIC}/"):
        with pytest.raises(ForbiddenAddress):
            resolve(url, hosts=hosts, resolver=answering(PUBLIC))
    with pytest.raises(ForbiddenAddress):  # a listed name does not open a private address
        resolve("http://example.org/", hosts=hosts, resolver=answering("10.0.0.1"))


@given(st.ip_addresses())
def test_what_is_allowed_is_never_what_python_calls_private(ip):
    """Our lists are stricter than the standard library's, wherever that has an opinion."""
    kinds = (ip.is_private, ip.is_loopback, ip.is_link_local, ip.is_multicast, ip.is_reserved)
    assert not (is_allowed(str(ip)) and any(kinds))


@given(st.ip_addresses(v=4))
def test_no_ipv4_address_hides_in_an_ipv6_one(ip):
    for prefix in ("::ffff:", "::ffff:0:", "64:ff9b::", "64:ff9b:1::"):
        assert not is_allowed(f"{prefix}{ip}", allow_private=True)
    assert not is_allowed(f"::{ip}")
    assert not is_allowed(str(ipaddress.IPv6Address((0x2002 << 112) | (int(ip) << 80))), allow_private=True)


@given(
    st.text(alphabet=string.printable + "\uff11\u3002\u00e4\u2028", max_size=30),
    st.sampled_from(["", "http://", "https://"]),
)
def test_any_text_is_a_target_or_forbidden(text, prefix):
    try:
        target = resolve(prefix + text, resolver=answering(PUBLIC))
    except ForbiddenAddress:
        return
    assert is_allowed(target.address)
    assert target.path.isascii()
    assert target.path.isprintable()
    assert not set(target.authority) & set(string.whitespace + "@\\/?#%")
