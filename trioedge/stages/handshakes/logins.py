"""Logins: a user and a password that a handshake has read, known to the services or to a function of the user's."""

from collections.abc import Awaitable, Callable
from inspect import iscoroutine
from typing import TYPE_CHECKING, Any, Final, Literal, TypeAlias

from ...arguments import binds, is_async
from ...errors import ConfigurationError, quote
from ...services.control_plane import AsksForUsers, NamesUsers
from ...session.handshake import Background, Steps
from ...session.kinds import name_of
from ...session.session import Session
from ...session.verdict import CONTINUE, Reason, Reject, Verdict

if TYPE_CHECKING:
    from ...services.context import EdgeContext

CheckLogin: TypeAlias = Callable[[Session, str, str], "bool | Reject | Awaitable[bool | Reject]"]
"""Tells whether a user's password is right, or refuses the session: a plain function answers from memory, an async one
is awaited in a task."""

Login: TypeAlias = Callable[[Session, str, str], Steps]
"""The steps of a handshake that check a user and a password: ``yield from login(session, user, password)``."""

NO_SERVICE: Final = ""
"""The service of an unknown user; no service has this name."""

WRONG: Final = Reject(Reason.CREDENTIALS, "unknown user or wrong password")


def check_auth(owner: str, auth: object) -> None:
    """Refuse an argument `auth` that is neither None nor ``"services"`` nor a function.

    Raises:
        ConfigurationError: ``Socks(auth='users') must be None, 'services' or a function (session, user, password)``.
    """
    if auth is not None and auth != "services" and (not callable(auth) or isinstance(auth, type)):
        raise ConfigurationError(
            f"{owner}(auth={quote(auth)}) must be None, 'services' or a function (session, user, password)"
        )
    if callable(auth) and not binds(auth, None, None, None):
        raise ConfigurationError(f"{owner}(auth={name_of(auth)}) must take the session, the user and the password")


def provided(auth: object) -> tuple[str, ...]:
    """Name the session fields that a login and a destination write."""
    return ("service", "destination") if auth == "services" else ("destination",)


def open_login(auth: "Literal['services'] | CheckLogin | None", context: "EdgeContext") -> Login | None:
    """Make the check of one run of an edge; None for none."""
    if auth is None:
        return None
    return _by_function(auth) if callable(auth) else _by_services(context)


def text_of(data: bytes) -> str:
    """Decode a user or a password that is UTF-8 by custom; other bytes become surrogates, so that no two are alike."""
    return data.decode(errors="surrogateescape")


def _by_services(context: "EdgeContext") -> Login:
    """Check against the password of the user's service; the session then belongs to it.

    The service has the user's name, or the one that the control plane knows. An unknown service takes as long as a
    wrong password, and has the same answer.
    """
    control = context.control
    service_of = control.service_of if isinstance(control, NamesUsers) else None
    asks = control if isinstance(control, AsksForUsers) else None

    def login(session: Session, user: str, password: str) -> Steps:
        if asks is not None and not asks.knows_user(user):
            yield Background(asks.find_user, user)
        name = user if service_of is None else service_of(user) or NO_SERVICE
        right = context.recall(name, password)
        if right is None:
            right = yield Background(context.verify, name, password, session)
        if not right:
            return WRONG
        session.service = name
        return CONTINUE

    return login


def _by_function(check: CheckLogin) -> Login:
    waits = is_async(check)

    def login(session: Session, user: str, password: str) -> Steps:
        if waits:
            answer = yield Background(check, session, user, password)  # type: ignore[arg-type]  # it is async
        else:
            answer = check(session, user, password)
        return _verdict_of(answer, check)

    return login


def _verdict_of(answer: Any, check: CheckLogin) -> Verdict:
    if answer is True:
        return CONTINUE
    if answer is False:
        return WRONG
    if type(answer) is Reject:
        return answer
    if iscoroutine(answer):
        answer.close()
        raise TypeError(f"{name_of(check)} gave a coroutine: write async def, so that it is awaited in a task")
    raise TypeError(f"{name_of(check)} must tell whether the password is right: it returns True, False or Reject")
