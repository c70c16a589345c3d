"""One request and its response: the application in a guard, between two streams of messages.

| the application | before its response has begun | while it is incomplete | behind it |
| --- | --- | --- | --- |
| sends the last part of the body, or of a WebSocket | | complete | |
| returns | fault, 500 | fault, the session is cut; a WebSocket is closed with 1011 | nothing |
| raises an exception | fault, 500 | fault, the session is cut; a WebSocket is closed with 1011 | fault |
| returns or raises, and was told that the client left | complete | complete | |
| is cancelled | raise the cancel | raise the cancel | raise the cancel |

Every fault is logged; a WebSocket that the application leaves open is none. The head of a response waits for the first
part of its body (ASGI 3, "Response Start"), so that both are one packet in HTTP/1.1, and a fault between them has a
response.
"""

from collections import deque
from collections.abc import Awaitable, Callable
from typing import Final, Protocol

import trio

from ...telemetry.log import parted
from .hypercorn_protocols import Answer
from .messages import Application, Message

INBOX_BYTES: Final = 32_768
"""Bytes of bodies that wait for the application before the client is no longer read."""

MESSAGE_BYTES: Final = 256
"""The bytes that a message counts besides those of its body, because a client may send any number of empty ones."""

PART_BYTES: Final = 32_768
"""The most bytes of a body that the protocol has at a time where it copies them, between marks of length."""

_LEFT: Final[dict[str, Message]] = {
    "http": {"type": "http.disconnect"},
    "websocket": {"type": "websocket.disconnect", "code": 1005},
}
_EMPTY: Final[Message] = {"type": "http.response.body", "body": b""}


class ClientGoneError(OSError):
    """The client has left, so the application can send no more; the ASGI specification asks for an OSError here."""


class IncompleteResponseError(RuntimeError):
    """The application has returned, and its response is not complete."""


class Owner(Protocol):
    """The connection, as one exchange sees it."""

    @property
    def over(self) -> bool:
        """Whether no bytes go to the client any more."""

    @property
    def multiplexes(self) -> bool:
        """Whether other exchanges share the connection, as in HTTP/2."""

    def cork(self) -> None:
        """Collect the bytes that are sent."""

    async def uncork(self) -> None:
        """Send the bytes that were collected."""

    def completed(self) -> None:
        """Note that the exchange is complete; called once."""

    def failed(self, fault: BaseException, *, cut: bool) -> None:
        """Log a fault; it is the outcome of the session, which is cut now if `cut`."""


