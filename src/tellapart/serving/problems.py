"""What a client is told when its request cannot be answered: RFC 9457 problem details."""

from collections.abc import Mapping
from http import HTTPStatus

from starlette.responses import Response

from tellapart.serving.documents import write


class Problem(Exception):
    """A request that cannot be answered, with the status and the words that the client gets.

    Parameters
    ----------
    status
        Of the HTTP answer.
    detail
        What we got, what we accept; nothing about this machine.
    headers
        Further headers of the answer.
    members
        Further members of the document, by which programs tell one refusal from another.
    """

    def __init__(
        self,
        status: int,
        detail: str,
        *,
        headers: Mapping[str, str] | None = None,
        members: Mapping[str, object] | None = None,
    ) -> None:
        super().__init__(detail)
        self.status = status
        self.detail = detail
        self.headers = dict(headers or {})
        self.members = dict(members or {})

    @classmethod
    def busy(cls, detail: str, *, retry_after_s: int = 1) -> "Problem":
        """Return a 503 that says when to come again."""
        return cls(503, detail, headers={"Retry-After": str(retry_after_s)})


def problem_response(problem: Problem, request_id: str) -> Response:
    """Return the answer as ``application/problem+json``.

    Its member ``error`` repeats the detail, which is where clients of the Open Inference Protocol look.
    """
    content = {
        "type": "about:blank",
        "title": HTTPStatus(problem.status).phrase,
        "status": problem.status,
        "detail": problem.detail,
        "error": problem.detail,
        "request_id": request_id,
        **problem.members,
    }
    return Response(write(content), problem.status, problem.headers, media_type="application/problem+json")
