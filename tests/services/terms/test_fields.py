from typing import Any

import pytest

from trioedge.errors import ConfigurationError
from trioedge.services.terms.fields import (
    expiry_fault,
    read_expires_at,
    read_quota_bytes,
    read_quota_used,
    used_fault,
)

READERS: dict[str, Any] = {
    "quota_bytes": read_quota_bytes,
    "quota_used": read_quota_used,
    "expires_at": read_expires_at,
}


@pytest.mark.parametrize("read", READERS.values(), ids=READERS)
@pytest.mark.parametrize("value", [None, 5, 5.5, True, b"5"])
def test_a_value_that_is_no_text_is_left_for_its_check(read: Any, value: Any) -> None:
    assert read(value) is value


def test_text_is_read() -> None:
    assert (read_quota_bytes("50 GB"), read_quota_used("0 B")) == (50_000_000_000, 0)
    assert read_expires_at("1970-01-01T00:00:01Z") == 1


@pytest.mark.parametrize("field", READERS)
def test_wrong_text_names_the_field(field: str) -> None:
    with pytest.raises(ConfigurationError, match=rf"^Policy\({field}=\.\.\.\): 'x' must be "):
        READERS[field]("x")


def test_bytes_may_be_used_that_are_none_and_a_service_may_never_expire() -> None:
    assert (used_fault(0), expiry_fault(None)) == ("", "")
    assert used_fault(-1)
    assert expiry_fault(-1)
