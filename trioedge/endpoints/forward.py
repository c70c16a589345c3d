"""Forward a session's bytes to one upstream: a fixed one, or one that a function, a stage or a policy names."""

from collections.abc import Callable, Iterable
from typing import Final, TypeAlias

from ..addresses.address import Address, parse_address
from ..addresses.classes import AddressClass
from ..arguments import Fixed, binds, check_choice, check_count, check_number, is_async
from ..errors import ConfigurationError, quote
from ..services.context import EdgeContext, Outbound
from ..session.kinds import name_of
from ..session.session import Session
from ..session.stage import Recipe
from ..session.verdict import Reject
from ..upstreams.balancing.balanced import Balanced
from ..upstreams.by_policy import max_idle
from ..upstreams.connector import RETRIES
from ..upstreams.outbound import check_outbound
from ..upstreams.own_listeners import own_listener
from ..upstreams.ways.via import Via
from .destinations import LiveDestinations
from .forwarding import Forwarding

ALLOWABLE: Final = (*(str(each) for each in AddressClass if each is not AddressClass.GLOBAL), "unix")

Choose: TypeAlias = Callable[[Session], "str | Address | Reject"]
"""Gives a session's destination, or refuses the session; a plain function, which cannot wait."""


class Forward(Fixed):
    """Connect to an upstream and carry bytes both ways until both sides have finished.

    A session whose upstream refuses, does not answer in time or has no address ends with a reset and with the reason
    (``upstream_refused``, ``upstream_timeout``, ``upstream_unreachable``, ``upstream_unresolved``,
    ``upstream_forbidden``, ``upstream_tls``), never later than `connect_seconds`.

    Without `to`, a session goes to the `destination` that a stage wrote into it, else to that of its service's policy;
    only to addresses that `allow` permits, and by the policy's `outbound` if that is a name. The upstream of a policy
    is made when the policy arrives, and is the same object for as long as a policy names it: its name is resolved and
    `preconnect` connections are made before the first session comes.
    """

    relays = True

    def __init__(
        self,
        to: str | Address | Balanced | Choose | None = None,
        *,
        preconnect: int = 0,
        connect_seconds: float = 5.0,
        retries: int = RETRIES,
        outbound: Outbound | Recipe | None = None,
        allow: Iterable[str] = (),
    ) -> None:
        """Describe the upstream; nothing is connected before the edge serves.

        Args:
            to: ``tcp://host:port`` or ``unix:///path``, whose name is resolved in the background; or several of them,
                :class:`Balanced`; or a plain function of the session that returns an address or a :class:`Reject`; or
                None for the session's own `destination`, and else that of its policy.
            preconnect: idle connections to keep, to each member of a :class:`Balanced`, 0 to 10,000; a policy has its
                own number. Workers divide it. A session takes one and never waits for one. All policies together may
                have an eighth of the process's file descriptors, and 10,000 at most. For protocols in which the client
                speaks first (HTTP, Redis, TLS); an upstream that greets, or that closes silent connections (SMTP,
                MySQL, SSH), needs 0.
            connect_seconds: the limit of one connect, name, all addresses and retries included; above 0.
            retries: how often a connect is retried that the upstream refused, 0 to 10, as it does while it restarts.
                The first pause is 0.1 s, each further one twice as long. No byte was sent before, so nothing is
                repeated. An upstream that refused every retry of a session gets one connect a session for 30 s, or
                until it answers. A local socket that does not exist is not retried.
            outbound: the way out, an :class:`Outbound`; the edge's own, which is ``Direct()``, if None.
            allow: kinds of address that policies and stages may name besides public ones: ``private``, ``loopback``,
                ``link_local``, ``metadata``, ``multicast``, ``unspecified``, ``reserved`` or ``unix``. A `to` that
                you write yourself may be any address.

        Raises:
            ConfigurationError: names the argument and its fault.
        """
        if callable(to):
            _check_choose(to)
        self.to = to if callable(to) or isinstance(to, Address | Balanced | None) else parse_address(to)
        check_count("Forward", "preconnect", preconnect, minimum=0, maximum=10_000)
        check_number("Forward", "connect_seconds", connect_seconds, above=0)
        check_count("Forward", "retries", retries, minimum=0, maximum=10)
        self.allow = (allow,) if isinstance(allow, str) else tuple(allow)
        for each in self.allow:
            check_choice("Forward", "allow", each, ALLOWABLE)
        if preconnect and not isinstance(self.to, Address | Balanced):
            raise ConfigurationError(
                "Forward(preconnect=…) needs one destination, to='tcp://…'; a policy has its own preconnect"
            )
        if outbound is not None:
            check_outbound(outbound, "Forward(outbound")
        self.preconnect = preconnect
        self.connect_seconds = connect_seconds
        self.retries = retries
        self.outbound = outbound
        self.needs_control = self.follows_destination = to is None
        self.ignores_destination = isinstance(self.to, Address)
        # A connect through proxies, or of a user's own, is awaited in the session's task.
        self.taskless = isinstance(outbound, Recipe | None) and not isinstance(outbound, Via)
        self.enforces: tuple[str, ...] = ()
        if to is None:
            self.enforces = ("destination", "outbound", "preconnect") if self.taskless else ("destination", "outbound")

    @property
    def descriptors(self) -> int:
        """The most idle connections that it keeps, by the present limit of open files."""
        if isinstance(self.to, Balanced):
            return self.preconnect * len(self.to.members)
        return max_idle() if self.to is None else self.preconnect

    def __repr__(self) -> str:
        to = "" if self.to is None else f"{_written(self.to)}, "
        idle = f"preconnect={self.preconnect}, " if self.preconnect else ""
        way = "" if self.outbound is None else f", outbound={quote(self.outbound)}"
        allow = f", allow={list(self.allow)}" if self.allow else ""
        return f"Forward({to}{idle}connect_seconds={self.connect_seconds:g}{way}{allow})"

    def open(self, context: EdgeContext) -> Forwarding:
        """Make the endpoint of one run of an edge.

        Raises:
            ConfigurationError: `to` is, or has, an address that the edge itself listens on.
        """
        known = self.to.addresses if isinstance(self.to, Balanced) else (self.to,)
        for each in known:
            if isinstance(each, Address) and (listener := own_listener(each, context.listeners)) is not None:
                raise ConfigurationError(
                    f"Forward({_written(self.to)}) goes to {listener}, where this edge itself listens: its sessions "
                    "would come back for ever"
                )
        return Forwarding(LiveDestinations(self, context), context)


def _written(to: "Address | Balanced | Choose | None") -> str:
    """Write a destination as a user does."""
    if callable(to):
        return name_of(to)
    return repr(str(to) if isinstance(to, Address) else to)


def _check_choose(choose: Choose) -> None:
    where = f"Forward(to={name_of(choose)})"
    if isinstance(choose, type):
        raise ConfigurationError(f"{where} is a class: write an address, or a function of the session")
    if is_async(choose):
        raise ConfigurationError(f"{where} is async: a plain def, which answers from memory, gives the destination")
    if not binds(choose, None):
        raise ConfigurationError(f"{where} must take the session and nothing else")
