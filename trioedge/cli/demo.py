"""``trioedge demo``: an upstream, an edge of seven stages before it, and clients; all on loopback, all in here."""

import math
import signal
import sys
from typing import Annotated, Final

import trio
from cyclopts import Parameter, validators

from ..core.errors import ConfigurationError
from ..edge import Edge
from . import demo_clients, demo_edge, logs
from .demo_upstream import Upstream
from .demo_view import Lines, LiveTable, View
from .words import count, reasons

PIPED_SECONDS: Final = 10.0
FIRST_EVICTION_SECONDS: Final = 1.5
EVICTION_SECONDS: Final = 6.0


def demo(
    *,
    port: Annotated[int, Parameter(validator=validators.Number(gte=0, lte=65535))] = 0,
    seconds: float | None = None,
) -> int:
    """See an edge of seven stages at work, with clients that behave, burst, stay and come from where they may not.

    Args:
        port: The port to listen on, on 127.0.0.1; 0 lets the system choose.
        seconds: End after so long. By default when Ctrl-C is pressed, or after 10 s if stdout is not a terminal.
    """
    logs.configure(level="warning")
    terminal = sys.stdout.isatty()
    if seconds is None:
        seconds = math.inf if terminal else PIPED_SECONDS
    if not seconds > 0:
        raise ConfigurationError(f"--seconds {seconds:g} must be above 0")
    trio.run(_demo, port, seconds, terminal)
    return 0


async def _demo(port: int, seconds: float, terminal: bool) -> None:
    """Start from the upstream to the clients, and end in the other order."""
    upstream = Upstream()
    async with trio.open_nursery() as nursery:
        upstream_port: int = await nursery.start(upstream.run)
        edge = demo_edge.build(f"tcp://127.0.0.1:{port}", f"tcp://127.0.0.1:{upstream_port}")
        await nursery.start(edge.serve)
        address = edge.addresses[0].removeprefix("tcp://")
        print(_introduction(address, seconds), flush=True)
        evicted = await _live(edge, upstream, LiveTable() if terminal else Lines(), seconds)
        nursery.cancel_scope.cancel()
    refused = edge.statistics().refused
    print(
        f"{count(upstream.answered, 'request')} answered; {count(sum(refused.values()), 'session')} refused "
        f"({reasons(refused)}); {count(evicted, 'session')} evicted."
    )


async def _live(edge: Edge, upstream: Upstream, view: View, seconds: float) -> int:
    """Let clients come and the view follow for so long, or until a signal; give how many sessions were evicted."""
    evicted = 0

    async def evict() -> None:
        nonlocal evicted
        await trio.sleep(FIRST_EVICTION_SECONDS)
        while True:
            cut = edge.evict(source=demo_edge.STAYING)
            evicted += cut
            view.note(f"evicted {count(cut, 'session')} of {demo_edge.STAYING}; its clients come back in a second")
            await trio.sleep(EVICTION_SECONDS)

    async def wait_for_signal() -> None:
        with trio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:
            async for _ in signals:
                nursery.cancel_scope.cancel()

    with view.open(), trio.move_on_after(seconds):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(wait_for_signal)
            nursery.start_soon(demo_clients.run, int(edge.addresses[0].rpartition(":")[2]))
            nursery.start_soon(evict)
            try:
                while True:
                    await trio.sleep(view.seconds)
                    view.show(edge, upstream.answered)
            except trio.Cancelled:  # the last picture, with the sessions that are cut next
                view.show(edge, upstream.answered)
                raise
    return evicted


def _introduction(address: str, seconds: float) -> str:
    end = "Ctrl-C ends it." if seconds == math.inf else f"It ends after {seconds:g} s."
    return f"""\
An edge of seven stages listens on {address}. In another terminal, type
  curl {address}
    to be answered;
  curl --interface {demo_edge.UNWANTED} {address}
    to be refused by SourceMatch: curl says that it was reset, or could not connect;
  seq 20 | xargs -P 20 -I_ curl -s {address}
    to come twenty at a time: SessionGate lets a burst of 8 in, then 2 a second.
{end}
"""
