"""An HTTP proxy for tunnels: the method CONNECT of HTTP/1.0 and 1.1 (RFC 9110 section 9.3.6).

| the client's request | answer | the session |
| --- | --- | --- |
| is of no HTTP/1, is ambiguous, or names no destination | 400 | refused with ``protocol`` |
| is of another version of HTTP | 505 | refused with ``protocol`` |
| has another method | 405 | refused with ``protocol`` |
| has no good login | 407 | refused with ``credentials`` |
| is a good CONNECT | none yet | the chain goes on to the connect |
| the same, connected | 200 | continues |
| the same, not connected | 403, 429, 502, 503 or 504 | ends with that outcome |
"""

from http import HTTPStatus
from typing import TYPE_CHECKING, Final, Literal

from ...arguments import Fixed, check_number
from ...session.handshake import PROCEED, SECONDS, Peek, ReadUntil, Send, Steps
from ...session.kinds import name_of
from ...session.session import Session
from ...session.verdict import CONTINUE, Outcome, Reason, Reject
from ...wire import http_head
from ...wire.destination import read_authority
from ...wire.errors import WireError
from ...wire.http_head import HttpVersionError, RequestHead, write_answer
from .logins import CheckLogin, Login, check_auth, open_login, provided

if TYPE_CHECKING:
    from ...services.context import EdgeContext

MAX_HEAD_BYTES: Final = 8192
"""The most bytes of a request's head; a client that sends more is cut off without an answer."""

_CONNECTED: Final = b"HTTP/1.1 200 Connection established\r\n\r\n"

_BAD: Final = write_answer(HTTPStatus.BAD_REQUEST, "This is no request that two readers would read alike.")
_VERSION: Final = write_answer(HTTPStatus.HTTP_VERSION_NOT_SUPPORTED, "This proxy speaks HTTP/1.0 and HTTP/1.1.")
_METHOD: Final = write_answer(
    HTTPStatus.METHOD_NOT_ALLOWED,
    "This proxy makes tunnels alone, by CONNECT: it does not forward requests for http:// addresses.",
    ["Allow: CONNECT"],
)
_LOGIN: Final = write_answer(
    HTTPStatus.PROXY_AUTHENTICATION_REQUIRED,
    "This proxy needs a user and the right password.",
    ['Proxy-Authenticate: Basic realm="proxy", charset="UTF-8"'],
)
_NOT_YOU: Final = write_answer(HTTPStatus.FORBIDDEN, "This proxy does not serve you.")
_NOT_THERE: Final = write_answer(HTTPStatus.FORBIDDEN, "This proxy does not go there.")
_USED_UP: Final = write_answer(HTTPStatus.FORBIDDEN, "You have used as many bytes as you may.")
_EXPIRED: Final = write_answer(HTTPStatus.FORBIDDEN, "Your time with this proxy is over.")
_NOT_NOW: Final = write_answer(HTTPStatus.SERVICE_UNAVAILABLE, "This proxy cannot serve you at present.")

ANSWERS: Final = {
    Reason.SOURCE: _NOT_YOU,
    Reason.SERVICE: _NOT_YOU,
    Reason.DEVICE: _NOT_YOU,
    Reason.POLICY: _NOT_YOU,
    Reason.CREDENTIALS: _NOT_YOU,
    Reason.DESTINATION: _NOT_THERE,
    Reason.QUOTA: _USED_UP,
    Reason.EXPIRED: _EXPIRED,
    Reason.UPSTREAM_FORBIDDEN: _NOT_THERE,
    Reason.UPSTREAM_REFUSED: write_answer(HTTPStatus.BAD_GATEWAY, "The destination refused the connection."),
    Reason.UPSTREAM_UNREACHABLE: write_answer(HTTPStatus.BAD_GATEWAY, "There is no route to the destination."),
    Reason.UPSTREAM_UNRESOLVED: write_answer(HTTPStatus.BAD_GATEWAY, "The destination's name has no address."),
    Reason.UPSTREAM_TIMEOUT: write_answer(HTTPStatus.GATEWAY_TIMEOUT, "The destination did not answer in time."),
}
"""The answers to sessions that were not connected; for every other reason it is 503."""

