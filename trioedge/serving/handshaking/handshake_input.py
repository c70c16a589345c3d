"""The client's socket during its handshakes: reads what they need, and waits for it with a deadline.

| event | while | action |
| --- | --- | --- |
| it needs bytes | | read them; wait in the reactor for those that are not there yet |
| bytes | it needs some | feed the handshake; read on while it needs more |
| the client's end | it peeks with seconds | answer it with what is there |
| the client's end, a reset | it needs bytes otherwise | the client has left |
| the seconds of a peek are over | it peeks | answer it with what is there |
| the seconds of the handshake are over | | it is refused |
| an error of the socket | it awaits a background answer | the client has left |
| TLS begins | | go on with its handshake at each event, and give the `TlsInfo` once it is done |
| TLS comes to nothing | | refused behind its alert, with the reason of :class:`.TlsError` |
"""

import socket
from collections.abc import Callable, Sequence
from math import inf
from typing import Any, Final

import trio

from ...loop.reactor import FAILED, READ_ON, Reactor
from ...relay.tls_info import TlsError
from ...relay.tls_socket import TlsSocket
from ...session.conversation import ChainedHandshake, Conversation
from ...session.handshake import Command
from ...session.verdict import Reason, Reject

LEFT: Final = Reject(Reason.HANDSHAKE, "the client left in the middle of it")


class HandshakeInput:
    """Reads the client of one session for its handshakes; `Talk` derives from it, and carries out their commands."""

    __slots__ = ("_asking", "_chained", "_conversation", "_due", "_held", "_number", "_over", "_peek_ends", "_reactor",
                 "_read_on", "_registered", "_set_for", "_sock", "_starting_tls", "_tick", "_yields")  # fmt: skip

    def __init__(
        self, chained: Sequence[ChainedHandshake], reactor: Reactor, sock: socket.SocketType, number: int, held: bytes
    ) -> None:
        self._chained = chained
        self._reactor = reactor
        self._sock = sock
        self._held = bytearray(held)
        self._number = number  # of the handshake, in `_chained`
        self._conversation: Conversation | None = None  # once it has begun
        self._asking: trio.CancelScope | None = None  # while it awaits a background answer
        # `_due` is the end of the handshake, `_peek_ends` that of a Peek with seconds, and infinity without one. A
        # deadline is set for `_set_for`, with `_tick`, and infinity is none. It may come too early, and never too late.
        # `_yields` are the commands up to the one that waits for bytes.
        self._due = 0.0
        self._yields = 0
        self._peek_ends = self._set_for = inf
        self._tick = 0
        self._registered = self._read_on = self._over = self._starting_tls = False

    def refuse(self, refusal: Reject) -> None:
        """End the session."""
        raise NotImplementedError

    def obey(self, command: Command | None) -> bool:
        """Carry out commands; true if the handshake needs more bytes of the client."""
        raise NotImplementedError

    def guarded(self, act: Callable[[], None]) -> None:
        """Call a function in which a handshake runs; its exception ends this one session."""
        raise NotImplementedError

    def entered(self) -> None:
        """Note that the client has to say more."""
        raise NotImplementedError

    def on_ready(self, fd: int, mask: int) -> None:  # noqa: ARG002 - the reactor's shape
        # An end of the client's bytes is reported once, maybe while it asks.
        self._read_on = self._read_on or bool(mask & READ_ON)
        if self._asking is None:
            self.guarded(self.read)
        elif mask & FAILED:
            self.refuse(LEFT)

    def expire(self, now: float) -> None:
        self._set_for = inf
        if self._over:
            return
        if now >= self._due:
            self.refuse(Reject(Reason.HANDSHAKE, f"not finished within {self._chained[self._number].seconds:g} s"))
        elif now >= self._peek_ends:
            self.guarded(self._give_up)
        else:
            self._set_deadline()

    @property
    def conversation(self) -> Conversation:
        """The handshake under way."""
        assert self._conversation is not None, "none has begun"
        return self._conversation

    def read(self) -> None:
        """Read until the handshake has what it needs, or no more is there."""
        while not self._over and self._asking is None:
            if self._starting_tls:
                if not self._shake():
                    return
                continue
            conversation = self.conversation
            room = conversation.room
            try:
                data = self._sock.recv(room)
            except BlockingIOError:
                self.wait()
                return
            except OSError:
                self.refuse(LEFT)
                return
            if not data and self._peek_ends == inf:
                self.refuse(LEFT)
                return
            more = self.obey(conversation.feed(data) if data else conversation.give_up())
            if not more:
                return
            # A short read has emptied the socket; of TLS only if it says so, and its handshake has not looked yet.
            if len(data) < room and not self._read_on and not self._starting_tls and not self._holds_more():
                self.wait()
                return

    def _holds_more(self) -> bool:
        return type(self._sock) is TlsSocket and self._sock.more

    def start_tls(self, context: Any) -> None:
        """Take what follows for TLS; :meth:`read` does its handshake."""
        self._sock = TlsSocket(self._sock, context, bytes(self._held))
        self._held.clear()
        self._peek_ends = inf
        self._starting_tls = True

    def _shake(self) -> bool:
        """Go on with the handshake of TLS; true if the one of the stage needs more bytes then."""
        sock = self._sock
        assert isinstance(sock, TlsSocket), "it was made for this"
        try:
            if not sock.handshake():
                self.wait()
                if sock.unsent:
                    self._reactor.repeat(sock.fileno())
                return False
        except TlsError as error:
            self.refuse(Reject(error.reason, error.detail))
            return False
        except OSError:
            self.refuse(LEFT)
            return False
        self._starting_tls = False
        return self.obey(self.conversation.resume(sock.info()))

    def wait(self) -> None:
        """Wait in the reactor, with a deadline."""
        if not self._registered:
            self._reactor.add_reader(self._sock.fileno(), self)
            self._registered = True
            self.entered()
        self._set_deadline()

    def leave(self) -> None:
        """Wait no more; the socket is not in the reactor any more."""
        if self._registered:
            self._registered = False
            self._reactor.drop_deadline(self, self._tick)
            self._reactor.remove(self._sock.fileno())

    def crashed(self, fault: BaseException) -> None:
        """End the session with a fault."""
        raise NotImplementedError

    def _give_up(self) -> None:
        if self.obey(self.conversation.give_up()):
            self.read()

    def _set_deadline(self) -> None:
        due = min(self._due, self._peek_ends)
        if due < self._set_for:
            self._reactor.drop_deadline(self, self._tick)
            self._tick, self._set_for = self._reactor.set_deadline(self, due), due
