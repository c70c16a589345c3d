"""The PROXY protocol of HAProxy: a balancer names its client before the client's first byte."""

from collections.abc import Iterable
from typing import Final, Literal

from ...addresses.rules import SourceRules
from ...arguments import Fixed, check_choice
from ...errors import ConfigurationError, Faults, RulesError
from ...session.handshake import Peek, Read, ReadUntil, Steps
from ...session.session import Session
from ...session.verdict import CONTINUE, Reason, Reject
from ...wire.errors import WireError
from ...wire.proxy_protocol import (
    MAX_V1_BYTES,
    MAX_V2_BYTES,
    V1_END,
    V1_START,
    V2_FIXED_BYTES,
    V2_START,
    ProxyHeader,
    parse_v1,
    parse_v2,
    v2_size,
)

_UNTRUSTED: Final = Reject(Reason.SOURCE, "the peer is no trusted balancer")
_FIRST: Final = Peek(1)
_LINE: Final = ReadUntil(V1_END, MAX_V1_BYTES)
_FIXED: Final = Read(V2_FIXED_BYTES)
_NO_HEADER: Final = Reject(Reason.PROTOCOL, "no PROXY header")


class ProxyProtocol(Fixed):
    """Read the header of a trusted balancer, version 1 or 2, and take the client that it names as the source.

    The header stays in ``session.state[te.ProxyHeader]``. A header that names no client (``LOCAL``, ``UNKNOWN``) keeps
    the balancer as the source. One that deviates from the specification in anything is refused with reason
    ``protocol``. Any other peer can name no client: its bytes are never read as a header.
    """

    max_bytes = MAX_V2_BYTES
    provides = ("source",)
    once = True

    def __init__(self, trusted: Iterable[str], *, otherwise: Literal["refuse", "plain"] = "refuse") -> None:
        """Compile the addresses.

        Args:
            trusted: the balancers, which must send a header: addresses (``192.0.2.7``), prefixes (``10.0.0.0/8``),
                ranges (``192.0.2.10-192.0.2.20``), or ``unix`` for those of a local socket. The address that connected
                is matched, ``session.peer``.
            otherwise: what becomes of other peers: ``refuse``, with reason ``source``; or ``plain``, for a port that
                clients reach without a balancer too: they are carried as they are.

        Raises:
            ConfigurationError: names the argument and its fault.
        """
        check_choice("ProxyProtocol", "otherwise", otherwise, ("refuse", "plain"))
        if isinstance(trusted, Iterable) and not isinstance(trusted, str):
            trusted = tuple(trusted)
            if not trusted:
                raise ConfigurationError("ProxyProtocol(trusted) names no balancer: write trusted=['10.0.0.0/8']")
        try:
            rules = SourceRules(trusted)
        except RulesError as error:
            faults = Faults()
            faults.extend((f"ProxyProtocol: trusted{each.removeprefix('accept')}" for each in error.faults), error.more)
            raise ConfigurationError(str(faults)) from None
        self._trusted = rules
        self._otherwise = CONTINUE if otherwise == "plain" else _UNTRUSTED

    def __repr__(self) -> str:
        otherwise = ", otherwise='plain'" if self._otherwise is CONTINUE else ""
        return f"ProxyProtocol({self._trusted.accepted} trusted{otherwise})"

    def converse(self, session: Session) -> Steps:
        """Read the header, and not a byte more."""
        if self._trusted.match(session.peer_bytes) is None:
            return self._otherwise
        head = yield _FIRST
        for start in (V1_START, V2_START):
            while len(head) < len(start) and start.startswith(head):
                head = yield Peek(len(head) + 1)
        try:
            if head.startswith(V1_START):
                header = parse_v1((yield _LINE))
            elif head.startswith(V2_START):
                fixed = yield _FIXED
                header = parse_v2(fixed + (yield Read(v2_size(fixed) - V2_FIXED_BYTES)))
            else:
                return _NO_HEADER
        except WireError as error:
            return Reject(Reason.PROTOCOL, f"PROXY header: {error}")
        session.state[ProxyHeader] = header
        if header.source:
            session.set_source("unix" if header.source.startswith("unix") else header.source, header.source_port)
        return CONTINUE