_NOT_CONNECT: Final = Reject(Reason.PROTOCOL, "HTTP: another method than CONNECT")
_NO_LOGIN: Final = Reject(Reason.CREDENTIALS, "HTTP: no login of the scheme Basic")


class HttpConnect(Fixed):
    """Serve CONNECT of HTTP/1: the client names where it goes, and hears of the connect how it ended.

    The endpoint is ``Forward()``, which resolves names and judges addresses; the session's `destination` is what the
    client named. Every head that two readers could read differently is refused. A login is never logged.
    """

    kind = "handshake"
    proceeds = True
    max_bytes = MAX_HEAD_BYTES

    def __init__(self, auth: "Literal['services'] | CheckLogin | None" = None, *, seconds: float = SECONDS) -> None:
        """Say who may come.

        Args:
            auth: None for no login. ``"services"``: the user is the name of a service, the password is that of its
                credentials, and the session is the service's. Or a function ``(session, user, password)`` that returns
                True, False or a :class:`Reject`: a plain one answers from memory, an async one is awaited in a task.
            seconds: the limit of the request, above 0; the connect has its own.

        Raises:
            ConfigurationError: names the argument and its fault.
        """
        check_auth("HttpConnect", auth)
        check_number("HttpConnect", "seconds", seconds, above=0)
        self.auth = auth
        self.seconds = seconds
        self.provides = provided(auth)
        self.needs_control = auth == "services"

    def __repr__(self) -> str:
        auth = self.auth if self.auth is None or isinstance(self.auth, str) else name_of(self.auth)
        return f"HttpConnect(auth={auth!r})"

    def open(self, context: "EdgeContext") -> "LiveHttpConnect":
        """Make the stage of one run of an edge."""
        return LiveHttpConnect(open_login(self.auth, context))


class LiveHttpConnect:
    """The stage in a running edge."""

    def __init__(self, login: Login | None) -> None:
        self._login = login

    def converse(self, session: Session) -> Steps:
        """Read the request, check the login, and answer once the outcome of the connect is known."""
        if not (yield Peek(1))[:1].isalpha():  # TLS, for example, which would never end a line
            yield Send(_BAD)
            return Reject(Reason.PROTOCOL, "HTTP: the first byte is of no method")
        data = yield ReadUntil(http_head.END)
        try:
            head = http_head.read_request(data)
            if head.method != b"CONNECT":
                yield Send(_METHOD)
                return _NOT_CONNECT
            destination = read_authority(head.target)
            _check_connect(head)
        except WireError as error:
            yield Send(_VERSION if isinstance(error, HttpVersionError) else _BAD)
            return Reject(Reason.PROTOCOL, f"HTTP: {error}")
        if self._login is not None:
            login = http_head.read_basic(head.field(b"proxy-authorization") or b"")
            verdict = _NO_LOGIN if login is None else (yield from self._login(session, *login))
            if verdict is not CONTINUE:
                yield Send(_LOGIN if verdict.reason is Reason.CREDENTIALS else _answer(verdict))
                return verdict
        session.destination = destination
        outcome = yield PROCEED
        yield Send(_CONNECTED if outcome is None else _answer(outcome))
        return CONTINUE


def _check_connect(head: RequestHead) -> None:
    """Check that a CONNECT has no body and one destination.

    Raises:
        WireError: it has a body, or its field ``Host`` names another destination.
    """
    if head.field(b"transfer-encoding") is not None or int(head.field(b"content-length") or 0):
        raise WireError("CONNECT with a body")
    host = head.field(b"host")
    if host is not None and not http_head.agrees(host, head.target):
        raise WireError("the field host names another destination")


def _answer(outcome: Outcome) -> bytes:
    return ANSWERS.get(outcome.reason, _NOT_NOW)
