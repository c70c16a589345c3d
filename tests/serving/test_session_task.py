"""Stages that do what no guard expects: each costs one session, and the edge serves the next one."""

from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from typing import Any, cast

import pytest
import trio
import trio.testing
from structlog.testing import capture_logs

import trioedge as te
from tests.support.odd_faults import ODD_FAULTS
from tests.support.wires import connect, echo, receive_all, receive_exactly, server, serving
from tests.support.wrapped import Wrapped

BAD = "127.0.0.2"


class NotAnException(BaseException):
    """As ``asyncio.CancelledError`` is."""


class WordlessError(Exception):
    """Its text raises."""

    def __repr__(self) -> str:
        raise LookupError("no text")

    __str__ = __repr__


class Wordless:
    __repr__ = WordlessError.__repr__


@te.middleware
async def pass_on(session: te.Session, call_next: te.Handler) -> te.Outcome:
    return await call_next(session)


def raiser(fault: BaseException) -> Callable[..., Any]:
    """Make a function that raises for clients with the bad address."""

    def check(session: te.Session, *_: object) -> Any:
        if session.source == BAD:
            raise fault
        return te.CONTINUE

    return check


def decides(fault: BaseException) -> list[object]:
    return [te.decision(raiser(fault))]


def decides_later(fault: BaseException) -> list[object]:
    return [pass_on, *decides(fault)]


def wraps(fault: BaseException) -> list[object]:
    @te.middleware
    async def wrap(session: te.Session, call_next: te.Handler) -> te.Outcome:
        raiser(fault)(session)
        return await call_next(session)

    return [wrap]


def raises_in_a_nursery(fault: BaseException) -> list[object]:
    @te.middleware
    async def wrap(session: te.Session, call_next: te.Handler) -> te.Outcome:
        async with trio.open_nursery():
            raiser(fault)(session)
        return await call_next(session)

    return [wrap]


async def lives_on(stages: list[object], endpoint: object = None) -> tuple[te.Edge, list[str], te.Outcome]:
    """Serve a bad client, then a good one; gives the edge, its errors, and the bad session's outcome."""
    with capture_logs() as logs:
        async with server(echo) as port:
            edge = te.Edge("tcp://127.0.0.1:0", stages, endpoint or te.Forward(f"tcp://127.0.0.1:{port}"))
            async with serving(edge) as edge_port:
                async with await connect(edge_port, BAD) as bad:
                    with trio.fail_after(5), suppress(trio.BrokenResourceError):
                        assert await receive_all(bad) == b""
                with trio.fail_after(5):
                    while edge.sessions:
                        await trio.sleep(0.001)
                    async with await connect(edge_port) as good:
                        await good.send_all(b"ping")
                        assert await receive_exactly(good, 4) == b"ping"
                session = edge._run.sessions.recent[0]  # type: ignore[union-attr]
                assert session.outcome is not None
        return edge, [entry["event"] for entry in logs if entry["log_level"] == "error"], session.outcome


FAULTS = [
    (NotAnException("odd"), "NotAnException('odd')"),
    (WordlessError(), "<WordlessError, whose repr raised LookupError>"),
]


@pytest.mark.parametrize(("fault", "said"), FAULTS, ids=["no Exception", "no text"])
@pytest.mark.parametrize("stages", [decides, decides_later, wraps])
async def test_any_exception_of_a_stage_costs_one_session(
    stages: Callable[[BaseException], list[object]], fault: BaseException, said: str
) -> None:
    _, errors, outcome = await lives_on(stages(fault))
    assert (outcome.reason, outcome.detail) == (te.Reason.FAULT, said)
    assert errors == ["decision failed" if stages is decides else "stage failed"]


@pytest.mark.parametrize("make", ODD_FAULTS.values(), ids=ODD_FAULTS)
@pytest.mark.parametrize("stages", [decides, decides_later, wraps])
async def test_an_exception_whose_own_fields_raise_costs_one_session(
    stages: Callable[[BaseException], list[object]], make: Callable[[], BaseException]
) -> None:
    edge, errors, outcome = await lives_on(stages(make()))
    assert outcome.reason is te.Reason.FAULT
    assert errors == ["decision failed" if stages is decides else "stage failed"]
    counts = edge.statistics()
    assert sum(counts.refused.values()) + sum(counts.ended.values()) == 2


async def test_an_exception_in_the_nursery_of_a_stage_costs_one_session() -> None:
    _, errors, outcome = await lives_on(raises_in_a_nursery(NotAnException("odd")))
    assert (outcome.reason, errors) == (te.Reason.FAULT, ["stage failed"])
    assert "NotAnException('odd')" in outcome.detail


@pytest.mark.parametrize(("fault", "said"), FAULTS, ids=["no Exception", "no text"])
@pytest.mark.parametrize("stages", [[], [pass_on]], ids=["without a task", "with a task"])
async def test_any_exception_of_the_function_of_forward_costs_one_session(
    stages: list[object], fault: BaseException, said: str
) -> None:
    async with server(echo) as port:

        def to(session: te.Session) -> str:
            raiser(fault)(session)
            return f"tcp://127.0.0.1:{port}"

        _, errors, outcome = await lives_on(stages, te.Forward(to))
        assert (outcome.reason, outcome.detail) == (te.Reason.FAULT, said)
        assert errors == ["stage failed" if stages else "endpoint failed"]


