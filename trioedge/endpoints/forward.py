"""Forward a session's bytes to one upstream: a fixed one, or one that a function, a stage or a policy names."""

from collections.abc import Callable, Iterable
from typing import Any, Final, TypeAlias

from ..addresses.address import Address, parse_address
from ..addresses.classes import AddressClass
from ..arguments import check_choice, check_count, check_number
from ..errors import ConfigurationError
from ..services.context import EdgeContext
from ..session.session import Session
from ..session.stage import Recipe
from ..session.verdict import Reject
from ..upstreams.by_policy import most_ready
from ..upstreams.outbound import check_outbound
from .forwarding import Forwarding

ALLOWABLE: Final = (*(str(each) for each in AddressClass if each is not AddressClass.GLOBAL), "unix")

Choose: TypeAlias = Callable[[Session], "str | Address | Reject"]
"""Gives a session's destination, or refuses it; a plain function, which cannot wait."""


class Forward:
    """Connect to an upstream and carry bytes both ways until both sides have finished.

    An upstream that refuses, does not answer in time or has no address ends the session with a reset and a
    reason of its own (``upstream_refused``, ``upstream_timeout``, ``upstream_unreachable``,
    ``upstream_unresolved``, ``upstream_forbidden``), never later than `connect_seconds`. An evicted session's sockets
    are both free when :meth:`Edge.evict` returns.

    Without `to`, a session goes to the `destination` that a stage wrote into it, else where its service's policy says;
    only to addresses that `allow` lets through. A policy's upstream is made when the policy arrives, and is the same
    object for as long as a policy names it: its name is resolved before the first session comes, and `preconnect`
    connections are made.
    """

    relays = True

    def __init__(
        self,
        to: str | Choose | None = None,
        *,
        preconnect: int = 0,
        connect_seconds: float = 5.0,
        outbound: Any = None,
        allow: Iterable[str] = (),
    ) -> None:
        """Describe the upstream; nothing is connected before the edge serves.

        Args:
            to: ``tcp://host:port`` or ``unix:///path``, whose name is resolved in the background; or a plain function
                of the session that returns such an address or a :class:`Reject`; or None for the session's own
                `destination`, and else its policy's `outbound`.
            preconnect: idle connections kept ready, 0 to 10,000; of a policy's upstream the policy says how many. A
                session takes one and never waits for one. All policies together may have an eighth of the process's
                file descriptors, and 10,000 at most. Right where the client speaks first (HTTP, Redis, TLS): an
                upstream that greets or hangs up on silent clients (SMTP, MySQL, SSH) wants 0.
            connect_seconds: the limit of one connect, name and all addresses included; above 0.
            outbound: the way out, an :class:`Outbound`; the edge's own, which is ``Direct()``, if None.
            allow: kinds of address that policies and stages may name besides public ones: ``private``, ``loopback``,
                ``link_local``, ``metadata``, ``multicast``, ``unspecified``, ``reserved`` or ``unix``. A `to` of your
                own may be anything.

        Raises:
            ConfigurationError: names the argument and what is wrong with it.
        """
        self.to: Address | Choose | None = to if to is None or callable(to) else parse_address(to)
        check_count("Forward", "preconnect", preconnect, minimum=0, maximum=10_000)
        check_number("Forward", "connect_seconds", connect_seconds, above=0)
        self.allow = (allow,) if isinstance(allow, str) else tuple(allow)
        for each in self.allow:
            check_choice("Forward", "allow", each, ALLOWABLE)
        if preconnect and not isinstance(self.to, Address):
            raise ConfigurationError(
                "Forward(preconnect=…) needs one destination, to='tcp://…'; a policy says preconnect itself"
            )
        if outbound is not None:
            check_outbound(outbound, "Forward(outbound")
        self.preconnect = preconnect
        self.connect_seconds = connect_seconds
        self.outbound = outbound
        self.needs_control = to is None
        self.taskless = isinstance(outbound, Recipe | None)  # a user's own connect is awaited in the session's task
        self.enforces: tuple[str, ...] = ()
        if to is None:
            self.enforces = ("outbound", "preconnect") if self.taskless else ("outbound",)
        self.descriptors = most_ready() if to is None else preconnect

    def __repr__(self) -> str:
        to = "" if self.to is None else f"{getattr(self.to, '__name__', None) or repr(str(self.to))}, "
        idle = f"preconnect={self.preconnect}, " if self.preconnect else ""
        allow = f", allow={list(self.allow)}" if self.allow else ""
        return f"Forward({to}{idle}connect_seconds={self.connect_seconds:g}{allow})"

    def open(self, context: EdgeContext) -> Forwarding:
        """Make the endpoint of one run of an edge."""
        return Forwarding(self, context)
