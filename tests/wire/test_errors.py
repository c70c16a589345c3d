import pytest

from tests.support.hellos import read_client_hello
from trioedge.wire.errors import WireError


def test_the_error_of_a_parser_is_a_value_error_without_the_bytes() -> None:
    with pytest.raises(ValueError, match="not TLS") as refusal:
        read_client_hello(b"GET /secret")
    assert isinstance(refusal.value, WireError)
    assert "secret" not in str(refusal.value)
