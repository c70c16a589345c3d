import pytest

from trioedge.wire.errors import WireError


def test_it_is_a_value_error_with_its_words() -> None:
    with pytest.raises(ValueError, match=r"^no such header$"):
        raise WireError("no such header")
