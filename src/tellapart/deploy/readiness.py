"""Whether a service wants requests, asked as a load balancer does."""

from http.client import HTTPConnection, HTTPException
from urllib.parse import urlsplit

LIMIT_S = 2.0
"""For an answer; one that needs longer is not ready."""


def ask_ready(url: str) -> tuple[int, str]:
    """Ask ``/readyz``; return the status of the answer, 0 where there is none, and what it means."""
    address = urlsplit(url)
    connection = HTTPConnection(address.hostname or "", address.port, timeout=LIMIT_S)
    try:
        connection.request("GET", f"{address.path}/readyz")
        code = connection.getresponse().status
        return code, f"it answers {code} to /readyz"
    except (OSError, HTTPException) as exc:
        return 0, f"it does not answer ({exc})"
    finally:
        connection.close()
