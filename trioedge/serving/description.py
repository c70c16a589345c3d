"""What an edge was given: the arguments of `Edge`, checked, and the same in each of its runs."""

import socket
from collections.abc import Iterable, Mapping
from pathlib import PurePath
from typing import Any

import attrs

from ..addresses.address import parse_address
from ..addresses.open_ports import EXAMPLE, OpenPorts, parse_open_ports
from ..addresses.source_prefix import SourcePrefix, parse_source_prefix
from ..arguments import check_choice, check_count, check_number, is_async
from ..errors import ConfigurationError, quote
from ..loop.sockets import MAX_KEEPALIVE_SECONDS
from ..observers.check import check_observers
from ..services.applying.outbounds import OutboundFacts
from ..services.control_plane import ControlPlane, FollowsDevices
from ..services.stage_keys import StageKeys
from ..session.outline import Outline
from ..telemetry.access_log import AccessLog
from ..upstreams.ways.named import check_outbounds, facts_of_outbounds
from .admin_listener import Admin, read_admin


@attrs.frozen(eq=False, kw_only=True)
class Description:
    """The arguments of an :class:`Edge`; making one checks them.

    Raises:
        ConfigurationError: one of them is wrong.
    """

    outline: Outline
    stage_keys: StageKeys
    control: ControlPlane | None
    name: str | None
    report_seconds: float
    admin: str | Admin | None
    drain_seconds: float
    max_sessions: int | None
    max_handshakes: int | None
    refuse: str
    keepalive_seconds: float
    source_prefix: tuple[int, int]
    source_keys: SourcePrefix = attrs.field(init=False)
    """The same, as sessions take it."""
    access_log: AccessLog | None
    open_ports: OpenPorts | None = attrs.field(converter=parse_open_ports)
    outbounds: Mapping[str, object] = attrs.field(converter=check_outbounds)
    observers: tuple[object, ...] = attrs.field(converter=check_observers, default=())

    def __attrs_post_init__(self) -> None:
        if isinstance(self.control, type):
            raise ConfigurationError(f"control={self.control.__name__} is a class: call it, {self.control.__name__}(…)")
        if self.name is not None and not (isinstance(self.name, str) and self.name and self.name.isprintable()):
            raise ConfigurationError(f"Edge(name={quote(self.name)}) must be printable text, as in 'edge-1'")
        check_number("Edge", "drain_seconds", self.drain_seconds)
        if self.max_sessions is not None:
            check_count("Edge", "max_sessions", self.max_sessions)
        if self.max_handshakes is not None:
            check_count("Edge", "max_handshakes", self.max_handshakes)
        if self.open_ports is not None and self.control is None:
            raise ConfigurationError(
                "Edge(open_ports=…) does nothing, because the edge has no control plane, whose policies name listeners"
            )
        check_choice("Edge", "refuse", self.refuse, ("reset", "close"))
        check_number("Edge", "keepalive_seconds", self.keepalive_seconds, maximum=MAX_KEEPALIVE_SECONDS)
        check_number("Edge", "report_seconds", self.report_seconds, above=0)
        read_admin(self.admin)
        if self.outbounds and ("outbound" not in self.outline.facts[-1].enforces or self.control is None):
            why = "has no control plane, whose policies name them"
            if self.control is not None:
                why = (
                    f"has an endpoint that does not go by policies: write {self.outline.names[-1]}() without an address"
                )
            raise ConfigurationError(f"Edge(outbounds=…) does nothing, because the edge {why}")
        object.__setattr__(self, "source_keys", parse_source_prefix(self.source_prefix))
        names, facts = self.outline.names, self.outline.facts
        for number, (name, each) in enumerate(zip(names, facts, strict=True), 1):
            if each.source_bits is not None and each.source_bits < self.source_keys.ipv6:
                raise ConfigurationError(
                    f"stage {number} ({name}) counts sources by /{each.source_bits}, which is coarser than the edge's "
                    f"/{self.source_keys.ipv6}: give it a longer prefix, or the edge "
                    f"source_prefix=({self.source_keys.ipv4}, {each.source_bits})"
                )
        if self.access_log is not None and not isinstance(self.access_log, AccessLog):
            raise ConfigurationError(
                f"Edge(access_log={quote(self.access_log)}) must be an AccessLog: write "
                "access_log=te.AccessLog('access.log')"
            )

    @property
    def known_name(self) -> str:
        """What reports call the edge."""
        return socket.gethostname() if self.name is None else self.name

    @property
    def outbound_facts(self) -> Mapping[str, OutboundFacts]:
        """What policies have to know of the outbounds."""
        return facts_of_outbounds(self.outbounds)

    @property
    def admin_listener(self) -> Admin | None:
        """Where the admin API listens; None for no such API."""
        return read_admin(self.admin)


def check_control(control: Any) -> None:
    """Refuse a value that is no control plane.

    Raises:
        ConfigurationError: names what to write instead.
    """
    if control is None or isinstance(control, ControlPlane):
        if isinstance(control, FollowsDevices) and (is_async(control.came) or is_async(control.went)):
            raise ConfigurationError(
                f"control={quote(control)} has an async came or went, and these cannot wait: write def"
            )
        return
    mend = "it needs async run(link)"
    if isinstance(control, (str, PurePath)):
        mend = f"write control=te.FileControl({str(control)!r})"
    elif isinstance(control, Mapping):
        mend = "write control=te.MemoryControl({…})"
    raise ConfigurationError(f"control={quote(control)} is no control plane: {mend}")


def read_listen(listen: Any, *, may_be_empty: bool = False) -> tuple[str, ...]:
    """Read the addresses to listen on.

    Args:
        listen: one address or several.
        may_be_empty: whether policies may name listeners, so that the edge needs none of its own.

    Raises:
        ConfigurationError: there is none, one is no address, or one comes twice.
    """
    single = isinstance(listen, (str, bytes)) or not isinstance(listen, Iterable)
    given = [listen] if single else list(listen)
    if not given and not may_be_empty:
        raise ConfigurationError(
            "listen names no address: write listen='tcp://127.0.0.1:6380', or let policies name listeners with "
            f"open_ports={EXAMPLE!r}"
        )
    addresses = tuple(str(parse_address(address, listening=True)) for address in given)
    for address in addresses:
        if addresses.count(address) > 1 and not address.endswith(":0"):
            raise ConfigurationError(f"listen names {address} twice")
    return addresses
