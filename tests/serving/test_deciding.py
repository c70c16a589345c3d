"""The decisions of a chain, asked outside of a task: each of their endings is a refusal or none."""

from collections.abc import Callable

import pytest
import trio
from structlog.testing import capture_logs

import trioedge as te
from tests.support.services import Tenants
from trioedge.serving.deciding import refusal_at_listener, refusal_by
from trioedge.telemetry.log import EdgeLog
from trioedge.testing import make_session

CLOSED = te.Reject(te.Reason.POLICY, "closed")


def admits(session: te.Session) -> te.Verdict:
    return te.CONTINUE


def refuses(session: te.Session) -> te.Verdict:
    return CLOSED


def raises(session: te.Session) -> te.Verdict:
    raise LookupError("a bug")


def raises_no_exception(session: te.Session) -> te.Verdict:
    raise BaseException("odd")


def cuts(session: te.Session) -> te.Verdict:
    session.cut(te.Reason.EVICTED)
    return te.CONTINUE


def ends(session: te.Session) -> te.Verdict:
    session.end(te.Completed(te.Reason.DEADLINE))
    return te.CONTINUE


@pytest.mark.parametrize(
    ("decide", "refusal", "logged"),
    [
        (admits, None, 0),
        (refuses, CLOSED, 0),
        (raises, te.Reject(te.Reason.FAULT, "LookupError('a bug')"), 1),
        (raises_no_exception, te.Reject(te.Reason.FAULT, "BaseException('odd')"), 1),
        (cuts, te.Reject(te.Reason.EVICTED, "cut by a decision"), 0),
        (ends, te.Reject(te.Reason.DEADLINE, "ended by a decision"), 0),
    ],
)
async def test_each_ending_of_decisions(
    decide: Callable[[te.Session], te.Verdict], refusal: te.Reject | None, logged: int
) -> None:
    with capture_logs() as logs:
        assert refusal_by(decide, make_session(), EdgeLog()) == refusal
    assert [each["event"] for each in logs] == ["decision failed"] * logged


@pytest.mark.parametrize("stop", [KeyboardInterrupt, SystemExit, GeneratorExit])
def test_what_ends_the_process_goes_on(stop: type[BaseException]) -> None:
    def decide(session: te.Session) -> te.Verdict:
        raise stop

    with pytest.raises(stop):
        refusal_by(decide, make_session(), EdgeLog())


async def test_a_cancel_goes_on() -> None:
    with trio.CancelScope() as scope:
        scope.cancel()
        cancelled: list[trio.Cancelled] = []
        try:
            await trio.lowlevel.checkpoint()
        except trio.Cancelled as raised:
            cancelled.append(raised)
            raise
        finally:

            def decide(session: te.Session) -> te.Verdict:
                raise cancelled[0]

            with pytest.raises(trio.Cancelled):
                refusal_by(decide, make_session(), EdgeLog())
            del decide
            cancelled.clear()


@pytest.mark.parametrize(
    ("policy", "live", "removed", "reason"),
    [
        (te.Policy(), 2, False, None),
        (te.Policy(max_sessions=3), 2, False, None),
        (te.Policy(max_sessions=2), 2, False, te.Reason.CONCURRENCY),
        (te.Policy(enabled=False), 0, False, te.Reason.SERVICE),
        (te.Policy(), 0, True, te.Reason.SERVICE),
    ],
)
async def test_a_session_at_a_listener_is_refused_if_its_service_may_have_none(
    policy: te.Policy, live: int, removed: bool, reason: te.Reason | None
) -> None:
    tenants = Tenants()
    service = tenants.put("shop")
    for _ in range(live):
        tenants.come("shop")
    tenants.put("shop", policy)
    if removed:
        tenants.remove("shop")
    session = make_session()
    refusal = refusal_at_listener(session, service)
    assert session.by_listener
    assert (None if refusal is None else refusal.reason) is reason
