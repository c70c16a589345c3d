"""Addresses of listeners that a policy names, and the ports among which they must be."""

import ipaddress
import re
from collections.abc import Iterable
from typing import Final

import attrs

from ..arguments import size_fault
from ..errors import ConfigurationError, quote
from .address import Address, packed_ip, parse_address

EXAMPLE: Final = "tcp://0.0.0.0:20000-29999"

MAX_LISTENERS: Final = 64
"""Listeners of one service."""

_RANGE: Final = re.compile(r"(?P<host>.*:)(?P<first>\d{1,5})-(?P<last>\d{1,5})", re.DOTALL)


def listener_address(text: str) -> Address:
    """Parse the address of a listener that a policy names; two spellings of one address give equal results.

    Args:
        text: ``tcp://192.0.2.1:20001``, ``tcp://[::]:20001``.

    Raises:
        ConfigurationError: it is no address of TCP with a port of its own; names what to write.
    """
    address = parse_address(text, listening=True)
    if address.scheme == "unix":
        raise ConfigurationError("it is a local socket, and a control plane may not make files here: write tcp://")
    if address.scheme == "systemd":
        raise ConfigurationError("systemd opens it before a control plane can name it: write tcp://")
    packed = packed_ip(address.host)
    if packed is None:
        raise ConfigurationError(
            f"{quote(address.host)} is a name, and to resolve it would block the edge: write its address, or 0.0.0.0"
        )
    if address.port == 0:
        raise ConfigurationError("port 0 is another one each time: write the port that clients connect to")
    _, percent, zone = address.host.partition("%")
    return Address("tcp", f"{ipaddress.ip_address(packed)}{percent}{zone}", address.port)


def listeners_fault(value: object) -> str:
    """Describe the fault of the listeners of one policy; "" for good ones. Takes some 4 µs for each.

    The fault of one of them begins with its place: ``[1] = 'unix:///run/x.sock' is no listener: …``.
    """
    if not isinstance(value, tuple):
        return "must be a tuple of addresses, as in ('tcp://0.0.0.0:20001',)"
    if len(value) > MAX_LISTENERS:
        return f"[{MAX_LISTENERS}] is one too many: a service has at most {MAX_LISTENERS} listeners"
    by_port: dict[int, list[tuple[int, Address]]] = {}
    for number, each in enumerate(value):
        if not isinstance(each, str):
            return f"[{number}] = {quote(each)} must be text, as in 'tcp://0.0.0.0:20001'"
        if wrong := size_fault(each):
            return f"[{number}] {wrong}"
        try:
            address = listener_address(each)
        except ConfigurationError as error:
            return f"[{number}] = {quote(each)} is no listener: {error}"
        others = by_port.setdefault(address.port, [])
        for before, other in others:
            if overlap(address, other):
                return f"[{number}] = {quote(each)} is there already, as [{before}]: leave one of them out"
        others.append((number, address))
    return ""


def overlap(one: Address, other: Address) -> bool:
    """Return whether two listeners cannot be open at the same time: one is the other, or takes its clients as well."""
    return one.port == other.port and (_includes(one.host, other.host) or _includes(other.host, one.host))


def _includes(host: str, other: str) -> bool:
    """Return whether a listener on `host` has the clients of `other`; ``[::]`` takes IPv4 as well."""
    return host in (other, "::") or (host == "0.0.0.0" and ":" not in other)


@attrs.frozen(slots=True)
class _Span:
    host: str
    first: int
    last: int
    text: str


@attrs.frozen(slots=True)
class OpenPorts:
    """The listeners that policies may name."""

    _spans: tuple[_Span, ...]

    def allow(self, address: Address) -> bool:
        """Return whether a policy may name a listener."""
        return any(
            span.first <= address.port <= span.last and _includes(span.host, address.host) for span in self._spans
        )

    @property
    def texts(self) -> tuple[str, ...]:
        """The listeners and the ranges of ports, as they were written."""
        return tuple(each.text for each in self._spans)

    def __str__(self) -> str:
        return ", ".join(span.text for span in self._spans)


def parse_open_ports(value: object) -> OpenPorts | None:
    """Read ``Edge(open_ports=…)``: a text or several.

    Raises:
        ConfigurationError: ``Edge(open_ports=…): '0.0.0.0:20000' …``.
    """
    if value is None:
        return None
    texts = [value] if isinstance(value, (str, bytes)) or not isinstance(value, Iterable) else list(value)
    if not texts:
        raise ConfigurationError(f"Edge(open_ports={quote(value)}) names no port: write None, or {EXAMPLE!r}")
    return OpenPorts(tuple(_span(text) for text in texts))


def _span(text: object) -> _Span:
    wrong = f"Edge(open_ports=…): {quote(text)}"
    if not isinstance(text, str):
        raise ConfigurationError(f"{wrong} is no text: write {EXAMPLE!r}")
    found = _RANGE.fullmatch(text.strip(" \t"))
    ends = [text, text] if found is None else [f"{found['host']}{found['first']}", f"{found['host']}{found['last']}"]
    try:
        first, last = map(listener_address, ends)
    except ConfigurationError as error:
        raise ConfigurationError(f"{wrong} is no port and no range of ports, as in {EXAMPLE!r}: {error}") from None
    if first.port > last.port:
        raise ConfigurationError(f"{wrong} ends before it begins: write the lower port first")
    host = f"[{first.host}]" if ":" in first.host else first.host
    ports = f"{first.port}" if found is None else f"{first.port}-{last.port}"
    return _Span(first.host, first.port, last.port, f"tcp://{host}:{ports}")
