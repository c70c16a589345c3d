"""The usual asyncio relay: streams, two tasks a session. `--uvloop` runs the same on uvloop."""

from __future__ import annotations

import argparse
import asyncio
from functools import partial


async def pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Copy one direction until its end, then close the other side."""
    try:
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
    except OSError:
        pass
    finally:
        writer.close()


async def session(upstream: int, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Connect to the upstream and carry both directions."""
    try:
        upstream_reader, upstream_writer = await asyncio.open_connection("127.0.0.1", upstream)
    except OSError:
        writer.close()
        return
    await asyncio.gather(pump(reader, upstream_writer), pump(upstream_reader, writer))


async def serve(port: int, upstream: int) -> None:
    """Relay until killed."""
    server = await asyncio.start_server(partial(session, upstream), "127.0.0.1", port)
    await server.serve_forever()


def main() -> None:
    """Read the ports and serve."""
    parser = argparse.ArgumentParser()
    parser.add_argument("port", type=int)
    parser.add_argument("upstream", type=int)
    parser.add_argument("--uvloop", action="store_true")
    options = parser.parse_args()
    factory = None
    if options.uvloop:
        import uvloop

        factory = uvloop.new_event_loop
    with asyncio.Runner(loop_factory=factory) as runner:
        runner.run(serve(options.port, options.upstream))


if __name__ == "__main__":
    main()
