"""Bytes and byte rates as text: ``50 GB``, ``10 MB/s``, ``50 Mbit/s``, ``2 MiB/s``."""

import re
from math import isfinite
from typing import Final

from ..arguments import is_number
from ..errors import ConfigurationError, quote

_SCALES: Final = {
    "": 1,
    "k": 10**3, "K": 10**3, "M": 10**6, "G": 10**9, "T": 10**12,
    "ki": 2**10, "Ki": 2**10, "Mi": 2**20, "Gi": 2**30, "Ti": 2**40,
}  # fmt: skip
_UNITS: Final = {"B": 1.0, "bit": 0.125}
_NUMBER: Final = r"\s*([0-9]+(?:\.[0-9]+)?(?:e[+-]?[0-9]+)?)\s*"
_RATE: Final = re.compile(_NUMBER + r"((?:[kKMGT]i?)?)(B|bit)/s\s*")
_BYTES: Final = re.compile(_NUMBER + r"((?:[kKMGT]i?)?)B\s*")
_BITS_OR_BYTES: Final = re.compile(_NUMBER + r"((?:[kKmMgGtT]i?)?)b(?:/s|ps)\s*")
"""A ``b`` alone: people write it for bits and for bytes, and lower-case prefixes with it."""


def parse_rate(value: object) -> float:
    """Parse a rate.

    Args:
        value: bytes per second as a number, or text: a number and a unit, ``B/s`` or ``bit/s``, with the prefix k, M, G
            or T for powers of 1000, or Ki, Mi, Gi or Ti for powers of 1024. ``Mb/s`` and ``Mbps`` are refused, because
            half of their writers mean bytes.

    Returns:
        Bytes per second, at least 1 and finite.

    Raises:
        ConfigurationError: `value` is no rate; the message quotes it and shows how a rate is written.
    """
    rate = _read(value)
    if rate is None:
        raise ConfigurationError(f"rate {quote(value, 1_000)} {_fault(value)}")
    return rate


def _read(value: object) -> float | None:
    try:
        if is_number(value):
            rate = float(value)
        elif isinstance(value, str) and (match := _RATE.fullmatch(value)):
            rate = float(match[1]) * _SCALES[match[2]] * _UNITS[match[3]]
        else:
            return None
    except OverflowError:  # an integer too large for a float
        return None
    return rate if isfinite(rate) and rate >= 1 else None


def _fault(value: object) -> str:
    """Describe the fault of a value that is no rate."""
    match = _BITS_OR_BYTES.fullmatch(value) if isinstance(value, str) else None
    if match is not None:
        number, prefix = match[1], match[2] if match[2][:1] == "k" else match[2].capitalize()
        in_bytes, in_bits = f"{number} {prefix}B/s", f"{number} {prefix}bit/s"
        if _read(in_bytes) and _read(in_bits):
            return f"may be bits or bytes: did you mean {in_bytes!r} (bytes) or {in_bits!r} (bits)?"
    return "must be at least 1, in bytes a second, or text such as '10 MB/s', '2 MiB/s' or '50 Mbit/s'"


def format_rate(bytes_per_second: float) -> str:
    """Format a finite rate with four digits, in powers of 1000: ``10 MB/s``. :func:`parse_rate` reads it."""
    rounded = float(f"{bytes_per_second:.4g}")  # first, so that 999,999 is 1 MB/s and not 1000 kB/s
    prefix = next((prefix for prefix in "TGMk" if rounded >= _SCALES[prefix]), "")
    return f"{rounded / _SCALES[prefix]:.4g} {prefix}B/s"


def parse_bytes(text: str) -> int:
    """Parse a number of bytes: a number and ``B``, with the prefix k, M, G or T, or Ki, Mi, Gi or Ti, as in rates.

    Raises:
        ConfigurationError: ``'50 Gb' must be a whole number of bytes, or text such as '50 GB' or '50 GiB'``.
    """
    match = _BYTES.fullmatch(text)
    if match is not None:
        try:
            return round(float(match[1]) * _SCALES[match[2]])
        except OverflowError:  # infinity is no whole number
            pass
    raise ConfigurationError(f"{quote(text, 1_000)} must be a whole number of bytes, or text such as '50 GB', '50 GiB'")


def format_bytes(count: int) -> str:
    """Format a number of bytes, with a prefix where that is as exact: ``50 GB``. :func:`parse_bytes` reads it."""
    text = format_rate(count).removesuffix("/s")
    return text if parse_bytes(text) == count else f"{count} B"
