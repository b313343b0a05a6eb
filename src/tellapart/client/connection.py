"""What both clients share: address, key, when to try again, and how requests and answers are written."""

import random
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any, Generic, NoReturn, TypeVar

import httpx2

from tellapart.client.answers import Prediction, predictions
from tellapart.client.images import Source
from tellapart.data.addresses import is_loopback
from tellapart.errors import ConfigError, ServiceError
from tellapart.sources.session import retry_after_s

MAX_IMAGES, AT_ONCE = 16, 3
"""Images per request, and requests under way at once: together fewer than the service's queue holds."""

PASSING = frozenset({408, 429, 502, 503, 504})
"""Statuses after which the same request may succeed."""

BROKEN = (httpx2.NetworkError, httpx2.ConnectTimeout, httpx2.RemoteProtocolError)
"""Connections that could not be made, or broke. Scoring changes nothing, so sending again is safe."""

FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.2, 8.0
LONGEST_WAIT_S = 60.0
"""A service that asks for a longer pause than this is given up."""

Http = TypeVar("Http", httpx2.Client, httpx2.AsyncClient)


class Connection(ABC, Generic[Http]):
    """The settings of a client, checked.

    Parameters
    ----------
    url
        Where the service is, such as ``http://127.0.0.1:8000``.
    key
        One of the service's keys, where it asks for one.
    timeout_s
        How long the service may take to answer one request.
    retries
        How often a request is sent again after a broken connection or the statuses 408, 429, 502, 503
        and 504. The pauses double from 0.2 s on, vary at random, and are as long as the service asks.
    max_images
        Images per request. A request that is too large for this service is cut in two.
    at_once
        Requests under way at once.
    """

    def __init__(
        self,
        url: str,
        key: str | None = None,
        *,
        timeout_s: float = 60.0,
        retries: int = 5,
        max_images: int = MAX_IMAGES,
        at_once: int = AT_ONCE,
    ) -> None:
        host = _checked_host(url)
        if key == "":
            raise ConfigError("the key is empty; give one, or none at all")
        if key is not None and not (key.isascii() and key.isprintable() and " " not in key):
            raise ConfigError("the key holds a blank or another character that no key has; copy it again")
        for name, value, accepted, is_good in (
            ("timeout_s", timeout_s, "more than 0", timeout_s > 0),
            ("retries", retries, "0 or more", retries >= 0),
            ("max_images", max_images, "1 or more", max_images >= 1),
            ("at_once", at_once, "1 or more", at_once >= 1),
        ):
            if not is_good:
                raise ConfigError(f"{name} is {value}; give {accepted}")
        self.url = url.rstrip("/")
        self.timeout_s, self.retries, self.max_images, self.at_once = timeout_s, retries, max_images, at_once
        self._http: Http = self._open(
            base_url=self.url,
            headers={"Authorization": f"Bearer {key}"} if key else {},
            timeout=httpx2.Timeout(timeout_s, connect=min(timeout_s, 5.0)),
            # A proxy that the environment names cannot reach this very machine.
            trust_env=not is_loopback(host),
        )

    @abstractmethod
    def _open(self, **options: Any) -> Http:
        """Return the HTTP client underneath."""

    # ---- trying again --------------------------------------------------------------------------------

    def _pause_s(self, attempt: int, outcome: httpx2.Response | httpx2.TransportError) -> float | None:
        """Return how long to wait before sending again; None if an answer or failure is final."""
        if attempt >= self.retries:
            return None
        # Random, so that clients who were refused together do not come back together.
        pause_s = random.uniform(0.5, 1.0) * min(LONGEST_PAUSE_S, FIRST_PAUSE_S * 2**attempt)
        if not isinstance(outcome, httpx2.Response):
            return pause_s if isinstance(outcome, BROKEN) else None
        if outcome.status_code not in PASSING:
            return None
        asked_s = retry_after_s(outcome.headers.get("retry-after", ""))
        return None if asked_s > LONGEST_WAIT_S else asked_s + pause_s

    def _fail(self, error: httpx2.TransportError) -> NoReturn:
        """Say in one line why the service could not be asked."""
        if isinstance(error, httpx2.ConnectError | httpx2.ConnectTimeout):
            text = f"no service answers at {self.url} ({reason(error)}); `tellapart serve MODEL` starts one"
        elif isinstance(error, httpx2.TimeoutException):
            text = f"{self.url} did not answer within {self.timeout_s:g} s; give a longer timeout_s"
        else:
            text = f"the connection to {self.url} broke ({reason(error)})"
        raise ServiceError(text) from error

    # ---- requests and answers ------------------------------------------------------------------------

    def _body(self, batch: Sequence[Source]) -> tuple[dict[str, Any], dict[int, str]]:
        """Return the content of a request, and by index why some files cannot be read."""
        if batch[0].is_address:
            return {"json": {"images": [{"url": source.image} for source in batch]}}, {}
        files, unreadable = [], {}
        for i, source in enumerate(batch):
            try:
                # The service need not learn what files are called here.
                files.append(("images", (str(i), source.content(), "application/octet-stream")))
            except (OSError, ValueError) as exc:  # ValueError: a name with a zero byte in it
                unreadable[i] = (getattr(exc, "strerror", None) or str(exc)).lower()
        return {"files": files}, unreadable

    def _read(
        self, response: httpx2.Response, batch: Sequence[Source], unreadable: Mapping[int, str]
    ) -> list[Prediction]:
        if len(batch) == 1 and (response.status_code == 413 or "index" in _problem(response)):
            return [Prediction(batch[0].name, error=_detail(response))]
        try:
            return predictions(self._json(response), batch, unreadable)
        except (KeyError, TypeError, ValueError, AttributeError) as exc:
            raise self._stranger(f"{type(exc).__name__}: {exc}") from exc

    def _models(self, response: httpx2.Response) -> list[dict[str, Any]]:
        try:
            return list(self._json(response)["x-tellapart"]["models"])
        except (KeyError, TypeError) as exc:
            raise self._stranger(f"{type(exc).__name__}: {exc}") from exc

    def _json(self, response: httpx2.Response) -> Any:
        """Return what a good answer says.

        Raises
        ------
        ServiceError
            In one line, for every other answer.
        """
        status = response.status_code
        if response.is_success:
            try:
                return response.json()
            except ValueError as exc:
                raise self._stranger("no JSON") from exc
        if response.is_redirect:
            raise ServiceError(f"{self.url} has moved; use {response.headers.get('location')} instead")
        hint = "; give one of the service's keys" if status == 401 else ""
        raise ServiceError(f"{self.url} answered {status}: {_detail(response)}{hint}")

    def _stranger(self, what: str) -> ServiceError:
        return ServiceError(f"{self.url} answers, but not as tellapart's service does ({what})")


