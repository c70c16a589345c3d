"""Good stages pass their check, and a bad one is named with its fault."""

import socket
from collections.abc import Callable
from typing import Any

import pytest
import trio
from trio.testing import MockClock

import trioedge as te
from trioedge.testing import check_decision, check_middleware, make_context, make_session


@te.decision
def yes(session: te.Session) -> te.Verdict:
    return te.CONTINUE


@te.middleware
async def around(session: te.Session, call_next: te.Handler) -> te.Outcome:
    return await call_next(session)


# Decisions.


class Needs:
    requires = ("service", "destination", "device", "a fact of its own")

    def decide(self, session: te.Session) -> te.Verdict:
        return te.CONTINUE


@pytest.mark.parametrize(
    "decision",
    [
        yes,
        Needs(),
        te.Identify("shop"),
        te.SourceMatch(["192.0.2.0/24"]),
        te.SourceMatch(),
        te.IdleTimeout(5),
        te.SessionGate(1, burst=1, per="source"),
        te.SessionGate(),
        te.ConcurrencyLimit(1),
        te.Pacing("1 MB/s", "2 MB/s"),
        te.DeviceLimit(1, key="source/128"),
    ],
    ids=repr,
)
def test_a_decision_that_ships_passes(decision: object) -> None:
    check_decision(decision)


class OnlyWithControl:
    kind = "decision"

    def open(self, context: te.EdgeContext) -> te.Decision:
        if not context.governed:
            raise te.ConfigurationError("it needs a control plane")
        return yes


def test_a_recipe_is_opened_with_the_context_that_is_given() -> None:
    with pytest.raises(te.ConfigurationError, match="it needs a control plane"):
        check_decision(OnlyWithControl())
    check_decision(OnlyWithControl(), context=make_context(control=te.MemoryControl()))


def written(field: str, value: object) -> Callable[[te.Session], te.Verdict]:
    def write(session: te.Session) -> te.Verdict:
        setattr(session, field, value)
        return te.CONTINUE

    return write


def fail(session: te.Session) -> None:
    raise LookupError("bug")


def ends(session: te.Session) -> te.Verdict:
    session.end(te.Completed())
    return te.CONTINUE


async def wait() -> te.Verdict:
    return te.CONTINUE


def waits(session: te.Session) -> Any:
    return wait()


def cleans_up_badly(session: te.Session) -> te.Verdict:
    session.defer(fail)
    return te.CONTINUE


def moves(session: te.Session) -> te.Verdict:
    session.set_source("198.51.100.1")
    return te.CONTINUE


@pytest.mark.parametrize(
    ("decide", "fault"),
    [
        (lambda _: True, "True is neither CONTINUE nor a Reject"),
        (lambda _: None, "None is neither CONTINUE nor a Reject"),
        (waits, "waits gave a coroutine: a decision cannot wait"),
        (ends, "ends ended the session: a decision returns Reject"),
        (cleans_up_badly, "a deferred clean-up of cleans_up_badly raised LookupError('bug')"),
        (moves, "moves writes session.source: say provides=('source',), so that the stages that read it come later"),
        (written("service", "shop"), "write writes session.service: say provides=('service',), so that"),
        (written("device", "phone"), "write writes session.device: say provides=('device',), so that"),
        (written("destination", "tcp://a:1"), "write writes session.destination: say provides=('destination',)"),
    ],
)
def test_a_bad_decision_is_named(decide: Any, fault: str) -> None:
    with pytest.raises(AssertionError) as failure:
        check_decision(te.decision(decide))
    assert str(failure.value).startswith(fault)


def test_a_decision_that_says_what_it_writes_passes() -> None:
    check_decision(te.decision(provides=("service",))(written("service", "shop")))
    check_decision(te.decision(provides=("source",))(moves))


