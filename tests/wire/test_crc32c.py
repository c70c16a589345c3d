import pytest
from hypothesis import given
from hypothesis import strategies as st

from trioedge.wire.crc32c import crc32c


@pytest.mark.parametrize(
    ("data", "checksum"),
    [
        (b"", 0),
        (b"123456789", 0xE306_9283),
        (bytes(32), 0x8A91_36AA),
        (b"\xff" * 32, 0x62A8_AB43),
        (bytes(range(32)), 0x46DD_794E),
        (bytes(reversed(range(32))), 0x113F_DB5C),
    ],
)
def test_it_is_as_published(data: bytes, checksum: int) -> None:
    # The test vectors of RFC 3720, appendix B.4, and the usual check value.
    assert crc32c(data) == checksum


@given(st.binary(min_size=1, max_size=64), st.data())
def test_one_wrong_bit_is_seen(data: bytes, choose: st.DataObject) -> None:
    at = choose.draw(st.integers(0, 8 * len(data) - 1))
    wrong = bytearray(data)
    wrong[at // 8] ^= 1 << at % 8
    assert crc32c(wrong) != crc32c(data)
