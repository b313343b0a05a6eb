"""Which web addresses a program may ask on behalf of someone it does not trust.

A URL is parsed once, by a grammar narrower than any web client's; its name is looked up once; and what
`resolve` returns is the numeric address to connect to. So no second parser and no second lookup can
disagree with what was checked here.

The networks are listed rather than asked of `ipaddress.is_private` or `is_global`, which call several
clouds' metadata services, relays into IPv4 and multicast groups public.
"""

import ipaddress
import re
import socket
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from typing import Any

from tellapart.errors import FetchError

Resolver = Callable[..., Sequence[tuple[Any, ...]]]
"""Takes what `socket.getaddrinfo` takes, and answers as it does."""

DEFAULT_PORTS = {"http": 80, "https": 443}

NO_ANSWER = (
    "this address may not be asked, or did not answer: "
    "give the http or https address of an image on a public server, or send the image itself"
)
"""The one message for whatever goes wrong before an allowed server speaks: a second one would tell
strangers which names and ports exist behind the firewall."""


class ForbiddenAddress(FetchError):
    """The address is not one that may be asked, or nobody answers there; on purpose not told apart."""

    status = 400

    def __init__(self) -> None:
        super().__init__(NO_ANSWER)


@dataclass(frozen=True, slots=True)
class Target:
    """A checked URL and the numeric address that belongs to it.

    Attributes
    ----------
    scheme
        ``"http"`` or ``"https"``.
    host
        The name as the server knows it: lower case, an IPv6 address without its brackets.
    port
        One of the ports that were allowed.
    path
        Path and query, beginning with a slash.
    address
        The numeric address to connect to.
    """

    scheme: str
    host: str
    port: int
    path: str
    address: str

    @property
    def authority(self) -> str:
        """What the Host header says: no port where it is the scheme's own."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == DEFAULT_PORTS[self.scheme] else f"{host}:{self.port}"


def _networks(*cidrs: str) -> tuple[ipaddress.IPv4Network | ipaddress.IPv6Network, ...]:
    return tuple(ipaddress.ip_network(cidr) for cidr in cidrs)


METADATA = _networks(
    "169.254.0.0/16",  # link-local: AWS, Azure, Google, OpenStack, ECS 170.2, EKS 170.23, Tencent 0.23
    "fe80::/10",  # link-local: OpenStack and Linode at fe80::a9fe:a9fe
    "168.63.129.16/32",  # Azure's host agent
    "100.100.100.200/32",  # Alibaba
    "192.0.0.0/24",  # protocol assignments: Oracle at 192.0.0.192
    "fd00:ec2::/32",  # AWS: metadata, pod identity, DNS, time
    "fd20:ce::/32",  # Google
    "fd00:c1::/32",  # Oracle
    "fd00:42::/32",  # Scaleway
    "fd00:a9fe::/32",  # Linode
    "fd00:100::/32",  # Alibaba
)
"""Where clouds hand credentials to the machine itself: nobody may ask there, whatever is allowed."""

UNUSABLE = _networks(
    "0.0.0.0/8",  # "this host": Linux connects it to loopback
    "192.0.2.0/24",  # documentation
    "198.51.100.0/24",
    "203.0.113.0/24",
    "192.88.99.0/24",  # relays from 6to4
    "224.0.0.0/4",  # multicast
    "240.0.0.0/4",  # reserved, broadcast
    "::/128",  # unspecified
    "::ffff:0:0/96",  # IPv4 mapped into IPv6
    "::ffff:0:0:0/96",  # IPv4 translated
    "64:ff9b::/96",  # NAT64
    "64:ff9b:1::/48",  # NAT64 of one's own network
    "100::/64",  # discarded
    "2001::/23",  # protocol assignments: Teredo, benchmarks, ORCHID
    "2001:db8::/32",  # documentation
    "2002::/16",  # 6to4
    "3fff::/20",  # documentation
    "fec0::/10",  # site-local, as it once was
    "ff00::/8",  # multicast
)
"""No web server of one's own or of others lives here, or an IPv4 address hides in the IPv6 one."""

INTERNAL = _networks(
    "10.0.0.0/8",
    "100.64.0.0/10",  # shared by carriers' customers
    "127.0.0.0/8",
    "172.16.0.0/12",
    "192.168.0.0/16",
    "198.18.0.0/15",  # benchmarks between networks
    "::1/128",
    "fc00::/7",  # unique local
)
"""Loopback and intranets: asked only with `allow_private`."""

