"""``python -m examples.control_plane --port 9000 --database control.db``."""

import argparse
import ipaddress
import os
import signal
from functools import partial

import hypercorn.trio
import trio
from hypercorn.config import Config

from .app import ControlPlane
from .store import Store


async def serve(host: str, port: int, control: ControlPlane) -> None:
    """Serve until SIGTERM or SIGINT, and print the address once it is listened on."""
    config = Config()
    config.bind = [f"[{host}]:{port}" if ":" in host else f"{host}:{port}"]
    config.loglevel = "WARNING"
    config.graceful_timeout = 1
    async with trio.open_nursery() as nursery:
        (address,) = await nursery.start(
            partial(hypercorn.trio.serve, control.app(), config, shutdown_trigger=_wait_for_signal)  # type: ignore[arg-type]
        )
        print(address, flush=True)


async def _wait_for_signal() -> None:
    with trio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:
        async for _ in signals:
            return


def main() -> None:
    """Read the command line and serve."""
    parser = argparse.ArgumentParser(prog="python -m examples.control_plane", description="A small control plane.")
    parser.add_argument("--host", default="127.0.0.1", help="an IP address to listen on (default: %(default)s)")
    parser.add_argument(
        "--port", default=9000, type=int, help="a port; 0 lets the system choose (default: %(default)s)"
    )
    parser.add_argument("--database", default="control.db", help="a file, made if missing (default: %(default)s)")
    parser.add_argument("--delay", default=0.0, type=float, help="seconds before a device check is answered")
    arguments = parser.parse_args()
    token = os.environ.get("CONTROL_TOKEN", "")
    if not token and not ipaddress.ip_address(arguments.host).is_loopback:
        parser.error("set CONTROL_TOKEN, or listen on 127.0.0.1")
    store = Store(arguments.database)
    try:
        trio.run(serve, arguments.host, arguments.port, ControlPlane(store, token=token, delay=arguments.delay))
    finally:
        store.close()


if __name__ == "__main__":
    main()
