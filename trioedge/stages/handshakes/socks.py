"""A SOCKS server: versions 4, 4a and 5, and of their commands CONNECT.

| the client sends | version | the edge answers |
| --- | --- | --- |
| a greeting without a method that the edge takes | 5 | no acceptable method; refused with ``credentials`` |
| a greeting | 5 | the method: none, or user and password |
| user and password, not right | 5 | failure; refused with ``credentials`` |
| user and password | 5 | success |
| a request, while users must log in | 4 | rejected, refused with ``credentials``, because 4 has no password |
| a request that is no good CONNECT | both | its code; refused with ``protocol`` |
| a request | both | with ``at_once``: granted; the chain goes on |
| a request | both | the chain goes on to the connect; then granted, or the code of the outcome |
| anything else | | refused with ``protocol``, without a word |
"""

from collections.abc import Callable
from typing import TYPE_CHECKING, Final, Literal, TypeAlias

from ...arguments import Fixed, check_choice, check_number
from ...session.handshake import PROCEED, SECONDS, Read, ReadUntil, Send, Steps
from ...session.kinds import name_of
from ...session.session import Session
from ...session.verdict import CONTINUE, Outcome, Reason, Reject
from ...wire import socks
from ...wire.socks import Reply, SocksError
from .logins import CheckLogin, Login, check_auth, open_login, provided, text_of

if TYPE_CHECKING:
    from ...services.context import EdgeContext

REPLIES: Final = {
    Reason.RATE: Reply.NOT_ALLOWED,
    Reason.SOURCE: Reply.NOT_ALLOWED,
    Reason.CONCURRENCY: Reply.NOT_ALLOWED,
    Reason.SERVICE: Reply.NOT_ALLOWED,
    Reason.DEVICE: Reply.NOT_ALLOWED,
    Reason.POLICY: Reply.NOT_ALLOWED,
    Reason.CREDENTIALS: Reply.NOT_ALLOWED,
    Reason.DESTINATION: Reply.NOT_ALLOWED,
    Reason.QUOTA: Reply.NOT_ALLOWED,
    Reason.EXPIRED: Reply.NOT_ALLOWED,
    Reason.UPSTREAM_FORBIDDEN: Reply.NOT_ALLOWED,
    Reason.UPSTREAM_REFUSED: Reply.REFUSED,
    Reason.UPSTREAM_UNREACHABLE: Reply.HOST_UNREACHABLE,
    Reason.UPSTREAM_UNRESOLVED: Reply.HOST_UNREACHABLE,
    Reason.UPSTREAM_TIMEOUT: Reply.EXPIRED,
}
"""The codes of version 5 for sessions that were not connected; every other reason is a general failure."""

_NO_METHOD: Final = Reject(Reason.CREDENTIALS, "SOCKS 5: no method of the client's is accepted")
_NO_PASSWORD: Final = Reject(Reason.CREDENTIALS, "SOCKS 4 has no password")
_NOT_SOCKS: Final = Reject(Reason.PROTOCOL, "neither SOCKS 4 nor SOCKS 5")
_BAD_LOGIN: Final = Reject(Reason.PROTOCOL, "SOCKS 5: user and password are not of RFC 1929")

_REPLY_5: Final = {reply: socks.reply_5(reply) for reply in Reply}
_RIGHT, _WRONG = socks.login_answer(True), socks.login_answer(False)

Answer: TypeAlias = Callable[[Outcome | None], bytes]
"""The bytes that tell a client how its connect ended; None for well."""


