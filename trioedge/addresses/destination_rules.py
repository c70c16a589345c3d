"""Destination rules: the names, networks and ports that sessions may go to, or may not, compiled once.

| an entry | matches |
| --- | --- |
| ``example.com`` | that name |
| ``*.example.com`` | every name below it, however deep, and not itself |
| ``10.0.0.0/8``, ``192.0.2.7``, ``192.0.2.1-192.0.2.9``, ``2001:db8::/32`` | these addresses |
| ``*`` | every name and every address |
| ``unix`` | local sockets |
| ``…:443``, ``…:8000-8999``, ``[2001:db8::/32]:443``; ``:443`` | the same at these ports; every host at them |

An entry that rejects wins over every one that accepts, because neither a name nor a port is the longer match. It also
rejects the addresses that lead to its own: IPv6 that embeds them (NAT64, 6to4, Teredo), and ``0.0.0.0`` and ``::``
where it rejects the loopback address. A name is judged twice: itself, and then the addresses that it has, by
:class:`AddressRules`.
"""

import re
from collections.abc import Iterable
from functools import lru_cache
from typing import Final, NamedTuple

from ..errors import MAX_FAULTS, Faults, RulesError, quote
from .address import UNIX_SOURCE, is_host_name, packed_ip
from .classes import leads_to
from .prefixes import read_span
from .rules import SourceRules

UNMATCHED: Final = "matches no accepted entry"

MAX_KNOWN: Final = 4_096
"""Destinations whose parts are kept, the latest ones."""

ANY: Final = "*"
_LOCAL: Final = "unix:"
"""Names all local sockets; no host has this name."""
_ALL_PORTS: Final = (0, 65_535)
_ENTRY: Final = re.compile(r"(?:\[([^][]*)\]|([^][:]*))(?::([0-9]{1,5})(?:-([0-9]{1,5}))?)?")


class _Target(NamedTuple):
    """A destination: the entries that name its host, its port, and its packed address if it is one."""

    names: tuple[str, ...]
    port: int
    packed: bytes | None


@lru_cache(MAX_KNOWN)
def _target(destination: str) -> _Target:
    """Take apart what ``session.destination`` has. 3 µs; 0.1 for one of the latest."""
    scheme, _, rest = destination.partition("://")
    if scheme == "unix":
        return _Target((_LOCAL,), 0, b"")
    host, _, port = rest.rpartition(":")
    packed = packed_ip(host.strip("[]"))
    if packed is not None:
        return _Target((ANY,), int(port), packed)
    labels = host.removesuffix(".").split(".")
    above = [f"*.{'.'.join(labels[at:])}" for at in range(1, len(labels))]
    return _Target((".".join(labels), *above, ANY), int(port), None)


class _Entry(NamedTuple):
    """An entry that was read.

    Attributes:
        host: a name, ``*.`` and a name, ``*``, ``unix``; or a network.
        network: whether it is a network.
        ports: the first and the last one.
        text: the entry as the user wrote it.
    """

    host: str
    network: bool
    ports: tuple[int, int]
    text: str


class _Side:
    """The entries that accept, or those that reject."""

    __slots__ = ("count", "names", "networks")

    def __init__(self, entries: Iterable[_Entry]) -> None:
        self.names: dict[str, list[_Entry]] = {}
        by_ports: dict[tuple[int, int], dict[str, str]] = {}
        self.count = 0
        for entry in entries:
            self.count += 1
            if entry.network:
                by_ports.setdefault(entry.ports, {})[entry.host] = entry.text
            else:
                self.names.setdefault(entry.host, []).append(entry)
        self.networks = tuple((ports, SourceRules(texts), texts) for ports, texts in by_ports.items())

    def find_name(self, target: _Target) -> str | None:
        """Give the text of an entry that names the host of a destination, or all hosts, and its port."""
        for name in target.names:
            for entry in self.names.get(name, ()):
                if entry.ports[0] <= target.port <= entry.ports[1]:
                    return entry.text
        return None

    def find_address(self, packed: bytes, port: int) -> str | None:
        """Give the text of an entry whose network has an address, and whose ports have the port."""
        for (low, high), rules, texts in self.networks:
            if low <= port <= high and (rule := rules.match(packed)) is not None:
                return texts[rule.text]
        return None


def _rejecting(side: _Side, packed: bytes, port: int) -> str | None:
    """Give the text of an entry that rejects an address, or one to which it leads."""
    if not side.networks:
        return None
    found = (side.find_address(each, port) for each in (packed, *leads_to(packed)))
    return next(filter(None, found), None)


