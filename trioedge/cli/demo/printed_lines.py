"""The lines that a child process prints."""

from collections.abc import AsyncGenerator

import trio


async def printed_lines(stream: trio.abc.ReceiveStream) -> AsyncGenerator[str, None]:
    """Give each line of a stream, the last one also if it has no end."""
    line = b""
    async for chunk in stream:
        *lines, line = (line + chunk).split(b"\n")
        for each in lines:
            yield each.decode(errors="replace")
    if line:  # the process ended in the middle of a line
        yield line.decode(errors="replace")
