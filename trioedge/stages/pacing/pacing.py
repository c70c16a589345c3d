"""Byte rates of services, down and up, over all sessions of each."""

from math import inf
from typing import TYPE_CHECKING

from ...arguments import Fixed
from ...errors import ConfigurationError
from ...services.rates import format_rate, parse_rate
from .pacer import Pacer

if TYPE_CHECKING:
    from ...services.context import EdgeContext


class Pacing(Fixed):
    """Limit each service to a rate down and a rate up; the kernel paces, so no byte waits in the edge.

    The rate of a service is the sum over its sessions. Each session has a share, which is computed anew from the bytes
    that it moves, at most every 0.1 s. The only session of a service has the whole rate. A session whose bytes move
    again after a silence has an equal share at once, so a service may exceed its rate for 0.1 s. It may also exceed its
    rate while sessions open, because the kernel does not pace the first ten packets of a connection. Rates are
    independent of the session gate: a service at its limit opens sessions as fast as an idle service.

    Downloads are paced on the client's socket, uploads on the upstream's (``SO_MAX_PACING_RATE``). Local sockets, and
    streams that are no TCP sockets, are slowed by a timeline in the edge instead; ``session.pacing`` says which.
    The policy's `down_rate` and `up_rate` take precedence over the arguments, and apply to live sessions within 0.1 s.

    It needs an endpoint that relays with the edge's relay, as `Forward` and ``context.relay`` do.
    """

    kind = "decision"
    requires = ("service",)
    enforces = ("down_rate", "up_rate")
    once = True  # a session has one share of one rate
    needs_relay = True

    def __init__(self, down_rate: float | str | None = None, up_rate: float | str | None = None) -> None:
        """Set the rates of services whose policy has none.

        Args:
            down_rate: to the clients of a service, in bytes a second, at least 1, or as text such as ``"10 MB/s"`` or
                ``"80 Mbit/s"``. None for no limit.
            up_rate: the same to its upstream.

        Raises:
            ConfigurationError: names the argument that is no rate.
        """
        self.down_rate = _read("down_rate", down_rate)
        self.up_rate = _read("up_rate", up_rate)
        self.needs_control = down_rate is None and up_rate is None

    def __repr__(self) -> str:
        rates = {"down_rate": self.down_rate, "up_rate": self.up_rate}
        return f"Pacing({', '.join(f'{name}={format_rate(rate)!r}' for name, rate in rates.items() if rate != inf)})"

    def open(self, context: "EdgeContext") -> Pacer:
        """Open the pacer of one run of an edge."""
        return Pacer(context, self.down_rate, self.up_rate)


def _read(argument: str, value: float | str | None) -> float:
    if value is None:
        return inf
    try:
        return parse_rate(value)
    except ConfigurationError as error:
        raise ConfigurationError(f"Pacing({argument}=...): {error}") from None
