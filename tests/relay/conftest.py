"""Fixtures of the relay's tests."""

from collections.abc import Iterator

import pytest

from tests.support.tls import TlsPairs


@pytest.fixture
def pairs() -> Iterator[TlsPairs]:
    with TlsPairs() as pairs:
        yield pairs