@pytest.mark.parametrize(("fault", "said"), FAULTS, ids=["no Exception", "no text"])
async def test_any_exception_of_an_outbound_costs_one_session(fault: BaseException, said: str) -> None:
    class Odd:
        tries = 0

        async def connect(self, address: te.Address) -> trio.SocketStream:
            self.tries += 1
            if self.tries == 1:
                raise fault
            return await trio.open_tcp_stream("127.0.0.1", port)

    async with server(echo) as port:
        endpoint = te.Forward(f"tcp://127.0.0.1:{port}", outbound=Odd())
        _, errors, outcome = await lives_on([], endpoint)
        assert outcome == te.Completed(te.Reason.FAULT, f"tcp://127.0.0.1:{port}: {said}")
        assert errors == ["outbound failed"]


@pytest.mark.parametrize("stages", [[], [pass_on]], ids=["without a task", "with a task"])
@pytest.mark.parametrize(("fault", "said"), FAULTS, ids=["no Exception", "no text"])
async def test_any_exception_of_a_clean_up_is_logged_and_the_others_run(
    stages: list[object], fault: BaseException, said: str
) -> None:
    ran: list[str] = []

    @te.decision
    def defers(session: te.Session) -> te.Verdict:
        session.defer(lambda session: ran.append(session.source))
        session.defer(raiser(fault))
        return te.Reject(te.Reason.POLICY, "no") if session.source == BAD else te.CONTINUE

    edge, errors, outcome = await lives_on([defers, *stages])
    assert outcome == te.Reject(te.Reason.POLICY, "no")
    assert (errors, ran) == (["clean-up failed"], [BAD, "127.0.0.1"])
    assert edge.statistics().refused == {te.Reason.POLICY: 1}


@pytest.mark.parametrize("at", ["a decision", "a later decision", "a middleware", "the endpoint"])
async def test_an_answer_without_a_text_is_named_by_its_class(at: str) -> None:
    def answer(session: te.Session, right: Any) -> Any:
        return Wordless() if session.source == BAD else right

    decide = te.decision(lambda session: answer(session, te.CONTINUE))

    @te.middleware
    async def wrap(session: te.Session, call_next: te.Handler) -> te.Outcome:
        return cast(te.Outcome, answer(session, None) or await call_next(session))

    async def end(session: te.Session) -> te.Outcome:
        if session.source != BAD:
            await session.stream.send_all(await session.stream.receive_some())
        return cast(te.Outcome, answer(session, te.Completed()))

    stages = {"a decision": [decide], "a later decision": [pass_on, decide], "a middleware": [wrap]}.get(at, [])
    _, _, outcome = await lives_on(cast(list[object], stages), end)
    assert outcome.reason is te.Reason.FAULT
    assert "returned <Wordless, whose repr raised LookupError>; " in outcome.detail


async def ticks() -> AsyncIterator[int]:
    """Give numbers from within a cancel scope, which is left open if the loop over it stops."""
    with trio.CancelScope():
        yield 1
        yield 2


@pytest.mark.parametrize("where", ["before", "behind", "instead"])
async def test_a_cancel_scope_that_a_stage_leaves_open_costs_one_session(where: str) -> None:
    kept: list[object] = []

    async def leave_open(session: te.Session) -> None:
        if session.source == BAD:
            numbers = ticks()
            kept.append(numbers)
            async for _ in numbers:
                break

    @te.middleware
    async def wrap(session: te.Session, call_next: te.Handler) -> te.Outcome:
        if where != "behind":
            await leave_open(session)
        if session.source == BAD and where == "instead":
            return te.Completed()
        if session.source == BAD:
            session.cut(te.Reason.EVICTED)
        try:
            return await call_next(session)
        finally:
            if where == "behind":
                await leave_open(session)

    _, errors, outcome = await lives_on([wrap])
    assert (outcome.reason, errors) == (te.Reason.FAULT, ["stage failed"])
    assert "Cancel scope stack corrupted" in outcome.detail


async def test_a_cancel_of_another_scope_that_a_stage_raises_again_costs_one_session() -> None:
    @te.middleware
    async def wrap(session: te.Session, call_next: te.Handler) -> te.Outcome:
        kept: list[trio.Cancelled] = []
        with trio.CancelScope() as scope:
            scope.cancel()
            try:
                await trio.lowlevel.checkpoint()
            except trio.Cancelled as cancelled:
                kept.append(cancelled)
                raise
        if session.source == BAD:
            raise kept[0]
        return await call_next(session)

    _, errors, outcome = await lives_on([wrap])
    assert (outcome.reason, errors) == (te.Reason.FAULT, ["stage failed"])


async def test_a_key_interrupt_of_a_stage_ends_the_edge() -> None:
    with pytest.RaisesGroup(KeyboardInterrupt, flatten_subgroups=True):
        await lives_on(wraps(KeyboardInterrupt()))


@pytest.mark.parametrize("finished", [True, False])
async def test_a_stream_around_the_clients_is_closed_in_order_if_the_session_finished(finished: bool) -> None:
    made: list[Wrapped] = []

    @te.middleware
    async def wrap(session: te.Session, call_next: te.Handler) -> te.Outcome:
        made.append(Wrapped(session.stream))
        session.stream = made[-1]
        return await call_next(session)

    async def end(session: te.Session) -> te.Outcome:
        await session.stream.send_all(await session.stream.receive_some())
        return te.Completed() if finished else te.Completed(te.Reason.DEADLINE)

    async with serving(te.Edge("tcp://127.0.0.1:0", [wrap], end)) as port, await connect(port) as client:
        await client.send_all(b"ping")
        assert await receive_exactly(client, 4) == b"ping"
        if finished:
            assert await receive_all(client) == b""
        else:
            with pytest.raises(trio.BrokenResourceError):
                await receive_all(client)
    assert [each.closed for each in made] == [finished]
