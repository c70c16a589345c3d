"""``trioedge demo``: an upstream, an edge of seven stages, a SOCKS edge and clients, all on loopback."""

import math
import signal
import sys
from collections.abc import Awaitable, Callable
from functools import partial
from operator import lt
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated, Final

import trio
from cyclopts import Parameter, validators

from ...control.file import FileControl
from ...edge import Edge
from ...errors import ConfigurationError
from ...process import logs
from ...services.service import Service
from ..words import count, reasons
from . import clients as demo_clients
from . import edge as demo_edge
from . import socks_client, socks_edge
from .control import ControlProcess, settled
from .story import Story, check_device
from .upstream import DemoServer
from .view import Lines, LiveTable, View

PIPED_SECONDS: Final = 10.0

COMMAND_LETTERS: Final = 49
"""The width of a command in the introduction, whose lines fit 80 columns. A longer one has its comment behind it."""


def demo(
    *,
    port: Annotated[int, Parameter(validator=validators.Number(gte=0, lte=65535))] = 0,
    seconds: float | None = None,
    control_plane: str | None = None,
) -> int:
    """Show two edges at work: a device is denied, a rate changes, a source is evicted, a user of SOCKS logs in.

    Args:
        port: The port to listen on, on 127.0.0.1; 0 lets the system choose.
        seconds: End after so long. By default when Ctrl-C is pressed, or after 10 s if stdout is not a terminal.
        control_plane: A module to run as the control plane, such as examples.control_plane. By default there is none,
            and the edge reads the file of services itself.
    """
    logs.configure(level="error")
    terminal = sys.stdout.isatty()
    if seconds is None:
        seconds = math.inf if terminal else PIPED_SECONDS
    if not seconds > 0:
        raise ConfigurationError(f"--seconds {seconds:g} must be above 0")
    trio.run(_demo, port, seconds, terminal, control_plane)
    return 0


async def _demo(port: int, seconds: float, terminal: bool, module: str | None) -> None:
    """Start the parts from the upstream to the clients, and stop them in reverse order."""
    upstream = DemoServer()
    view = LiveTable() if terminal else Lines()
    with TemporaryDirectory(prefix="trioedge-demo-") as folder:
        async with trio.open_nursery() as nursery:
            ending = nursery.cancel_scope

            async def listen_to_signals(*, task_status: trio.TaskStatus[None]) -> None:
                with trio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:
                    task_status.started()
                    async for _ in signals:
                        ending.cancel()

            await nursery.start(listen_to_signals)
            upstream_port: int = await nursery.start(upstream.run)
            services = Path(folder) / "services.toml"
            story = Story(services, f"tcp://127.0.0.1:{upstream_port}", view)
            listen = f"tcp://127.0.0.1:{port}"
            process: ControlProcess | None = None
            if module is None:
                edge = demo_edge.build(listen, FileControl(services), story.watch(check_device))
            else:
                process = ControlProcess(module, services, view)
                service = demo_edge.SERVICES[demo_edge.STAYING]
                control = await nursery.start(process.run, service, f"{demo_edge.STRANGERS}*")
                edge = demo_edge.build(listen, control, story.watch(control.check_device))
            async with trio.open_nursery() as edges:
                await edges.start(edge.serve)
                socks = socks_edge.build("tcp://127.0.0.1:0")
                await edges.start(socks.serve)
                first = dict[str, Service]()
                edges.start_soon(_note_services, edge, first)
                print(_introduction(edge, socks, upstream_port, services, process, seconds), flush=True)
                with trio.move_on_after(seconds) as ending:
                    ask = partial(socks_client.run, _port_of(socks), upstream_port, view)
                    await _live(edge, upstream, story, view, ask)
                ending = nursery.cancel_scope  # a second signal does not wait for the drain
                for each in (edge, socks):
                    each.drain()
                for each in (edge, socks):
                    await each.phase.wait_value("stopped")
                edges.cancel_scope.cancel()
            if process is not None:
                # A service that was removed and named again is another object, whose counts began at 0.
                stayed = [service for name, service in edge.services.items() if first.get(name) is service]
                print(settled(stayed, await process.books(service.name for service in stayed)))
            print(_summary(edge, upstream, story))
            nursery.cancel_scope.cancel()


async def _note_services(edge: Edge, first: dict[str, Service]) -> None:
    """Note the first object of each service name, until cancelled."""
    applied = -1
    while True:
        applied = await edge.snapshots.wait_value(partial(lt, applied))
        for name, service in edge.services.items():
            first.setdefault(name, service)


async def _live(edge: Edge, upstream: DemoServer, story: Story, view: View, ask: Callable[[], Awaitable[None]]) -> None:
    """Run the clients, the story and the view, until cancelled; `ask` runs the client of the SOCKS edge."""
    with view.open():
        async with trio.open_nursery() as nursery:
            nursery.start_soon(demo_clients.run, _port_of(edge), story.arrived)
            nursery.start_soon(ask)
            nursery.start_soon(story.run, edge)
            try:
                while True:
                    await trio.sleep(view.seconds)
                    view.show(edge, upstream.answered, story.speed)
            except trio.Cancelled:  # show the last state, before the sessions are cut
                view.show(edge, upstream.answered, story.speed)
                raise


def _port_of(edge: Edge) -> int:
    return int(edge.addresses[0].rpartition(":")[2])


def _introduction(
    edge: Edge, socks: Edge, upstream_port: int, services: Path, process: ControlProcess | None, seconds: float
) -> str:
    address, proxy = (each.addresses[0].removeprefix("tcp://") for each in (edge, socks))
    login = f"{socks_edge.USER}:{socks_edge.PASSWORDS[socks_edge.USER]}"
    tries = {
        f"curl {address}": "is answered",
        f"curl --interface {demo_edge.UNWANTED} {address}": "SourceMatch refuses it",
        f"seq 20 | xargs -P 20 -I_ curl -s {address}": "8 pass the gate, 6 get in",
        f"curl -x socks5://{login}@{proxy} 127.0.0.1:{upstream_port}": "by SOCKS",
        f"nano {services}": "change the policies",
    }
    if process is not None:
        tries[f"kill {process.pid}"] = "end the control plane"
    lines = [f"  {command:{COMMAND_LETTERS}}  # {what}" for command, what in tries.items()]
    end = "Ctrl-C ends them." if seconds == math.inf else f"They end after {seconds:g} s."
    head = f"Two edges are at work. {end} In another terminal, try"
    return "\n".join([head, *lines, ""])


def _summary(edge: Edge, upstream: DemoServer, story: Story) -> str:
    refused = edge.statistics().refused
    return (
        f"{count(upstream.answered, 'request')} answered; {count(sum(refused.values()), 'session')} refused "
        f"({reasons(refused)}); {count(story.denied, 'session')} cut by the device check; "
        f"{count(story.evicted, 'session')} evicted."
    )
