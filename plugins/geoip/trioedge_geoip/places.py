"""The places of addresses, looked up in the tables; those of the latest addresses are remembered.

To make a Python object of a record of GeoLite2-Country takes 4 µs, most of it for the names of the country in eight
languages, and nothing of it can be left out. A place that is remembered is found in 0.1 µs.

| the memory | event | action |
| --- | --- | --- |
| any | an address of the young half | give its place |
| any | an address of the old half | give its place, and put it into the young half |
| any | another address | look it up, and put it into the young half |
| the young half is full | a place is put into it | the old half is dropped; the young half is the old one |
"""

from collections.abc import Callable, Iterable
from typing import Any, Final, TypeAlias

import trioedge as te

from .place import Place, as_number_of, country_of

HALF: Final = 8_192
"""Addresses in half of the memory. To drop so many takes 0.5 ms."""

INTERNAL: Final = (
    "unix", "127.0.0.0/8", "::1", "10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "100.64.0.0/10", "fc00::/7",
    "169.254.0.0/16", "fe80::/10",
)  # fmt: skip
"""Local sockets, this machine, private networks, those between carrier and customer (RFC 6598), and link-local."""

LookUp: TypeAlias = Callable[[str], Any]
"""Gives the record of an address, or None. It must not raise."""


class Places:
    """The places of addresses."""

    __slots__ = ("_internal", "_local", "_look_ups", "_old", "_unknown", "_young")

    def __init__(self, unknown: te.Verdict | None, local: te.Verdict | None) -> None:
        """Begin without a table.

        Args:
            unknown: the verdict about addresses of which the tables lack what a rule asks; None to leave it to the
                rules.
            local: the same about local sockets and internal addresses.
        """
        self._unknown, self._local = unknown, local
        self._internal = te.SourceRules(INTERNAL)
        self._look_ups: tuple[LookUp, ...] = ()
        self._young: dict[bytes, Place] = {}
        self._old: dict[bytes, Place] = {}

    def __len__(self) -> int:
        """Give the number of addresses in memory."""
        return len(self._young) + len(self._old)

    def look_in(self, look_ups: Iterable[LookUp]) -> None:
        """Use these tables from now on; of two that have the same fact the first one counts."""
        self._look_ups = tuple(look_ups)
        self._young, self._old = {}, {}

    def of(self, packed: bytes, text: str) -> Place:
        """Give the place of an address.

        Args:
            packed: the address as ``session.source_bytes`` has it.
            text: the same as ``session.source`` has it.
        """
        place = self._young.get(packed)
        if place is None:
            place = self._old.get(packed) or self._found(packed, text)
            if len(self._young) >= HALF:
                self._old, self._young = self._young, {}
            self._young[packed] = place
        return place

    def _found(self, packed: bytes, text: str) -> Place:
        country, as_number = None, None
        for look_up in self._look_ups if packed else ():
            record = look_up(text)
            country = country or country_of(record)
            as_number = as_number_of(record) if as_number is None else as_number
        if country is None and as_number is None and self._internal.match(packed) is not None:
            return Place(is_local=True, otherwise=self._local)
        return Place(country, as_number, otherwise=self._unknown)