class AddressRules:
    """The part of the rules that judges the addresses which a name has, when it is connected to."""

    __slots__ = ("_accept", "_reject")

    def __init__(self, accept: _Side | None, reject: _Side) -> None:
        self._accept = accept
        self._reject = reject

    def refusal(self, packed: bytes, port: int) -> str:
        """Give the entry that rejects an address, or say that none accepts it; an empty text if it is accepted.

        Args:
            packed: 4 or 16 bytes; mapped IPv6 as IPv4.
            port: of the destination.
        """
        if (entry := _rejecting(self._reject, packed, port)) is not None:
            return f"is rejected by {entry}"
        if self._accept is not None and self._accept.find_address(packed, port) is None:
            return UNMATCHED
        return ""


class DestinationRules:
    """The destinations that are accepted and rejected, compiled: ``rules.judge(session.destination)``.

    Attributes:
        accepted: number of entries that accept.
        rejected: number of entries that reject.
    """

    __slots__ = ("_accept", "_by_address", "_reject", "_reject_addresses", "accepted", "rejected")

    def __init__(self, accept: Iterable[str] = (), reject: Iterable[str] = ()) -> None:
        """Compile entries, some 10 µs each.

        Raises:
            RulesError: quotes the entries that cannot be read, or are both accepted and rejected.
        """
        faults = Faults()
        accepted, rejected = _read_all("accept", accept, faults), _read_all("reject", reject, faults)
        both = {(entry.host, entry.ports) for entry in accepted.values()}
        for number, entry in rejected.items():
            if (entry.host, entry.ports) in both:
                faults.note(f"reject[{number}] = {entry.text!r} is both accepted and rejected")
        if faults:
            raise RulesError(list(faults)[:MAX_FAULTS], faults.more)
        self._accept, self._reject = _Side(accepted.values()), _Side(rejected.values())
        self.accepted, self.rejected = self._accept.count, self._reject.count
        # For a name that an entry accepts, or that needs none; and for one whose addresses must be accepted.
        self._reject_addresses = AddressRules(None, self._reject) if self._reject.networks else None
        self._by_address = AddressRules(self._accept, self._reject) if self._accept.networks else None

    def judge(self, destination: str) -> str | AddressRules | None:
        """Judge a destination as ``session.destination`` has it.

        Takes half a microsecond, and one and a half for an address; the first time 4.

        Returns:
            None if it is accepted; the entry that rejects it, or that none accepts it, as text; or the rules by which
            the addresses that its name has are to be judged, without which it is not accepted.
        """
        target = _target(destination)
        accept, reject = self._accept, self._reject
        entry = reject.find_name(target)
        if entry is None and target.packed:
            entry = _rejecting(reject, target.packed, target.port)
        if entry is not None:
            return entry
        accepted = not accept.count or accept.find_name(target) is not None
        if target.packed is None:
            return self._reject_addresses if accepted else self._by_address or UNMATCHED
        if accepted or (target.packed and accept.find_address(target.packed, target.port) is not None):
            return None
        return UNMATCHED


def _read_all(verb: str, listed: Iterable[str], faults: Faults) -> dict[int, _Entry]:
    """Read entries, and note the fault of each that cannot be read; give the others by their numbers."""
    if isinstance(listed, str) or not isinstance(listed, Iterable):
        faults.note(f"{verb}={quote(listed)} must be a list of entries: write [{quote(listed)}]")
        return {}
    read: dict[int, _Entry] = {}
    for number, text in enumerate(listed):
        entry = _read(text) if isinstance(text, str) else None
        if entry is None:
            faults.note(
                f"{verb}[{number}] = {quote(text)} is no name (example.com, *.example.com), address or network "
                "(10.0.0.0/8), and no port (*:443) of one"
            )
        else:
            read[number] = entry
    return read


def _read(text: str) -> _Entry | None:
    """Read one entry; None if it is none."""
    bare = text.strip()
    if bare.count(":") > 1 and not bare.startswith("["):
        bare = f"[{bare}]"
    match = _ENTRY.fullmatch(bare)
    if match is None or not bare:
        return None
    bracketed, plain, low, high = match.groups()
    ports = (int(low), int(high or low)) if low else _ALL_PORTS
    if low and not 0 < ports[0] <= ports[1] <= 65_535:
        return None
    if plain == UNIX_SOURCE:
        return None if low else _Entry(_LOCAL, False, ports, text)
    host = (bracketed or plain or ANY).lower()
    if bracketed is None and (host == ANY or is_host_name(host.removeprefix("*."))):
        return _Entry(host.removesuffix("."), False, ports, text)
    try:
        read_span(host)
    except ValueError:
        return None
    return _Entry(host, True, ports, text)