_GLOBAL_IPV6 = ipaddress.ip_network("2000::/3")  # all of IPv6 that has been given to anyone

# Nothing but visible ASCII, no backslash, no user:password@, no %zone. What browsers and libraries
# would repair or read in two ways is refused instead.
_URL = re.compile(
    r"(?P<scheme>https?)://"
    r"(?:\[(?P<ipv6>[0-9a-f:.]+)\]|(?P<name>[a-z0-9._-]+))"
    r"(?::(?P<port>[1-9][0-9]{0,4}))?"
    r"(?P<path>[/?][!\"$-\[\]-~]*)?"  # neither # nor backslash
    r"(?:#[!-\[\]-~]*)?",
    re.IGNORECASE | re.ASCII,
)
_MAX_URL_CHARS = 8192
_NUMBER = re.compile(r"[0-9]+|0x[0-9a-f]*", re.ASCII)
_LABEL = re.compile(r"[a-z0-9_-]{1,63}", re.ASCII)


def resolve(
    url: str,
    *,
    ports: Collection[int] = (80, 443),
    allow_private: bool = False,
    hosts: Collection[str] | None = None,
    resolver: Resolver = socket.getaddrinfo,
) -> Target:
    """Check a URL and find the one numeric address that it may be fetched from.

    Parameters
    ----------
    url
        An absolute http or https URL in ASCII.
    ports
        The ports that may be asked.
    allow_private
        Whether loopback and private networks may be asked too; metadata services never are.
    hosts
        The only host names that may be asked; None for any.
    resolver
        Looks names up; it is called at most once, and not at all for a numeric host.

    Raises
    ------
    ForbiddenAddress
        If the URL, its host, its port or any address of its host is not allowed, or the name is unknown.
    """
    match = _URL.fullmatch(url) if len(url) <= _MAX_URL_CHARS else None
    if match is None:
        raise ForbiddenAddress
    scheme = match["scheme"].lower()
    host, is_numeric = _host(match)
    port = int(match["port"] or DEFAULT_PORTS[scheme])
    if port not in ports or (hosts is not None and host not in map(str.lower, hosts)):
        raise ForbiddenAddress
    addresses = [host] if is_numeric else _look_up(host, port, resolver)
    # One forbidden address among several is a name made to slip through: refuse them all.
    if not addresses or not all(is_allowed(address, allow_private=allow_private) for address in addresses):
        raise ForbiddenAddress
    path = match["path"] or "/"
    return Target(scheme, host, port, path if path[0] == "/" else f"/{path}", addresses[0])


def is_allowed(address: str, *, allow_private: bool = False) -> bool:
    """Tell whether a numeric IPv4 or IPv6 address may be asked."""
    try:
        ip = ipaddress.ip_address(address)
    except ValueError:
        return False
    if any(ip in network for network in METADATA + UNUSABLE):
        return False
    if any(ip in network for network in INTERNAL):
        return allow_private
    return ip.version == 4 or ip in _GLOBAL_IPV6


def _host(match: re.Match[str]) -> tuple[str, bool]:
    """Return the host, in the one spelling that we use, and whether it is a numeric address."""
    try:
        if match["ipv6"]:
            return str(ipaddress.IPv6Address(match["ipv6"])), True
        host = match["name"].lower().removesuffix(".")
        labels = host.split(".")
        if _NUMBER.fullmatch(labels[-1]):
            # System libraries read 127.1, 2130706433, 0x7f000001 and 0177.0.0.1 as addresses too;
            # IPv4Address takes four plain decimal numbers and nothing else.
            return str(ipaddress.IPv4Address(host)), True
    except ValueError:
        raise ForbiddenAddress from None
    if len(host) > 253 or not all(_LABEL.fullmatch(label) for label in labels):
        raise ForbiddenAddress
    return host, False


def _look_up(host: str, port: int, resolver: Resolver) -> list[str]:
    try:
        return [str(found[4][0]) for found in resolver(host, port, type=socket.SOCK_STREAM)]
    except (OSError, UnicodeError):
        raise ForbiddenAddress from None


def is_loopback(host: str) -> bool:
    """Say whether a name or numeric address means the machine that uses it, and no other."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
