"""HTTP of one session: its reader, its requests and its end, in one nursery.

| state | event | action |
| --- | --- | --- |
| reading | bytes | the protocol takes them; a request starts the application |
| reading | the client ends | tell the applications; finishing once no request is under way, in HTTP/2 at once |
| reading | the client is gone | tell the applications; over |
| reading | the protocol hangs up: ``Connection: close``, a bad request | tell the applications; finishing |
| reading, no request under way | the edge drains, or the keep-alive limit passes | finishing |
| reading, no request yet | the edge has drained for a second | finishing |
| finishing | the client's host has every byte | close the connection; over |
| over | no request is under way | wait for tasks behind complete responses, and return |
| reading | a request above :data:`MAX_UNDER_WAY` that are under way | cancel all, ``protocol`` |
| any | a limit of `patience` passes, a fault of an application amid its response | cancel all |
| any | the session is cut, or a cancel | cancel all |
"""

from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any, Final

import attrs
import trio

from ...errors import quote_fault
from ...loop.reactor import Reactor
from ...relay.direction import BROKEN
from ...session.session import Session
from ...session.verdict import FINISHED, Completed, Outcome, Reason
from ...telemetry.log import EdgeLog
from .client_side import ClientSide
from .end_names import EndNames
from .exchange import Exchange, refuse
from .hypercorn_protocols import Answer, EarlyFramesError, HttpServer, Put
from .messages import Application, Message, Receive, Send
from .patience import Patience
from .watch import Watch

MAX_UNDER_WAY: Final = 200
"""Calls of the application that owe their client a response: of HTTP/2, 100 that the client may have open, and as many
that it has given up (RFC 9113 section 10.5) and whose calls have not ended."""


_FRAMING: Final = (b"content-length", b"transfer-encoding")


class _TooManyRequestsError(Exception):
    """The client gives up requests faster than their calls end."""


@attrs.frozen
class Shared:
    """What the sessions of one run of an endpoint share.

    Attributes:
        application: the user's.
        server: the settings of HTTP.
        state: of the application's lifespan.
        patience: the limits.
        max_head_bytes: of a request's target and fields.
        reactor: has the clock and the deadlines.
        log: for faults.
    """

    application: Application
    server: HttpServer
    state: Message
    patience: Patience
    max_head_bytes: int
    reactor: Reactor
    log: EdgeLog


