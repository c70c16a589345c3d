"""How fast a service's bytes may go, down and up, over all of its sessions."""

from math import inf
from typing import TYPE_CHECKING

from ...services.rates import format_rate, parse_rate
from .pacer import Pacer

if TYPE_CHECKING:
    from ...services.context import EdgeContext


class Pacing:
    """Keep each service within a rate down and a rate up; the kernel paces, so that no byte waits in the edge.

    A service's rate is the sum over its sessions. Shares follow the bytes that each carries, at most every 0.1 s; a
    session alone has all of it, and one that wakes up has an equal share at once, so that for 0.1 s a service may be
    faster than its rate. It may also be while sessions open, because the kernel does not pace the first ten packets of
    a connection. Rates share nothing with the session gate: a service at its limit opens sessions as fast as an idle
    one.

    Downloads are paced on the client's socket, uploads on the upstream's (``SO_MAX_PACING_RATE``). Streams that are no
    TCP sockets, and local sockets, are slowed by a timeline in the edge instead; ``session.pacing`` says which.
    The policy of a service goes before the arguments, and applies to live sessions as soon as it changes.

    It needs an endpoint that relays with the edge's relay, as `Forward` and ``context.relay`` do.
    """

    kind = "decision"
    requires = ("service",)
    enforces = ("down_rate", "up_rate")
    once = True  # a session has one share of one rate
    needs_relay = True

    def __init__(self, down_rate: float | str | None = None, up_rate: float | str | None = None) -> None:
        """Set the rates of services whose policy says none.

        Args:
            down_rate: to the clients of a service, in bytes a second, or as text such as ``"10 MB/s"`` or
                ``"80 Mbit/s"``. None for no limit.
            up_rate: the same to its upstream.

        Raises:
            ConfigurationError: names the argument that is no rate.
        """
        self.down_rate = inf if down_rate is None else parse_rate(down_rate)
        self.up_rate = inf if up_rate is None else parse_rate(up_rate)
        self.needs_control = down_rate is None and up_rate is None

    def __repr__(self) -> str:
        rates = {"down_rate": self.down_rate, "up_rate": self.up_rate}
        return f"Pacing({', '.join(f'{name}={format_rate(rate)!r}' for name, rate in rates.items() if rate != inf)})"

    def open(self, context: "EdgeContext") -> Pacer:
        """Make the pacer of one run of an edge."""
        return Pacer(context, self.down_rate, self.up_rate)
