"""The reader of certificates beside openssl, which makes them, and on bytes that are none."""

import ssl
import time
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as some

from tests.support.tls import localhost, make_certificate
from trioedge.wire.certificate import Certificate, read_certificate
from trioedge.wire.errors import WireError

DAY = 86_400


def der_of(chain: Path) -> bytes:
    return ssl.PEM_cert_to_DER_cert(chain.read_text())


@pytest.mark.parametrize("key", ["ec", "rsa"])
def test_names_and_times_are_those_that_openssl_wrote(tmp_path: Path, key: str) -> None:
    chain, _ = make_certificate(tmp_path, "localhost", "*.B.Example", key=key, common_name="unused", days=3)
    found = read_certificate(der_of(chain))
    assert found.names == ("localhost", "*.b.example")
    assert abs(found.begins_at - time.time()) < 60
    assert found.ends_at - found.begins_at == 3 * DAY


def test_without_dns_names_the_common_name_is_taken(tmp_path: Path) -> None:
    chain, _ = make_certificate(tmp_path, common_name="old.example", stem="old")
    assert read_certificate(der_of(chain)).names == ("old.example",)


def test_a_certificate_beyond_2049_has_a_time_of_another_form(tmp_path: Path) -> None:
    chain, _ = make_certificate(tmp_path, "far.example", days=36_500)
    found = read_certificate(der_of(chain))
    assert found.ends_at - found.begins_at == 36_500 * DAY


@pytest.mark.parametrize(
    "data", [b"", b"\x30", b"\x30\x00", b"\x30\x03\x02\x01\x00", b"text", b"\x30\x84\xff\xff\xff\xff"]
)
def test_bytes_that_are_no_certificate_are_refused(data: bytes) -> None:
    with pytest.raises(WireError):
        read_certificate(data)


@given(at=some.integers(0, 400), value=some.integers(0, 255), size=some.integers(0, 400))
def test_a_certificate_with_any_fault_is_read_or_refused_and_nothing_else(at: int, value: int, size: int) -> None:
    der = bytearray(der_of(localhost()[0]))
    der[at % len(der)] = value
    for data in (bytes(der), bytes(der[:size])):
        with suppress(WireError):
            assert isinstance(read_certificate(data), Certificate)
