"""CRC32C, the checksum with Castagnoli's polynomial (RFC 4960, appendix B)."""

from typing import Final

_REVERSED_POLYNOMIAL: Final = 0x82F6_3B78


def _entry(byte: int) -> int:
    for _ in range(8):
        byte = byte >> 1 ^ (_REVERSED_POLYNOMIAL if byte & 1 else 0)
    return byte


_TABLE: Final = tuple(map(_entry, range(256)))


def crc32c(data: bytes | bytearray) -> int:
    """Compute the checksum of `data`, 32 bits; about 0.1 µs a byte."""
    table, crc = _TABLE, 0xFFFF_FFFF
    for byte in data:
        crc = crc >> 8 ^ table[(crc ^ byte) & 0xFF]
    return crc ^ 0xFFFF_FFFF