class Exchange:
    """The request and the response of one call of the application.

    Attributes:
        scope: the scope of the request.
        complete: the application owes the client nothing any more.
    """

    __slots__ = (
        "_answer",
        "_begun",
        "_copied",
        "_head",
        "_inbox",
        "_last",
        "_owner",
        "_reader",
        "_taken",
        "_waiting",
        "_writer",
        "complete",
        "scope",
    )

    def __init__(self, owner: Owner, scope: Message, answer: Answer) -> None:
        """Begin; :meth:`run` calls the application.

        Args:
            owner: the connection.
            scope: of the request.
            answer: takes the application's messages, and None once it has returned.
        """
        self.scope = scope
        self.complete = False
        self._owner = owner
        self._answer = answer
        self._inbox: deque[Message] = deque()
        self._waiting = 0  # bytes of the messages in the inbox
        self._reader = trio.lowlevel.ParkingLot()  # the application, for a message
        self._writer = trio.lowlevel.ParkingLot()  # the connection, for room
        self._last: Message | None = None  # the client has left
        self._head: Message | None = None  # of a response whose first part is to come
        self._begun = self._copied = False
        self._taken = False  # the application knows that the client has left

    # For the protocol.

    async def put(self, message: Message) -> None:
        """Take a message for the application; wait while it has too many bytes to read, unless it has answered.

        One that has answered, and leaves too many bytes unread, gets no more of them: for it the client has left.
        """
        if self.complete and self._waiting >= INBOX_BYTES:
            message = _LEFT[self.scope["type"]]
        if message["type"].endswith("disconnect"):
            if self._last is None:
                self._last = message
            self._reader.unpark_all()
        if self._last is not None:  # and behind it nothing, or a body would have a hole
            return
        self._inbox.append(message)
        self._waiting += _size(message)
        self._reader.unpark()
        while self._waiting >= INBOX_BYTES and not self.complete:
            await self._writer.park()

    # For the application.

    async def receive(self) -> Message:
        """Give the next message; the last one, that the client has left, again and again."""
        await trio.lowlevel.checkpoint_if_cancelled()
        while not self._inbox:
            if self._last is not None:
                self._taken = True
                await trio.lowlevel.cancel_shielded_checkpoint()
                return self._last
            await self._reader.park()
        message = self._inbox.popleft()
        self._waiting -= _size(message)
        if self._waiting < INBOX_BYTES:
            self._writer.unpark_all()
        return message

    async def send(self, message: Message) -> None:
        """Take a message of the application.

        Raises:
            ClientGoneError: the client has left.
            Exception: the message is not one that may follow; of hypercorn.
        """
        if self._owner.over and not self.complete:
            self._taken = True
            raise ClientGoneError("the client has left")
        kind = message["type"]
        if kind == "http.response.start" and not self._begun and self._head is None:
            self._head = message
            self._copied = self._owner.multiplexes or not _says_length(message)
            return
        self._begun = True
        if self._copied and kind == "http.response.body" and len(message.get("body", b"")) > PART_BYTES:
            await self._send_parts(message)
            return
        head, self._head = self._head, None
        if head is None:
            await self._answer(message)
        else:
            await self._send_first(head, message)
        if kind == "http.response.body":
            if not message.get("more_body", False) and not (head or {}).get("trailers", False):
                self._finish()
        elif kind == "websocket.close" or (kind == "http.response.trailers" and not message.get("more_trailers")):
            self._finish()

    async def _send_parts(self, message: Message) -> None:
        """Send a long part of a body in several; after a cancel the first ones have been sent."""
        view = memoryview(message["body"])
        for start in range(0, len(view), PART_BYTES):
            last = start + PART_BYTES >= len(view)
            part = bytes(view[start : start + PART_BYTES])
            await self.send({**message, "body": part, "more_body": message.get("more_body", False) if last else True})

    async def _send_first(self, head: Message, message: Message) -> None:
        if self._owner.multiplexes:  # the body may wait for the client, which must have the head then
            await self._answer(head)
            await self._answer(message)
            return
        self._owner.cork()
        try:
            await self._answer(head)
            await self._answer(message)
        finally:
            await self._owner.uncork()

    async def run(self, application: Application) -> None:
        """Call the application, and answer for it if it fails."""
        stop: BaseException | None = None
        fault: BaseException | None = None
        try:
            await application(self.scope, self.receive, self.send)
        except BaseException as raised:
            stop, fault = parted(raised)
            if self._taken and not self.complete:
                fault = None  # of a client that leaves
        try:
            if stop is None:
                if fault is None and self._is_unanswered():
                    fault = IncompleteResponseError("the application returned before its response was complete")
                await self._end(fault)
            elif fault is not None:
                self._owner.failed(fault, cut=False)
            if stop is not None:
                raise stop
        finally:
            self._finish()
            del self._answer, self._owner  # the protocol's stream refers to this exchange
            del stop, fault  # their tracebacks have this frame

    async def _end(self, fault: BaseException | None) -> None:
        """Log the fault of an application that is over, and see that the client gets an end of the response."""
        owner, websocket = self._owner, self.scope["type"] == "websocket"
        if fault is not None:
            hopeless = self._begun and not self.complete and not owner.over and not websocket
            owner.failed(fault, cut=hopeless)
            if hopeless:
                return
            if not self._begun and not owner.over:
                await refuse(self._answer, self.scope, 500)
        await self._answer(None)

    def _is_unanswered(self) -> bool:
        """Tell whether the application has returned too early."""
        if self.complete or self._last is not None or self._owner.over:
            return False
        return not self._begun or self.scope["type"] == "http"

    def _finish(self) -> None:
        if not self.complete:
            self.complete = True
            self._writer.unpark_all()
            self._owner.completed()


async def refuse(answer: Callable[[Message], Awaitable[None]], scope: Message, status: int) -> None:
    """Answer a request with a status alone, in place of the application; HTTP/1.1 ends behind it."""
    headers = [(b"content-length", b"0")]
    if scope["http_version"] not in ("2", "3"):
        headers.append((b"connection", b"close"))  # its body may still come
    kind = "websocket.http.response" if scope["type"] == "websocket" else "http.response"
    await answer({"type": f"{kind}.start", "status": status, "headers": headers})
    await answer({**_EMPTY, "type": f"{kind}.body"})


def _says_length(head: Message) -> bool:
    return any(bytes(name).lower() == b"content-length" for name, _ in head.get("headers", ()))


def _size(message: Message) -> int:
    body = message.get("body") or message.get("bytes") or message.get("text") or b""
    return len(body) + MESSAGE_BYTES
