import errno

import pytest

from trioedge.session.verdict import Reason
from trioedge.upstreams.errors import UpstreamError, reason_of


def test_an_upstream_error_carries_the_reason_its_session_ends_with() -> None:
    error = UpstreamError(Reason.UPSTREAM_REFUSED, "tcp://127.0.0.1:1: connection refused")
    assert (error.reason, error.detail) == (Reason.UPSTREAM_REFUSED, "tcp://127.0.0.1:1: connection refused")
    assert str(error) == "upstream_refused: tcp://127.0.0.1:1: connection refused"


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        (errno.ECONNREFUSED, Reason.UPSTREAM_REFUSED),
        (errno.EAGAIN, Reason.UPSTREAM_REFUSED),
        (errno.ETIMEDOUT, Reason.UPSTREAM_TIMEOUT),
        (errno.EMFILE, Reason.OVERLOAD),
        (errno.EADDRNOTAVAIL, Reason.OVERLOAD),
        (errno.ENOENT, Reason.UPSTREAM_UNREACHABLE),
        (0, Reason.UPSTREAM_UNREACHABLE),
    ],
)
def test_an_error_number_has_its_reason(code: int, reason: Reason) -> None:
    assert reason_of(code) is reason
