from math import inf

import pytest
import trio

import trioedge as te
from trioedge.testing import make_context, make_session
from trioedge.testing.context import StillClock


def test_a_stage_is_opened_and_asked_without_an_edge_and_without_an_event_loop() -> None:
    live = te.SessionGate(1, burst=1, per="source").open(make_context())
    assert live.decide(make_session()) is te.CONTINUE
    assert live.decide(make_session()) == te.Reject(te.Reason.RATE, "more than 1 session a second per source")
    assert live.decide(make_session(now=1.0)) is te.CONTINUE


def test_each_context_is_of_an_edge_of_its_own() -> None:
    gate = te.SessionGate(1, burst=1, per="source")
    one, other = gate.open(make_context()), gate.open(make_context())
    assert [live.decide(make_session()) for live in (one, other)] == [te.CONTINUE] * 2


def test_the_context_has_no_session_and_no_service_but_the_unnamed_one() -> None:
    context = make_context()
    assert (len(context.sessions), list(context.services)) == (0, ["default"])
    assert (context.control, context.governed, context.relays) == (None, False, True)
    assert context.listeners == ()


def test_with_a_control_plane_there_is_no_service_before_it_names_one() -> None:
    control = te.MemoryControl()
    context = make_context(control=control)
    assert context.control is control
    assert context.governed
    assert list(context.services) == []


def test_a_stage_that_needs_the_relay_is_refused_where_the_context_has_none() -> None:
    async def check(service: str, device: str) -> te.DeviceVerdict:
        return te.DeviceVerdict(True)

    limit = te.DeviceLimit(3, check=check)
    limit.open(make_context())
    with pytest.raises(te.ConfigurationError, match="the endpoint moves bytes by itself"):
        limit.open(make_context(relays=False))


def test_the_clock_stands_where_the_test_sets_it() -> None:
    context = make_context(now=7.0)
    assert context.now() == 7.0
    context.reactor.now = 9.0
    assert context.now() == 9.0


def test_deadlines_are_kept_until_they_are_dropped() -> None:
    clock = StillClock()
    first, second = clock.set_deadline("first", 5.0), clock.set_deadline("second", inf)
    assert first != second
    assert set(clock.deadlines.values()) == {("first", 5.0), ("second", inf)}
    clock.drop_deadline("first", first)
    clock.drop_deadline("first", first)
    assert list(clock.deadlines.values()) == [("second", inf)]


@pytest.mark.parametrize("function", ["relay", "resolve", "verify", "wait_draining"])
async def test_a_function_of_a_running_edge_says_to_use_one(function: str) -> None:
    arguments = {
        "relay": (None, "tcp://127.0.0.1:1"), "resolve": ("tcp://a:1",), "verify": ("shop", "secret"),
        "wait_draining": (),
    }  # fmt: skip
    with pytest.raises(RuntimeError) as refusal:
        await getattr(make_context(), function)(*arguments[function])
    assert str(refusal.value) == (
        "only a running edge relays, resolves, verifies and drains: use trioedge.testing.open_edge"
    )


def test_names_are_not_resolved_either() -> None:
    with pytest.raises(RuntimeError, match=r"use trioedge\.testing\.open_edge"):
        make_context().resolver.ask(te.Forward("tcp://a:1").to, print)  # type: ignore[arg-type]


def test_tables_of_a_context_are_bounded_and_each_is_a_new_one() -> None:
    context = make_context()
    one, other = context.counter(1), context.counter(1)
    one.enter("a", 1)
    assert (len(one), len(other)) == (1, 0)
    assert context.gate(5) is not context.gate(5)


async def test_the_log_is_one_that_stages_may_write_to() -> None:
    make_context().log.notice("something", detail="x")
    await trio.lowlevel.checkpoint()
