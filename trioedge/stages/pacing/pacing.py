"""How fast a service's bytes may go, down and up, over all of its sessions."""

from math import inf

import trio

from ...services.context import EdgeContext
from ...services.rates import format_rate, parse_rate
from ...session.session import Session
from ...session.verdict import CONTINUE, Verdict
from .fq import prepare_fq
from .pacer import Pacer


class Pacing:
    """Keep each service within a rate down and a rate up; the kernel paces, so that no byte waits in the edge.

    A service's rate is the sum over its sessions. Shares follow what each carries, at most every 0.1 s; a session alone
    has all of it, and one that wakes up has an equal share at once, so that for 0.1 s a service may be faster than its
    rate. So it may while sessions open, for the kernel does not pace the first ten packets of a connection. Rates share
    nothing with the session gate: a service at its limit opens sessions as fast as an idle one. Seed, layer two.

    Downloads are paced on the client's socket, uploads on the upstream's (``SO_MAX_PACING_RATE``). Streams that are no
    TCP sockets, and local sockets, are held back by a timeline in the edge instead; ``session.pacing`` says which.
    The policy of a service goes before the arguments, and holds for live sessions as soon as it changes.
    """

    requires = ("service",)
    once = True  # a session has one share of one rate
    enforces = ("down_rate", "up_rate")

    def __init__(
        self, down_rate: float | str | None = None, up_rate: float | str | None = None, *, prepare_fq: bool = False
    ) -> None:
        """Set the rates of services whose policy says none.

        Args:
            down_rate: to the clients of a service, in bytes a second, or as text such as ``"10 MB/s"`` or
                ``"80 Mbit/s"``. None for no limit.
            up_rate: the same to its upstream.
            prepare_fq: put the queue discipline `fq` on this machine's interfaces at start, where nobody chose
                another one. Needs ``trioedge[fq]`` and CAP_NET_ADMIN; what comes of it is logged, and TCP paces
                itself where nothing does.

        Raises:
            ConfigurationError: a rate that is none.
        """
        self._down = inf if down_rate is None else parse_rate(down_rate)
        self._up = inf if up_rate is None else parse_rate(up_rate)
        self._prepare_fq = prepare_fq

    def __repr__(self) -> str:
        rates = {"down_rate": self._down, "up_rate": self._up}
        said = [f"{name}={format_rate(rate)!r}" for name, rate in rates.items() if rate != inf]
        return f"Pacing({', '.join(said + ['prepare_fq=True'] * self._prepare_fq)})"

    def bind(self, context: EdgeContext) -> None:
        """Belong to the edge that begins to serve."""
        self._observer = context.observer
        self._pacer = Pacer(context.services, context.live, context.observer, self._down, self._up)
        context.services.watch(self._pacer)
        context.services.on_traffic.append(self._pacer.woke)

    def decide(self, session: Session) -> Verdict:
        """Give the session its share; always CONTINUE."""
        self._pacer.join(session)
        return CONTINUE

    async def run(self, *, task_status: trio.TaskStatus[None]) -> None:
        """Work out shares while bytes move."""
        if self._prepare_fq:
            await prepare_fq(self._observer)
        await self._pacer.run(task_status=task_status)