class Connection:
    """One session that an application answers.

    Attributes:
        client: the session's carrier.
    """

    def __init__(self, session: Session, shared: Shared) -> None:
        """Make the session's carrier; :meth:`run` does the rest."""
        self._session, self._shared = session, shared
        self.client = ClientSide(session, shared.reactor, self._send_later)
        names = EndNames.of(session)
        self._protocol = shared.server.protocol(self, shared.state, names.client, names.server, names.alpn)
        self._nursery: trio.Nursery | None = None
        self._reading = trio.CancelScope()
        self._watch = Watch(self, session, self.client, shared.patience, shared.reactor)
        self._quiet: trio.Event | None = None  # to be set when no request is under way
        self._outcome: Outcome | None = None

    async def run(self) -> Outcome:
        """Answer requests until the session is over; call it once.

        Returns:
            FINISHED, or why it ended. Its connection is closed in order if it could be, else the caller resets it.

        Raises:
            Exception: of a stream that fails as none does.
        """
        client = self.client
        try:
            async with trio.open_nursery() as self._nursery:
                await self._protocol.begin()
                await self._read()
                if not self.over and not self.multiplexes:
                    await self._wait_quiet()
                self._watch.left()
                await self._protocol.end()
                await client.finish(self._session.half_closed_seconds)
        finally:
            self._nursery = None
            self._watch.close()
            self._protocol.release()
            client.release()
            del self._session, self._watch, self._protocol  # so that no cycle is left for the garbage collector
        if self._outcome is None and client.gone:
            return Completed(Reason.RESET, client.detail)
        return self._outcome or FINISHED

    def rest(self, *, awaits_first: bool = False) -> None:
        """End the session in order, unless a request is under way, or, with `awaits_first`, if it is yet to make one.

        The first request of a client that has just connected is likely to be on its way.
        """
        if not (self._watch.busy or (awaits_first and self._watch.is_fresh)):
            self._reading.cancel()

    def stop(self, outcome: Outcome) -> None:
        """End the session now, with a reset; an earlier fault stays its outcome."""
        if self._nursery is not None:
            self._outcome = self._outcome or outcome
            self._nursery.cancel_scope.cancel()

    # For the protocol.

    async def transmit(self, data: bytes) -> None:
        """See :class:`Caller`."""
        try:
            await self.client.send(data)
        except trio.BrokenResourceError:
            await self._lose()

    def hang_up(self) -> None:
        """See :class:`Caller`."""
        self._watch.left()
        self._reading.cancel()

    def spawn(self, function: Callable[..., Awaitable[object]], *arguments: Any) -> None:
        """See :class:`Caller`."""
        assert self._nursery is not None, "called by tasks of the session"
        self._nursery.start_soon(function, *arguments)

    def open_exchange(self, scope: Message, answer: Answer) -> Put:
        """See :class:`Caller`."""
        if self._watch.busy >= MAX_UNDER_WAY:
            raise _TooManyRequestsError
        exchange = Exchange(self, scope, answer)
        self._watch.begun()
        application = self._shared.application
        if status := _refusal(scope, self._shared.max_head_bytes):
            application = partial(_refuse, status)
        self.spawn(exchange.run, application)
        return exchange.put

    # For exchanges.

    @property
    def over(self) -> bool:
        """Whether no bytes go to the client any more."""
        return self._watch.over_at is not None or self.client.gone

    @property
    def multiplexes(self) -> bool:
        """Whether the session may have several requests at once."""
        return self._protocol.multiplexes

    def cork(self) -> None:
        """See :meth:`ClientSide.cork`."""
        self.client.cork()

    async def uncork(self) -> None:
        """See :meth:`ClientSide.uncork`; does nothing once the client has gone."""
        try:
            await self.client.uncork()
        except trio.BrokenResourceError:
            await self._lose()

    def completed(self) -> None:
        """Note that a request is complete."""
        self._watch.completed()
        if not self._watch.busy:
            if self._quiet is not None:
                self._quiet.set()
            if self._shared.server.draining:
                self._reading.cancel()

    def failed(self, fault: BaseException, *, cut: bool) -> None:
        """Log a fault of the application; the session ends with it."""
        session = self._session
        outcome = Completed(Reason.FAULT, quote_fault(fault))
        self._shared.log.fault("application failed", fault, session=session.id, service=session.service.name)
        if cut:
            self.stop(outcome)
        elif self._outcome is None:
            self._outcome = outcome

    # The reader.

    async def _read(self) -> None:
        """Have the protocol take the client's bytes until either of them ends."""
        client, protocol = self.client, self._protocol
        with self._reading:
            while not client.ended:
                try:
                    data = await client.receive()
                except BROKEN:
                    return
                try:
                    await protocol.receive(data)
                except Exception as error:  # a request that hypercorn does not refuse, and cannot read
                    detail = f"the request cannot be read: {type(error).__name__}"
                    if isinstance(error, EarlyFramesError):
                        detail = str(error)
                    elif isinstance(error, _TooManyRequestsError):
                        detail = f"more than {MAX_UNDER_WAY} requests under way: it gives them up too fast"
                    self.stop(Completed(Reason.PROTOCOL, detail))
                    await trio.sleep_forever()  # the cancel; the protocol is half way and takes no more calls
            self._watch.half_closed()
            await protocol.end()

    async def _wait_quiet(self) -> None:
        if self._watch.busy:
            self._quiet = trio.Event()
            await self._quiet.wait()

    async def _lose(self) -> None:
        """Tell the applications that the client is gone."""
        self._watch.left()
        self._reading.cancel()
        await self._protocol.end()

    def _send_later(self, flush: Callable[[], Awaitable[object]]) -> None:
        """Have a task send bytes that the client does not take yet."""
        self.spawn(flush)
        self._watch.owes()


def _refusal(scope: Message, max_head_bytes: int) -> int:
    """Give the status of a request that the application does not get; 0 for any other.

    Too large a head is 431 (RFC 6585 section 5). A request with both a length and a coding, which two servers may end
    at different places, is 400 (RFC 9112 section 6.1). CONNECT is 501, because an application makes no tunnels.
    """
    size, framing = len(scope["raw_path"]) + len(scope["query_string"]), set()
    for name, value in scope["headers"]:
        size += len(name) + len(value)
        if name in _FRAMING:
            framing.add(name)
    if size > max_head_bytes:
        return 431
    if len(framing) > 1:
        return 400
    return 501 if scope.get("method") == "CONNECT" else 0


async def _refuse(status: int, scope: Message, receive: Receive, send: Send) -> None:  # noqa: ARG001 - as called
    """Refuse a request, in place of the application."""
    await refuse(send, scope, status)
