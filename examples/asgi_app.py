"""An ASGI application behind device limits: two devices a tenant, 10 MB/s each, and no request reaches it before."""

from collections.abc import Awaitable, Callable
from typing import Any

import trioedge as te

Message = dict[str, Any]


async def app(
    scope: Message, receive: Callable[[], Awaitable[Message]], send: Callable[[Message], Awaitable[None]]
) -> None:
    """Greet the client by its address. An application of Starlette, FastAPI or Quart-Trio would stand here."""
    assert scope["type"] == "http"  # it has no lifespan and no WebSocket
    while (await receive()).get("more_body"):
        pass
    body = f"hello {scope['client'][0]}\n".encode()
    headers = [(b"content-type", b"text/plain"), (b"content-length", b"%d" % len(body))]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": body})


edge = te.Edge(
    listen="tcp://127.0.0.1:8080",
    stages=[
        te.SessionGate(rate=20, burst=50),
        te.DeviceLimit(2),
        te.Pacing(down_rate="10 MB/s"),
        te.IdleTimeout(60),
    ],
    endpoint=te.Asgi(app),
)

if __name__ == "__main__":
    te.run(edge)
