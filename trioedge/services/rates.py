"""Rates as text: ``10 MB/s``, ``50 Mbit/s``, ``2 MiB/s``."""

import re
from math import isfinite
from typing import Final

from ..arguments import is_number
from ..errors import ConfigurationError

_SCALES: Final = {
    "": 1,
    "k": 10**3, "K": 10**3, "M": 10**6, "G": 10**9, "T": 10**12,
    "ki": 2**10, "Ki": 2**10, "Mi": 2**20, "Gi": 2**30, "Ti": 2**40,
}  # fmt: skip
_UNITS: Final = {"B": 1.0, "bit": 0.125}
_RATE: Final = re.compile(r"\s*([0-9]+(?:\.[0-9]+)?(?:e[+-]?[0-9]+)?)\s*((?:[kKMGT]i?)?)(B|bit)/s\s*")


def parse_rate(value: object) -> float:
    """Read a rate.

    Args:
        value: bytes per second as a number, or text: a number and a unit, ``B/s`` or ``bit/s``, with the prefix k, M, G
            or T for powers of 1000, or Ki, Mi, Gi or Ti for powers of 1024. A ``b`` alone is refused, because many
            people who write ``Mb/s`` mean bytes.

    Returns:
        Bytes per second, at least 1 and finite.

    Raises:
        ConfigurationError: `value` is no rate; the message quotes it and shows how a rate is written.
    """
    try:
        rate = _read(value)
    except OverflowError:  # an integer too large for a float
        rate = None
    if rate is None or not isfinite(rate) or rate < 1:
        raise ConfigurationError(
            f"rate {value!r} must be at least 1, in bytes a second, or text such as '10 MB/s', '2 MiB/s' or '50 Mbit/s'"
        )
    return rate


def _read(value: object) -> float | None:
    if is_number(value):
        return float(value)
    match = _RATE.fullmatch(value) if isinstance(value, str) else None
    return None if match is None else float(match[1]) * _SCALES[match[2]] * _UNITS[match[3]]


def format_rate(bytes_per_second: float) -> str:
    """Write a finite rate with four digits, in powers of 1000: ``10 MB/s``. :func:`parse_rate` reads it."""
    rounded = float(f"{bytes_per_second:.4g}")  # first, so that 999,999 is 1 MB/s and not 1000 kB/s
    prefix = next((prefix for prefix in "TGMk" if rounded >= _SCALES[prefix]), "")
    return f"{rounded / _SCALES[prefix]:.4g} {prefix}B/s"
