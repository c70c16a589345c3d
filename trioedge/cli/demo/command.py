"""``trioedge demo``: an upstream, clients, an edge of seven stages and a SOCKS edge with two workers, on loopback."""

import math
import shutil
import signal
import sys
from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated, Final

import trio
from cyclopts import Parameter, validators

from ...errors import ConfigurationError
from ..client.client import EdgeClient, path_of
from ..words import count, reasons
from . import clients as demo_clients
from . import edge as demo_edge
from . import program, socks_client, socks_edge
from .control import ControlProcess, settled
from .edge_process import EdgeProcess
from .look import Look, look_at
from .story import Story
from .upstream import DemoServer
from .view import Lines, LiveTable, View

PIPED_SECONDS: Final = 10.0

COMMAND_LETTERS: Final = 49
"""The width of a command in the introduction, whose lines fit 80 columns. A longer one has its comment behind it."""

WIDTH: Final = 80
"""A line of the introduction that is longer has no comment."""

LOOPBACK: Final = "127.0.0.0/8"


def demo(
    *,
    port: Annotated[int, Parameter(validator=validators.Number(gte=0, lte=65535))] = 0,
    seconds: float | None = None,
    control_plane: str | None = None,
) -> int:
    """Show two edges at work, with two workers: a device is denied, a rate changes, a source is evicted, a worker dies.

    Args:
        port: The port to listen on, on 127.0.0.1; 0 lets the system choose.
        seconds: End after so long. By default when Ctrl-C is pressed, or after 10 s if stdout is not a terminal.
        control_plane: A module to run as the control plane, such as examples.control_plane. By default there is none,
            and the edge reads the file of services itself.
    """
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
            services = Path(folder) / program.SERVICES
            story = Story(services, f"tcp://127.0.0.1:{upstream_port}", view)
            control: ControlProcess | None = None
            if module is not None:
                control = ControlProcess(module, services, view)
                service = demo_edge.SERVICES[demo_edge.STAYING]
                await nursery.start(control.run, service, f"{demo_edge.STRANGERS}*")
            edge = EdgeProcess(Path(folder), view)
            await nursery.start(edge.run, port, control)
            print(_introduction(edge, upstream_port, services, control, seconds), flush=True)
            seen = demo_clients.Seen()
            async with trio.open_nursery() as clients:
                clients.start_soon(demo_clients.run, _port_of(edge.addresses[program.EDGE]), seen)
                socks = _port_of(edge.addresses[program.SOCKS])
                clients.start_soon(socks_client.run, socks, upstream_port, view)
                with view.open():
                    with trio.move_on_after(seconds) as ending:
                        async with trio.open_nursery() as shown:
                            shown.start_soon(story.run, edge.client, seen)
                            shown.start_soon(_show, edge.client, upstream, story, view)
                    ending = nursery.cancel_scope  # a second signal waits for nothing
                    last = await look_at(edge.client)
                    view.show(last, upstream.answered, story.speed(last.services))
                clients.cancel_scope.cancel()
            last = await _quiet(edge.client)
            await edge.stop()
            if control is not None:
                print(settled(last.services, await control.books(last.services)))
            print(_summary(last, upstream))
            nursery.cancel_scope.cancel()


async def _show(client: EdgeClient, upstream: DemoServer, story: Story, view: View) -> None:
    """Show the edge again and again, until cancelled."""
    while True:
        await trio.sleep(view.seconds)
        look = await look_at(client)
        view.show(look, upstream.answered, story.speed(look.services))


async def _quiet(client: EdgeClient) -> Look:
    """Evict the sessions that are left, which are the user's, and look once none lives: no count changes any more."""
    await client.ask("POST", path_of("evict"), body={"source": LOOPBACK})
    while (look := await look_at(client)).statistics["live"]:  # noqa: ASYNC110 - once, and short
        await trio.sleep(0.05)
    return look


def _port_of(address: str) -> int:
    return int(address.rpartition(":")[2])


def _introduction(
    edge: EdgeProcess, upstream_port: int, services: Path, control: ControlProcess | None, seconds: float
) -> str:
    address, proxy = (edge.addresses[name].removeprefix("tcp://") for name in (program.EDGE, program.SOCKS))
    login = f"{socks_edge.USER}:{socks_edge.PASSWORDS[socks_edge.USER]}"
    tries = {
        f"curl {address}": "is answered",
        f"curl --interface {demo_edge.UNWANTED} {address}": "SourceMatch refuses it",
        f"seq 20 | xargs -P 20 -I_ curl -s {address}": "8 pass the gate, 6 get in",
        f"curl -x socks5://{login}@{proxy} 127.0.0.1:{upstream_port}": "by SOCKS",
        f"nano {services}": "change the policies",
        f"{_this_command()} top --edge {edge.admin}": "or restart",
    }
    if control is not None:
        tries[f"kill {control.pid}"] = "end the control plane"
    lines = [f"  {command:{COMMAND_LETTERS}}  # {what}" for command, what in tries.items()]
    lines = [line if len(line) <= WIDTH else line.partition("  # ")[0] for line in lines]
    end = "Ctrl-C ends them." if seconds == math.inf else f"They end after {seconds:g} s."
    head = f"Two edges, {program.WORKERS} workers. {end} In another terminal, try"
    return "\n".join([head, *lines, ""])


def _this_command() -> str:
    """Name this command as a shell in this folder finds it."""
    if shutil.which("trioedge") is not None:
        return "trioedge"
    return sys.argv[0] if Path(sys.argv[0]).name == "trioedge" else "python -m trioedge"


def _summary(last: Look, upstream: DemoServer) -> str:
    refused: Mapping[str, int] = last.statistics["refused"]
    ended: Mapping[str, int] = last.statistics["ended"]
    return (
        f"{count(upstream.answered, 'request')} answered; {count(sum(refused.values()), 'session')} refused "
        f"({reasons(refused)}); {count(ended.get('device', 0), 'session')} cut by the device check; "
        f"{count(ended.get('evicted', 0), 'session')} evicted."
    )