def params(top_k: int | None, threshold: float | None, model: str | None) -> dict[str, str]:
    """Return the options of a request as its query.

    Raises
    ------
    ConfigError
        If one cannot have that value.
    """
    if top_k is not None and top_k < 1:
        raise ConfigError(f"top_k is {top_k}; it is a number of classes, 1 or more")
    if threshold is not None and not 0 <= threshold <= 1:
        raise ConfigError(f"threshold is {threshold}; it is a probability between 0 and 1")
    given = {"top_k": top_k, "threshold": threshold, "model": model}
    return {name: str(value) for name, value in given.items() if value is not None}


def only(found: Sequence[Prediction]) -> Prediction:
    """Return the one prediction.

    Raises
    ------
    ServiceError
        If that image has none.
    """
    (prediction,) = found
    if prediction.error is not None:
        raise ServiceError(f"{prediction.source}: {prediction.error}")
    return prediction


def reason(error: httpx2.TransportError) -> str:
    """Return what went wrong, in few words."""
    return (str(error).splitlines() or [""])[0] or type(error).__name__


def _checked_host(url: str) -> str:
    try:
        parsed = httpx2.URL(url)
    except (httpx2.InvalidURL, TypeError) as exc:
        raise ConfigError(f"{url!r} is no address ({exc}); it looks like http://127.0.0.1:8000") from exc
    if parsed.scheme not in ("http", "https") or not parsed.host:
        raise ConfigError(f"{url!r} is no address of a service; it looks like http://127.0.0.1:8000")
    return parsed.host


def is_too_much(response: httpx2.Response) -> bool:
    """Say whether the service would take half of a request: it was too large, or had too many images."""
    return response.status_code == 413 or "max_images" in _problem(response)


def _problem(response: httpx2.Response) -> Mapping[str, Any]:
    """Return the problem document, empty where the answer is none."""
    if response.is_success:
        return {}
    try:
        document = response.json()
    except ValueError:
        return {}
    return document if isinstance(document, dict) else {}


def _detail(response: httpx2.Response) -> str:
    """Return what a problem document says, or else the status in words."""
    return " ".join(str(_problem(response).get("detail") or response.reason_phrase).split())
