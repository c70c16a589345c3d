"""Bodies of requests, each with a bound and a deadline."""

from collections.abc import Mapping
from typing import NoReturn

import trio

from ...endpoints.asgi.messages import Receive
from ..refusals import RefusedError


async def read_body(receive: Receive, headers: Mapping[bytes, bytes], maximum: int, seconds: float) -> bytes:
    """Read a whole body.

    Args:
        receive: gives its parts.
        headers: of the request.
        maximum: bytes of it.
        seconds: until its last byte.

    Raises:
        RefusedError: 413, 408, or 400 where the client has left.
    """
    said = headers.get(b"content-length", b"")
    if said.isdigit() and (len(said) > 19 or int(said) > maximum):
        _too_large(maximum)
    body = bytearray()
    with trio.move_on_after(seconds) as scope:
        parts = BodyParts(receive)
        while (part := await parts.take()) is not None:
            body += part
            if len(body) > maximum:
                _too_large(maximum)
    if scope.cancelled_caught:
        raise RefusedError(408, f"the body did not come within {seconds:g} s")
    return bytes(body)


class BodyParts:
    """The parts of a body as they come."""

    def __init__(self, receive: Receive) -> None:
        """Receive nothing yet.

        Args:
            receive: of the request.
        """
        self._receive, self._more = receive, True

    async def take(self) -> bytes | None:
        """Give the next part; None behind the last one.

        Raises:
            RefusedError: the client has left.
        """
        if not self._more:
            return None
        event = await self._receive()
        if event["type"] == "http.disconnect":
            raise RefusedError(400, "the client has left")
        self._more = event.get("more_body", False)
        body: bytes = event.get("body", b"")
        return body


def _too_large(maximum: int) -> NoReturn:
    raise RefusedError(413, f"the body has more than {maximum:,} bytes")
