"""Who may ask: the Host header, pages of other sites, keys, and how often one key may ask."""

import math
import re
from urllib.parse import urlsplit

from starlette.datastructures import Headers
from starlette.types import Scope

from tellapart.data.addresses import is_loopback
from tellapart.serving.bucket import Bucket
from tellapart.serving.problems import Problem
from tellapart.serving.settings import Settings

MAX_HEADER_BYTES = 16_384
"""Of all headers together."""

_PROBES = frozenset({"/healthz", "/readyz", "/v2/health/live", "/v2/health/ready"})
_PAGES = frozenset({"/", "/docs", "/openapi.json"})
_HOST = re.compile(r"(\[[0-9a-fA-F:.]+\]|[A-Za-z0-9._-]+)(?::\d{1,5})?")


class Admission:
    """The checks that every request passes before anything of it is read."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._names = frozenset(name.lower() for name in (settings.host, *settings.allowed_hosts))
        self._buckets: dict[str, Bucket] = {}

    def check(self, scope: Scope) -> str:
        """Let a request pass; return the name of its key, empty where it needs none.

        Raises
        ------
        Problem
            400 for its Host header, 401 for its key, 403 for a page of another site, 429 for a key that
            asks too often, 431 for headers that are too large.
        """
        if sum(len(name) + len(value) for name, value in scope["headers"]) > MAX_HEADER_BYTES:
            raise Problem(431, f"the headers are larger than {MAX_HEADER_BYTES:,} bytes")
        path = scope["path"]
        if path in _PROBES:  # orchestrators ask by whatever address they know
            return ""
        headers = Headers(scope=scope)
        host = self._check_host(headers)
        self._check_origin(headers, host)
        if self._is_open(path):
            return ""
        caller = self._check_key(scope)
        self._check_rate(caller)
        return caller

    def _is_open(self, path: str) -> bool:
        open_metrics = path == "/metrics" and self._settings.is_loopback
        return path in _PAGES or path.startswith("/static/") or open_metrics

    def _check_host(self, headers: Headers) -> str:
        hosts = headers.getlist("host")
        name = _name(hosts[0]) if len(hosts) == 1 else None
        if name is None:
            raise Problem(400, "the request needs one Host header that names this service")
        # A page on the web can have its own name resolve to 127.0.0.1 and then ask in its reader's place:
        # a service that is for this machine answers to this machine's names only. Beyond loopback the
        # names are the operator's to say, and without them the key, which no such page has, protects.
        known = name in self._names or (self._settings.is_loopback and is_loopback(name))
        if not known and (self._settings.is_loopback or self._settings.allowed_hosts):
            raise Problem(400, "the Host header does not name this service; its operator can add names")
        return name

    def _check_origin(self, headers: Headers, host: str) -> None:
        """Refuse what pages of other sites send, which need not see the answer to do harm."""
        origin = headers.get("origin")
        if origin is not None and _name(_netloc(origin)) not in {host, *self._names}:
            raise Problem(403, "requests from pages of other sites are not answered")

    def _check_key(self, scope: Scope) -> str:
        """Return the name of the request's key, empty where none is needed."""
        keys = scope["app"].state.service.keys
        if keys is None:
            return ""
        given = [value for name, value in scope["headers"] if name == b"authorization"]
        scheme, _, key = given[0].partition(b" ") if len(given) == 1 else (b"", b"", b"")
        owner: str | None = keys.owner(key) if scheme.lower() == b"bearer" else None
        if owner is None:
            detail = "a valid key is needed, as in `Authorization: Bearer KEY`"
            raise Problem(401, detail, headers={"WWW-Authenticate": "Bearer"})
        return owner

    def _check_rate(self, owner: str) -> None:
        rate_per_s = self._settings.rate_per_s
        if rate_per_s is None:
            return
        if owner not in self._buckets:
            # Each worker process grants its share.
            self._buckets[owner] = Bucket(rate_per_s / self._settings.workers)
        wait_s = self._buckets[owner].take()
        if wait_s > 0:
            detail = f"more than {rate_per_s:g} requests per second with one key"
            raise Problem(429, detail, headers={"Retry-After": str(math.ceil(wait_s))})


def _name(host: str) -> str | None:
    """Return the name in a Host header, in small letters and without a port; None if it is not valid."""
    found = _HOST.fullmatch(host)
    return found[1].strip("[]").lower() if found else None


def _netloc(origin: str) -> str:
    try:
        return urlsplit(origin).netloc
    except ValueError:
        return ""