def test_a_decision_is_asked_about_the_given_sessions_in_their_order() -> None:
    asked: list[te.Session] = []

    @te.decision
    def note(session: te.Session) -> te.Verdict:
        asked.append(session)
        return te.CONTINUE

    sessions = [make_session("192.0.2.9"), make_session("192.0.2.8")]
    check_decision(note, sessions)
    assert asked == sessions
    assert all(session.phase == "ended" for session in sessions)
    asked.clear()
    check_decision(note)
    assert [session.source for session in asked] == ["192.0.2.1", "2001:db8::1", "unix"]


class Closes:
    """A recipe whose live stage is closed."""

    kind = "decision"

    def __init__(self, fault: str = "") -> None:
        self.fault, self.closed = fault, 0

    def open(self, context: te.EdgeContext) -> "Closes":
        return self

    def decide(self, session: te.Session) -> te.Verdict:
        return te.CONTINUE

    def close(self) -> None:
        self.closed += 1
        if self.fault:
            raise LookupError(self.fault)


def test_a_live_decision_is_closed_and_a_close_that_raises_is_a_fault() -> None:
    good = Closes()
    check_decision(good)
    assert good.closed == 1
    with pytest.raises(AssertionError, match="close failed: LookupError"):
        check_decision(Closes("bug"))


@pytest.mark.parametrize(
    ("stage", "why"),
    [
        (around, "around is a middleware, not a decision: call check_middleware with it"),
        (te.DeviceLimit, "DeviceLimit is a class, not a stage: call it, DeviceLimit(...)"),
        (
            lambda _: te.CONTINUE,
            "<lambda> has neither decide(session) nor converse(session) nor handle(",
        ),
    ],
)
def test_a_stage_that_is_no_decision_is_refused(stage: object, why: str) -> None:
    with pytest.raises(te.ConfigurationError) as refusal:
        check_decision(stage)
    assert str(refusal.value).startswith(why)


# Middlewares.


@te.middleware
async def refuses(session: te.Session, call_next: te.Handler) -> te.Outcome:
    return te.Reject(te.Reason.POLICY)


@te.middleware
async def an_hour_at_most(session: te.Session, call_next: te.Handler) -> te.Outcome:
    with trio.move_on_after(3600):
        return await call_next(session)
    return te.Completed(te.Reason.DEADLINE)


@te.middleware
async def reads_a_word(session: te.Session, call_next: te.Handler) -> te.Outcome:
    word = await session.stream.receive_some(5)
    if word != b"hello":
        return te.Reject(te.Reason.POLICY, "not polite")
    session.stream.unread(word)
    return await call_next(session)


@te.middleware
async def makes_a_fault_its_outcome(session: te.Session, call_next: te.Handler) -> te.Outcome:
    try:
        return await call_next(session)
    except Exception:
        return te.Completed(te.Reason.FAULT)


class Mirror:
    """A recipe whose live stage has a worker that sessions hand their bytes to."""

    kind = "middleware"

    def open(self, context: te.EdgeContext) -> "LiveMirror":
        return LiveMirror()


class LiveMirror:
    def __init__(self) -> None:
        self._send, self._receive = trio.open_memory_channel[str](10)
        self.closed = False

    async def handle(self, session: te.Session, call_next: te.Handler) -> te.Outcome:
        await self._send.send(session.source)
        return await call_next(session)

    async def run(self, *, task_status: trio.TaskStatus[None]) -> None:
        task_status.started()
        async for _ in self._receive:
            await trio.sleep(1)

    def close(self) -> None:
        self._send.close()
        self._receive.close()


@pytest.mark.parametrize(
    "middleware", [around, refuses, an_hour_at_most, reads_a_word, makes_a_fault_its_outcome, Mirror()]
)
@pytest.mark.parametrize("client_says", [b"", b"hello", b"good day"])
async def test_a_good_middleware_passes(middleware: object, client_says: bytes, autojump_clock: MockClock) -> None:
    await check_middleware(middleware, client_says=client_says)


