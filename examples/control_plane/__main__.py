"""``python -m examples.control_plane --port 9000 --database control.db --services services.toml``."""

import argparse
import ipaddress
import os
import signal
import sqlite3
import sys
from functools import partial
from pathlib import Path

import hypercorn.trio
import trio
from hypercorn.config import Config

from trioedge.cli.target import load
from trioedge.errors import ConfigurationError
from trioedge.services.stage_keys import NO_KEYS

from .app import ControlPlane
from .services_file import follow, read
from .store import Store


async def serve(control: ControlPlane, host: str, port: int, services: Path | None, until_eof: bool) -> None:
    """Serve until SIGTERM, SIGINT or, with `until_eof`, the end of stdin; print the address when it is listened on."""
    config = Config()
    config.bind = [f"[{host}]:{port}" if ":" in host else f"{host}:{port}"]
    config.loglevel = "WARNING"
    config.graceful_timeout = 1
    end = trio.Event()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(_wait_for_signal, end)
        if until_eof:
            nursery.start_soon(_wait_for_eof, end)
        if services is not None:
            nursery.start_soon(follow, services, control)
        async with trio.open_nursery() as server:
            (address,) = await server.start(
                partial(hypercorn.trio.serve, control.app(), config, shutdown_trigger=end.wait)  # type: ignore[arg-type]
            )
            print(address, flush=True)
        nursery.cancel_scope.cancel()


async def _wait_for_signal(end: trio.Event) -> None:
    with trio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:
        async for _ in signals:
            end.set()
            return


async def _wait_for_eof(end: trio.Event) -> None:
    async with trio.lowlevel.FdStream(os.dup(sys.stdin.fileno())) as stdin:
        async for _ in stdin:
            pass
    end.set()


def main() -> None:
    """Read the command line and serve."""
    parser = argparse.ArgumentParser(prog="python -m examples.control_plane", description="A small control plane.")
    parser.add_argument("--host", default="127.0.0.1", help="an IP address to listen on (default: %(default)s)")
    parser.add_argument(
        "--port", default=9000, type=int, help="a port; 0 lets the system choose (default: %(default)s)"
    )
    parser.add_argument("--database", default="control.db", help="a file, made if missing (default: %(default)s)")
    parser.add_argument(
        "--services", type=Path, metavar="FILE", help="a TOML file of services, read whenever it changes"
    )
    parser.add_argument(
        "--edge", metavar="TARGET", help="an edge, as in edge.py; services may have the keys of its stages"
    )
    parser.add_argument("--delay", default=0.0, type=float, help="seconds before a device check is answered")
    parser.add_argument(
        "--until-eof", action="store_true", help="end when stdin ends, as when the program that started this one dies"
    )
    arguments = parser.parse_args()
    token = os.environ.get("CONTROL_TOKEN", "")
    if not 0 <= arguments.port <= 65535:
        parser.error(f"--port {arguments.port} must be a whole number from 0 to 65535")
    try:
        open_to_all = not ipaddress.ip_address(arguments.host).is_loopback
        stage_keys = load(arguments.edge).stage_keys if arguments.edge else NO_KEYS
        services = read(arguments.services, stage_keys) if arguments.services else None
    except (OSError, ValueError, ConfigurationError) as error:
        parser.error(str(error))
    if open_to_all and not token:
        parser.error("set CONTROL_TOKEN, or listen on 127.0.0.1")
    try:
        store = Store(arguments.database)
    except sqlite3.Error as error:
        parser.error(f"--database {arguments.database}: {error}")
    failed = ""
    try:
        if services is not None:
            store.replace(services)
        control = ControlPlane(store, token=token, delay=arguments.delay, stage_keys=stage_keys)
        trio.run(serve, control, arguments.host, arguments.port, arguments.services, arguments.until_eof)
    except* OSError as errors:  # such as a port that is in use
        first: BaseException = errors
        while isinstance(first, BaseExceptionGroup):
            first = first.exceptions[0]
        failed = f"{parser.prog}: {first}"
    finally:
        store.close()
    if failed:
        sys.exit(failed)  # within except* some versions of Python put it into a group


if __name__ == "__main__":
    main()
