import pytest

from trioedge.core.errors import ConfigurationError, EdgeError, ListenError, UpstreamError
from trioedge.core.verdict import Reason


@pytest.mark.parametrize(
    ("error", "parent"),
    [
        (ConfigurationError, EdgeError),
        (ListenError, ConfigurationError),
        (UpstreamError, EdgeError),
    ],
)
def test_every_fault_is_caught_by_whoever_catches_its_kind(error: type[EdgeError], parent: type[EdgeError]) -> None:
    assert error.__base__ is parent


def test_an_upstream_error_carries_the_reason_its_session_ends_with() -> None:
    error = UpstreamError(Reason.UPSTREAM_REFUSED, "tcp://127.0.0.1:1: connection refused")
    assert (error.reason, error.detail) == (Reason.UPSTREAM_REFUSED, "tcp://127.0.0.1:1: connection refused")
    assert str(error) == "upstream_refused: tcp://127.0.0.1:1: connection refused"
