from trioedge.session.verdict import Reason
from trioedge.upstreams.errors import UpstreamError


def test_an_upstream_error_carries_the_reason_its_session_ends_with() -> None:
    error = UpstreamError(Reason.UPSTREAM_REFUSED, "tcp://127.0.0.1:1: connection refused")
    assert (error.reason, error.detail) == (Reason.UPSTREAM_REFUSED, "tcp://127.0.0.1:1: connection refused")
    assert str(error) == "upstream_refused: tcp://127.0.0.1:1: connection refused"
