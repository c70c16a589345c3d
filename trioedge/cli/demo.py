"""``trioedge demo``: an upstream, an edge of seven stages before it, and clients; all on loopback, all in here."""

import math
import signal
import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated, Final

import trio
from cyclopts import Parameter, validators

from ..core.errors import ConfigurationError
from ..edge import Edge
from . import demo_clients, demo_edge, logs
from .demo_story import Story
from .demo_upstream import Upstream
from .demo_view import Lines, LiveTable, View
from .words import count, reasons

PIPED_SECONDS: Final = 10.0


def demo(
    *,
    port: Annotated[int, Parameter(validator=validators.Number(gte=0, lte=65535))] = 0,
    seconds: float | None = None,
) -> int:
    """See an edge of seven stages at work: a device is denied, a rate changes, a source is evicted.

    Args:
        port: The port to listen on, on 127.0.0.1; 0 lets the system choose.
        seconds: End after so long. By default when Ctrl-C is pressed, or after 10 s if stdout is not a terminal.
    """
    logs.configure(level="error")
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
    view = LiveTable() if terminal else Lines()
    with TemporaryDirectory(prefix="trioedge-demo-") as folder:
        async with trio.open_nursery() as nursery:
            upstream_port: int = await nursery.start(upstream.run)
            services = Path(folder) / "services.toml"
            story = Story(services, f"tcp://127.0.0.1:{upstream_port}", view)
            edge = demo_edge.build(f"tcp://127.0.0.1:{port}", services, story.check)
            await nursery.start(edge.serve)
            address = edge.addresses[0].removeprefix("tcp://")
            print(_introduction(address, services, seconds), flush=True)
            await _live(edge, upstream, story, view, seconds)
            nursery.cancel_scope.cancel()
    refused = edge.statistics().refused
    print(
        f"{count(upstream.answered, 'request')} answered; {count(sum(refused.values()), 'session')} refused "
        f"({reasons(refused)}); {count(story.denied, 'session')} cut by the device check; "
        f"{count(story.evicted, 'session')} evicted."
    )


async def _live(edge: Edge, upstream: Upstream, story: Story, view: View, seconds: float) -> None:
    """Let clients come, the story happen and the view follow for so long, or until a signal."""

    async def wait_for_signal() -> None:
        with trio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:
            async for _ in signals:
                nursery.cancel_scope.cancel()

    with view.open(), trio.move_on_after(seconds):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(wait_for_signal)
            nursery.start_soon(demo_clients.run, int(edge.addresses[0].rpartition(":")[2]))
            nursery.start_soon(story.run, edge)
            try:
                while True:
                    await trio.sleep(view.seconds)
                    view.show(edge, upstream.answered, story.speed)
            except trio.Cancelled:  # the last picture, with the sessions that are cut next
                view.show(edge, upstream.answered, story.speed)
                raise


def _introduction(address: str, services: Path, seconds: float) -> str:
    end = "Ctrl-C ends it." if seconds == math.inf else f"It ends after {seconds:g} s."
    return f"""\
An edge of seven stages listens on {address}. Its services stand in a file that you may change:
  {services}
In another terminal, type
  curl {address}
    to be answered;
  curl --interface {demo_edge.UNWANTED} {address}
    to be refused by SourceMatch: curl says that it was reset, or could not connect;
  seq 20 | xargs -P 20 -I_ curl -s {address}
    to come twenty at a time: SessionGate lets a burst of 8 in, then 2 a second.
{end}
"""
