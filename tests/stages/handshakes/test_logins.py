"""Users and passwords: which memory knows, which are asked for in a task, and what a function may answer."""

from collections.abc import Callable
from functools import partial
from typing import Any, cast

import pytest

import trioedge as te
from trioedge.session.handshake import Background
from trioedge.stages.handshakes.logins import WRONG, check_auth, open_login, provided, text_of
from trioedge.testing import make_context, make_session


class Memory:
    """A context that has some logins in memory, and is asked for the others."""

    def __init__(self, known: dict[tuple[str, str], bool], control: object = None) -> None:
        self._known = known
        self.control = control

    def recall(self, user: str, password: str) -> bool | None:
        return self._known.get((user, password))

    async def verify(self, user: str, password: str, source: te.Session) -> bool:
        raise NotImplementedError


def ask(
    auth: Any, found: object = None, known: dict[tuple[str, str], bool] | None = None, control: object = None
) -> tuple[Any, te.Session, Any]:
    """Check the login of alice: the verdict, the session, and the question that was asked in a task."""
    login = open_login(auth, cast(te.EdgeContext, Memory(known or {}, control)))
    assert login is not None
    session, asked = make_session(service="before"), None
    steps = login(session, "alice", "secret")
    try:
        asked = next(steps)
        steps.send(found)
    except StopIteration as stop:
        return stop.value, session, asked
    raise AssertionError(f"it asks more than once: {asked}")


@pytest.mark.parametrize(("right", "verdict", "service"), [(True, te.CONTINUE, "alice"), (False, WRONG, "before")])
def test_a_login_that_memory_knows_is_answered_at_once(right: bool, verdict: object, service: str) -> None:
    found, session, asked = ask("services", known={("alice", "secret"): right})
    assert (found, session.service.name, asked) == (verdict, service, None)


@pytest.mark.parametrize(("right", "verdict", "service"), [(True, te.CONTINUE, "alice"), (False, WRONG, "before")])
def test_a_login_that_memory_does_not_know_is_verified_in_a_task(right: bool, verdict: object, service: str) -> None:
    found, session, asked = ask("services", found=right)
    assert (found, session.service.name) == (verdict, service)
    assert isinstance(asked, Background)
    assert cast(Any, asked.function).__func__ is Memory.verify
    assert asked.args == ("alice", "secret", session)


class Panel:
    """A control plane that knows alice by a number."""

    def __init__(self, **users: str) -> None:
        self._users = users

    def service_of(self, user: str, /) -> str | None:
        return self._users.get(user)


def test_the_control_plane_names_the_service_of_a_user() -> None:
    found, session, asked = ask("services", known={("7", "secret"): True}, control=Panel(alice="7"))
    assert (found, session.service.name, asked) == (te.CONTINUE, "7", None)
    found, session, asked = ask("services", found=True, control=Panel(alice="7"))
    assert (found, session.service.name, asked.args) == (te.CONTINUE, "7", ("7", "secret", session))


def test_a_user_whom_the_control_plane_does_not_know_is_asked_for_like_one_without_a_service() -> None:
    found, session, asked = ask("services", found=False, known={("alice", "secret"): True}, control=Panel(bob="alice"))
    assert (found, session.service.name, asked.args) == (WRONG, "before", ("", "secret", session))


def test_a_refusal_tells_neither_user_nor_password() -> None:
    assert te.Reject(te.Reason.CREDENTIALS, "unknown user or wrong password") == WRONG


LOCKED = te.Reject(te.Reason.RATE, "too many wrong passwords")


@pytest.mark.parametrize(("answer", "verdict"), [(True, te.CONTINUE), (False, WRONG), (LOCKED, LOCKED)])
def test_a_function_answers_from_memory_or_in_a_task(answer: Any, verdict: object) -> None:
    got: list[object] = []

    def from_memory(session: te.Session, user: str, password: str) -> bool | te.Reject:
        got.append((session, user, password))
        return cast(bool, answer)

    async def in_a_task(session: te.Session, user: str, password: str) -> bool:
        raise NotImplementedError

    found, session, asked = ask(from_memory)
    assert (found, asked, got) == (verdict, None, [(session, "alice", "secret")])
    for function in (in_a_task, partial(in_a_task)):
        found, session, asked = ask(function, found=answer)
        assert isinstance(asked, Background)
        assert (found, asked.function, asked.args) == (verdict, function, (session, "alice", "secret"))


@pytest.mark.parametrize("answer", [None, 1, "yes", te.CONTINUE])
def test_another_answer_of_a_function_is_a_fault_that_names_it_and_not_the_login(answer: Any) -> None:
    def known(session: te.Session, user: str, password: str) -> bool:
        return cast(bool, answer)

    with pytest.raises(TypeError, match="known must tell whether the password is right: it returns True") as caught:
        ask(known)
    assert "secret" not in str(caught.value)
    assert "alice" not in str(caught.value)


def test_a_plain_function_that_gives_a_coroutine_is_told_to_be_async() -> None:
    async def later() -> bool:
        raise NotImplementedError

    def known(session: te.Session, user: str, password: str) -> Any:
        return later()

    with pytest.raises(TypeError, match="known gave a coroutine: write async def"):
        ask(known)


def test_without_auth_there_is_no_login() -> None:
    assert open_login(None, make_context()) is None


@pytest.mark.parametrize("auth", [None, "services", lambda session, user, password: True])
def test_a_good_auth_is_accepted(auth: object) -> None:
    check_auth("Socks", auth)


@pytest.mark.parametrize("auth", ["service", "", True, ("alice", "secret"), {"alice": "secret"}, dict])
def test_another_auth_is_refused(auth: object) -> None:
    with pytest.raises(te.ConfigurationError, match=r"^Socks\(auth=.*\) must be None, 'services' or a function \(sess"):
        check_auth("Socks", auth)


@pytest.mark.parametrize("auth", [lambda user, password: True, lambda session, user, password, more: True])
def test_a_function_that_cannot_take_a_session_a_user_and_a_password_is_refused(auth: object) -> None:
    with pytest.raises(te.ConfigurationError) as caught:
        check_auth("Socks", auth)
    assert str(caught.value) == "Socks(auth=<lambda>) must take the session, the user and the password"


def test_only_the_services_name_the_service() -> None:
    function: Callable[..., bool] = lambda session, user, password: True  # noqa: E731
    found = [provided(auth) for auth in (None, function, "services")]
    assert found == [("destination",), ("destination",), ("service", "destination")]


def test_bytes_that_are_no_utf_8_become_a_text_of_their_own() -> None:
    texts = [text_of(data) for data in (b"caf\xc3\xa9", b"caf\xe9", b"caf\xff", b"")]
    assert texts[0] == "café"
    assert len(set(texts)) == 4
    assert [text.encode(errors="surrogateescape") for text in texts[1:3]] == [b"caf\xe9", b"caf\xff"]