class Socks(Fixed):
    """Serve SOCKS 4, 4a and 5: the client names where it goes, and hears of the connect how it ended.

    The endpoint is ``Forward()``, which resolves names and judges addresses; the session's `destination` is what the
    client named. BIND, UDP ASSOCIATE and GSSAPI are refused in the words of the protocol. A login is never logged.
    """

    kind = "handshake"

    def __init__(
        self,
        auth: "Literal['services'] | CheckLogin | None" = None,
        *,
        answer: Literal["after_connect", "at_once"] = "after_connect",
        seconds: float = SECONDS,
    ) -> None:
        """Say who may come, and when a client hears that it is connected.

        Args:
            auth: None for no login. ``"services"``: the user is the name of a service, or one whose service the control
                plane knows; the password is that of its credentials, and the session is the service's. Or a function
                ``(session, user, password)`` that returns True, False or a :class:`Reject`: a plain one answers from
                memory, an async one is awaited in a task. With a login SOCKS 4 is refused, which has no password.
            answer: ``after_connect`` tells how the connect ended. ``at_once`` grants every good request before the
                rest of the chain runs, so that a later handshake can read what the client sends next; a refusal is
                then a closed connection.
            seconds: the limit of the handshake, above 0; the connect has its own.

        Raises:
            ConfigurationError: names the argument and its fault.
        """
        check_auth("Socks", auth)
        check_choice("Socks", "answer", answer, ("after_connect", "at_once"))
        check_number("Socks", "seconds", seconds, above=0)
        self.auth = auth
        self.answer = answer
        self.seconds = seconds
        self.provides = provided(auth)
        self.proceeds = answer == "after_connect"
        self.needs_control = auth == "services"

    def __repr__(self) -> str:
        auth = self.auth if self.auth is None or isinstance(self.auth, str) else name_of(self.auth)
        return f"Socks(auth={auth!r}, answer={self.answer!r})"

    def open(self, context: "EdgeContext") -> "LiveSocks":
        """Make the stage of one run of an edge."""
        return LiveSocks(self.proceeds, open_login(self.auth, context))


class LiveSocks:
    """The stage in a running edge."""

    def __init__(self, proceeds: bool, login: Login | None) -> None:
        self._proceeds = proceeds
        self._login = login
        self._method = socks.NO_LOGIN if login is None else socks.PASSWORD
        self._choice = socks.choice_of(self._method)

    def converse(self, session: Session) -> Steps:
        """Find out the version, and speak it."""
        version, second = yield Read(2)
        if version == 4:
            return (yield from self._version_4(session, second))
        if version != 5:
            return _NOT_SOCKS
        if self._method not in (yield Read(second)):
            yield Send(socks.choice_of(socks.NO_METHOD))
            return _NO_METHOD
        yield Send(self._choice)
        if self._login is not None:
            version, size = yield Read(2)
            if version != 1:
                return _BAD_LOGIN
            user = yield Read(size + 1)  # and the length of the password
            password = yield Read(user[-1])
            verdict = yield from self._login(session, text_of(user[:-1]), text_of(password))
            yield Send(_RIGHT if verdict is CONTINUE else _WRONG)
            if verdict is not CONTINUE:
                return verdict
        head = yield Read(socks.HEAD_5_BYTES)
        try:
            rest = yield Read(socks.bytes_behind(head))
            session.destination = socks.read_request_5(head, rest)
        except SocksError as error:
            yield Send(_REPLY_5[error.reply])
            return Reject(Reason.PROTOCOL, f"SOCKS 5: {error}")
        return (yield from self._connect(_answer_5))

    def _version_4(self, session: Session, command: int) -> Steps:
        head = yield Read(socks.HEAD_4_BYTES)
        yield ReadUntil(b"\0", socks.MAX_TEXT_4_BYTES)  # the user, which proves nothing
        name = (yield ReadUntil(b"\0", socks.MAX_TEXT_4_BYTES)) if socks.names_host(head) else b"\0"
        if self._login is not None:
            yield Send(socks.reply_4(False))
            return _NO_PASSWORD
        try:
            session.destination = socks.read_request_4(command, head, name[:-1])
        except SocksError as error:
            yield Send(socks.reply_4(False))
            return Reject(Reason.PROTOCOL, f"SOCKS 4: {error}")
        return (yield from self._connect(_answer_4))

    def _connect(self, answer: Answer) -> Steps:
        if self._proceeds:
            outcome = yield PROCEED
            yield Send(answer(outcome))
        else:
            yield Send(answer(None))
        return CONTINUE


def _answer_5(outcome: Outcome | None) -> bytes:
    return _REPLY_5[Reply.SUCCEEDED if outcome is None else REPLIES.get(outcome.reason, Reply.FAILURE)]


def _answer_4(outcome: Outcome | None) -> bytes:
    return socks.reply_4(outcome is None)