async def forgets(session: te.Session, call_next: te.Handler) -> Any:
    await call_next(session)


async def calls_twice(session: te.Session, call_next: te.Handler) -> te.Outcome:
    await call_next(session)
    return await call_next(session)


async def swallows_the_cancel(session: te.Session, call_next: te.Handler) -> te.Outcome:
    try:
        return await call_next(session)
    except trio.Cancelled:
        return te.Completed()


async def makes_an_error_of_the_cancel(session: te.Session, call_next: te.Handler) -> te.Outcome:
    try:
        return await call_next(session)
    except trio.Cancelled:
        raise OSError("gone") from None


async def makes_an_error_of_an_early_cancel(session: te.Session, call_next: te.Handler) -> te.Outcome:
    try:
        await trio.sleep(1)
    except trio.Cancelled:
        raise OSError("gone") from None
    return await call_next(session)


async def makes_none_of_a_fault(session: te.Session, call_next: te.Handler) -> Any:
    try:
        return await call_next(session)
    except Exception:
        return None


async def leaves_a_task(session: te.Session, call_next: te.Handler) -> te.Outcome:
    trio.lowlevel.spawn_system_task(trio.sleep, 20_000)
    return await call_next(session)


async def leaves_a_socket_when_it_is_cancelled(session: te.Session, call_next: te.Handler) -> te.Outcome:
    sock = socket.socket()
    outcome = await call_next(session)
    sock.close()
    return outcome


async def renames(session: te.Session, call_next: te.Handler) -> te.Outcome:
    session.service = "shop"
    return await call_next(session)


async def waits_for_ever(session: te.Session, call_next: te.Handler) -> te.Outcome:
    await trio.sleep_forever()
    raise AssertionError


async def cleans_up_with_a_fault(session: te.Session, call_next: te.Handler) -> te.Outcome:
    session.defer(fail)
    return await call_next(session)


@pytest.mark.parametrize(
    ("function", "fault"),
    [
        (forgets, "forgets returned None: `return await call_next(session)`, or an outcome of its own"),
        (calls_twice, "calls_twice called the rest of the chain 2 times"),
        (swallows_the_cancel, "swallows_the_cancel swallowed the cancel of its session"),
        (makes_an_error_of_the_cancel, "makes_an_error_of_the_cancel made OSError('gone') of a cancel"),
        (makes_an_error_of_an_early_cancel, "makes_an_error_of_an_early_cancel made OSError('gone') of a cancel"),
        (makes_none_of_a_fault, "makes_none_of_a_fault returned None"),
        (leaves_a_socket_when_it_is_cancelled, "leaves_a_socket_when_it_is_cancelled left it to the garbage collector"),
        (renames, "renames writes session.service: say provides=('service',), so that"),
        (waits_for_ever, "waits_for_ever did not return within an hour: if it waits for the client, give client_says="),
        (cleans_up_with_a_fault, "a deferred clean-up of cleans_up_with_a_fault raised LookupError('bug')"),
    ],
)
async def test_a_bad_middleware_is_named(function: Any, fault: str, autojump_clock: MockClock) -> None:
    with pytest.raises(AssertionError) as failure:
        await check_middleware(te.middleware(function))
    assert str(failure.value).startswith(fault)


async def test_a_middleware_that_leaves_a_task_is_named(autojump_clock: MockClock) -> None:
    with pytest.raises(AssertionError, match=r"leaves_a_task left [0-9]+ tasks behind"):
        await check_middleware(te.middleware(leaves_a_task))
    await trio.sleep(20_000)  # until those tasks have ended


async def test_a_decision_in_place_of_a_middleware_is_refused() -> None:
    with pytest.raises(te.ConfigurationError) as refusal:
        await check_middleware(te.SessionGate(5))
    assert str(refusal.value) == "SessionGate is a decision, not a middleware: call check_decision with it"
