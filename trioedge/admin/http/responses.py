"""Answers of operations that the API gives itself, and their way to the client."""

from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Final, TypeAlias

import attrs

from ...endpoints.asgi.messages import Send

JSON: Final = b"application/json"

MISSING: Final = "trioedge-missing"
"""The header that names the workers whose part an answer lacks, as in ``0, 3``."""

SendChunk: TypeAlias = Callable[[bytes], Awaitable[None]]
"""Sends a part of a body."""

_POLICY: Final = (
    b"default-src 'none'", b"connect-src 'self'", b"script-src 'self'", b"style-src 'self'", b"img-src 'self'",
    b"base-uri 'none'", b"form-action 'none'", b"frame-ancestors 'none'",
)  # fmt: skip

SAFE: Final = (
    (b"cache-control", b"no-store"),
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"DENY"),
    (b"referrer-policy", b"no-referrer"),
    (b"content-security-policy", b"; ".join(_POLICY)),
)
"""Headers of every answer: no answer is kept, shown in another page, or runs what another host has."""


@attrs.frozen
class Response:
    """A whole answer.

    Attributes:
        body: of it, as bytes or in parts.
        kind: its media type.
        status: of HTTP.
        headers: further ones.
        behind: called once the answer is with the kernel.
    """

    body: bytes | Sequence[bytes]
    kind: bytes = JSON
    status: int = 200
    headers: Sequence[tuple[bytes, bytes]] = ()
    behind: Callable[[], object] | None = None

    async def send(self, send: Send) -> None:
        """Send it."""
        parts = [self.body] if isinstance(self.body, bytes) else [*self.body]
        length = (b"content-length", str(sum(map(len, parts))).encode())
        await send(_start(self.status, self.kind, [length, *self.headers]))
        for part in parts[:-1]:
            await send({"type": "http.response.body", "body": part, "more_body": True})
        await send({"type": "http.response.body", "body": parts[-1] if parts else b""})
        if self.behind is not None:
            self.behind()


@attrs.frozen
class Streamed:
    """An answer that goes on.

    Attributes:
        run: sends the parts; it is cancelled when the client leaves.
        kind: its media type.
    """

    run: Callable[[SendChunk], Awaitable[None]]
    kind: bytes

    async def send(self, send: Send) -> None:
        """Send all of it; the head goes at once."""
        await send(_start(200, self.kind, []))

        async def send_chunk(chunk: bytes) -> None:
            await send({"type": "http.response.body", "body": chunk, "more_body": True})

        await self.run(send_chunk)
        await send({"type": "http.response.body", "body": b""})


def _start(status: int, kind: bytes, headers: Sequence[tuple[bytes, bytes]]) -> dict[str, Any]:
    every = [(b"content-type", kind), *SAFE, *headers]
    return {"type": "http.response.start", "status": status, "headers": every}
