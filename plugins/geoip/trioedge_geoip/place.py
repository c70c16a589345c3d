"""The place of an address: its country and AS number, and how records of several makers name the two."""

from typing import Any

import attrs
import trioedge as te


@attrs.define(slots=True, str=False)
class Place:
    """What the tables say of an address.

    Attributes:
        country: its ISO code in upper case; None if no table has it.
        as_number: the number of its autonomous system; None if no table has it.
        is_local: whether the address is that of a local socket or of an internal network, and in no table.
        otherwise: the verdict where a rule asks for something that no table has; None to go on with the rules.
    """

    country: str | None = None
    as_number: int | None = None
    is_local: bool = False
    otherwise: te.Verdict | None = None
    _unmatched: te.Reject | None = attrs.field(default=None, init=False, eq=False, repr=False)

    def unmatched(self) -> te.Reject:
        """Return the refusal of a place that matches no accepted entry; it is made once."""
        if self._unmatched is None:
            self._unmatched = te.Reject(te.Reason.SOURCE, f"{self} matches no accepted entry")
        return self._unmatched

    def __str__(self) -> str:
        if self.is_local:
            return "a local address"
        country = "an unknown country" if self.country is None else f"country {self.country}"
        return country if self.as_number is None else f"AS{self.as_number} in {country}"


def country_of(record: Any) -> str | None:
    """Return the country in a record.

    It is the country of the address, or else that in which its network is registered: MaxMind's tables have only that
    for addresses that are at several places at once. Other makers write ``country_code``, or ``country`` with a code.
    """
    if not isinstance(record, dict):
        return None
    country = record.get("country")
    for each in (country, record.get("registered_country")):
        if isinstance(each, dict) and (code := _code(each.get("iso_code"))):
            return code
    return _code(record.get("country_code")) or _code(country)


def as_number_of(record: Any) -> int | None:
    """Return the AS number in a record; some tables have it among `traits`, or write ``asn = "AS3320"``."""
    if not isinstance(record, dict):
        return None
    traits = record.get("traits")
    for each in (record, traits):
        if isinstance(each, dict) and isinstance(number := each.get("autonomous_system_number"), int):
            return number
    number = record.get("asn")
    if isinstance(number, str) and (digits := number.removeprefix("AS")).isdecimal() and len(digits) <= 10:
        return int(digits)
    return number if isinstance(number, int) else None


def _code(value: object) -> str | None:
    return value.upper() if isinstance(value, str) and len(value) == 2 else None
