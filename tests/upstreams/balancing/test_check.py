"""Checks of members over real sockets."""

from typing import Any

import pytest
import trio
from structlog.testing import capture_logs

import trioedge as te
from tests.support.attempts import open_connector
from tests.support.cancels import cancelled_before, left_open
from tests.support.members import address
from tests.support.ports import closed_port, deaf_port
from tests.support.wires import server
from trioedge.addresses.address import parse_address
from trioedge.telemetry.log import EdgeLog
from trioedge.testing import make_context
from trioedge.testing.context import StillClock
from trioedge.upstreams.balancing.check import MemberCheck
from trioedge.upstreams.connector import Connector
from trioedge.upstreams.errors import UpstreamError
from trioedge.upstreams.upstream import Upstream


@te.handshake(seconds=0.2, max_bytes=64)
def ping(session: te.Session) -> te.Steps:
    yield te.Send(b"PING\r\n")
    if (yield te.ReadUntil(b"\r\n")) == b"+PONG\r\n":
        return te.CONTINUE
    return te.Reject(te.Reason.POLICY, f"{session.destination} says no PONG")


def member(connector: Connector, port: int) -> Upstream:
    return Upstream(parse_address(address(port)), connector, make_context(), 5.0)


def check_by(script: Any = None, seconds: float = 5.0) -> MemberCheck:
    return MemberCheck(script, seconds, StillClock(), EdgeLog())


async def asked(script: Any, *answers: bytes) -> UpstreamError | None:
    """Check a member that reads once and then sends its answers, one after the other, and closes."""

    async def play(connection: trio.SocketStream) -> None:
        await connection.receive_some()
        for each in answers:
            await connection.send_all(each)
            await trio.sleep(0.01)

    async with server(play) as port, open_connector() as (connector, reactor):
        error = await check_by(script).ask(member(connector, port))
        assert len(reactor) == 0
        return error


async def test_a_member_that_accepts_is_well() -> None:
    async with server() as port, open_connector() as (connector, reactor):
        assert await check_by().ask(member(connector, port)) is None
        assert len(reactor) == 0


@pytest.mark.parametrize("silent", [False, True])
async def test_a_member_that_refuses_or_is_silent_is_not_well(silent: bool) -> None:
    async with deaf_port() as deaf, open_connector() as (connector, reactor):
        error = await check_by(seconds=0.05).ask(member(connector, deaf if silent else closed_port()))
        assert error is not None
        assert error.reason is (te.Reason.UPSTREAM_TIMEOUT if silent else te.Reason.UPSTREAM_REFUSED)
        assert len(reactor) == 0


@pytest.mark.parametrize("answers", [[b"+PONG\r\n"], [b"+PO", b"NG\r", b"\n"]], ids=["whole", "in pieces"])
async def test_a_member_with_the_right_answer_is_well(answers: list[bytes]) -> None:
    assert await asked(ping, *answers) is None


@pytest.mark.parametrize(
    ("answers", "reason", "detail"),
    [
        ([b"-LOADING\r\n"], te.Reason.POLICY, "says no PONG"),
        ([b"+PO"], te.Reason.UPSTREAM_UNREACHABLE, "it left in the middle of its check"),
        ([b"x" * 100], te.Reason.PROTOCOL, "does not come within 64 bytes"),
        ([b"+PO"] * 30, te.Reason.UPSTREAM_TIMEOUT, "no answer to its check in time"),
    ],
)
async def test_a_member_with_another_answer_is_not_well(answers: list[bytes], reason: te.Reason, detail: str) -> None:
    if reason is te.Reason.UPSTREAM_TIMEOUT:
        answers = [each[:1] for each in answers]
    error = await asked(ping, *answers)
    assert error is not None
    assert error.reason is reason
    assert detail in error.detail


@te.handshake
def greeted(session: te.Session) -> te.Steps:
    if (yield te.Peek(1, seconds=0.05)):
        return te.CONTINUE
    return te.Reject(te.Reason.POLICY, "no greeting")


@pytest.mark.parametrize("speaks", [False, True])
async def test_a_check_may_wait_for_a_greeting(speaks: bool) -> None:
    async def greet(connection: trio.SocketStream) -> None:
        if speaks:
            await connection.send_all(b"220 ready")
        await connection.receive_some()

    async with server(greet) as port, open_connector() as (connector, _):
        error = await check_by(greeted).ask(member(connector, port))
        assert (error is None) == speaks


@te.handshake
def nonsense(session: te.Session) -> te.Steps:
    yield te.PROCEED
    return te.CONTINUE


@te.handshake
def raises(session: te.Session) -> te.Steps:
    yield te.Send(b"x")
    raise LookupError("a bug")


@te.handshake
def goes_on(session: te.Session) -> te.Steps:
    try:
        yield te.Send(b"x")
        yield te.PROCEED
    finally:
        yield te.Send(b"y")
    return te.CONTINUE


@pytest.mark.parametrize(
    ("script", "fault"),
    [(nonsense, "yielded PROCEED"), (raises, "LookupError"), (goes_on, "ignored GeneratorExit")],
    ids=["nonsense", "raises", "does not end"],
)
async def test_a_check_with_a_fault_is_logged_and_the_member_not_well(script: Any, fault: str) -> None:
    with capture_logs() as logs:
        error = await asked(script, b"hello")
    assert error is not None
    assert error.reason is te.Reason.FAULT
    assert fault in error.detail
    assert [each["event"] for each in logs] == ["check failed"]


@pytest.mark.parametrize("script", [None, ping], ids=["connect", "ping"])
async def test_a_cancel_at_every_step_of_a_check_leaves_nothing_open(script: Any) -> None:
    async def pong(connection: trio.SocketStream) -> None:
        async for _ in connection:
            await connection.send_all(b"+PONG\r\n")

    async with server(pong) as port, open_connector() as (connector, _):
        check, upstream, before = check_by(script), member(connector, port), left_open()

        async def ask() -> None:
            assert await check.ask(upstream) is None

        steps = 1
        while await cancelled_before(steps, ask):
            steps += 1
            with trio.fail_after(5):
                while left_open() != before:
                    await trio.sleep(0.001)  # the member notices later
        assert steps > 3
