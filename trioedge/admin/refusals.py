"""Refused requests: a status, and one line or a list of faults that say how to mend the request."""

from collections.abc import Sequence
from http import HTTPStatus
from typing import Any, Final

from ..errors import EdgeError

STATUSES: Final = {
    400: "the request is no HTTP of this API",
    401: "the token is missing or wrong",
    403: "a page of another site asks",
    404: "there is no such thing",
    405: "the path has other methods",
    408: "the body did not come in time",
    409: "the edge cannot do that",
    413: "the body is too large",
    415: "the body is of another type",
    422: "a parameter or the body has faults",
    500: "a fault of the API, which the log has",
    503: "not now",
}
"""The statuses of errors."""


class RefusedError(EdgeError):
    """A request that is not answered as it asks.

    Attributes:
        status: of HTTP.
        answer: the body of the response.
        headers: further headers of the response.
    """

    def __init__(self, status: int, error: str, *, headers: Sequence[tuple[bytes, bytes]] = ()) -> None:
        super().__init__(error)
        self.status = status
        self.answer: dict[str, Any] = {"error": error}
        self.headers = tuple(headers)


class FaultyError(RefusedError):
    """A request whose parameters or body have faults, each as ``path: fault``."""

    def __init__(self, faults: Sequence[str]) -> None:
        super().__init__(HTTPStatus.UNPROCESSABLE_ENTITY, "; ".join(faults))
        self.answer = {"faults": [*faults]}


def not_found(error: str) -> RefusedError:
    """Make the refusal of a request for something that is not there."""
    return RefusedError(HTTPStatus.NOT_FOUND, error)
