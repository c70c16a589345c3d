import time

import pytest
import trio
from structlog.testing import capture_logs

import trioedge as te
from trioedge.edge import rehearse
from trioedge.testing import Rehearsal, ScriptedUpstream, open_edge


def edge(*stages: object, **changes: float) -> te.Edge:
    return te.Edge("tcp://127.0.0.1:0", stages, te.Forward("tcp://192.0.2.9:6379"), **changes)  # type: ignore[arg-type]


async def test_bytes_go_both_ways_and_the_half_close_gets_its_answer(autojump_clock: trio.testing.MockClock) -> None:
    async with open_edge(edge()) as world:
        client = await world.connect()
        await client.send(b"ping")
        assert await client.receive(4) == b"ping"
        await client.send(b"last words")
        await client.finish()
        assert await client.receive_all() == b"last words"
        assert await client.ended() == te.Completed()
        assert (client.session.bytes_up, client.session.bytes_down) == (14, 14)
        assert world.edge.statistics() == te.Statistics(1, 0, {}, {te.Reason.FINISHED: 1}, 14, 14)


async def test_a_gate_refuses_the_third_of_a_burst_of_two_until_time_has_passed(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with open_edge(edge(te.SessionGate(rate=1, burst=2, per="source"))) as world:
        clients = [await world.connect("192.0.2.1") for _ in range(3)]
        assert await clients[2].ended() == te.Reject(te.Reason.RATE, "more than 1 session a second per source")
        assert await clients[2].receive_all() == b""
        assert (await world.connect("192.0.2.2")).outcome is None
        await trio.sleep(1)
        assert (await world.connect("192.0.2.1")).outcome is None


async def test_an_upstream_that_never_answers_ends_the_session_at_its_limit(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with open_edge(edge(), ScriptedUpstream(connect_seconds=60)) as world:
        client = await world.connect()
        assert (await client.ended()).reason is te.Reason.UPSTREAM_TIMEOUT
        assert trio.current_time() == pytest.approx(5.0, abs=0.02)


async def test_an_upstream_that_refuses_names_its_reason(autojump_clock: trio.testing.MockClock) -> None:
    async with open_edge(edge(), ScriptedUpstream(refusal=te.Reason.UPSTREAM_REFUSED)) as world:
        client = await world.connect()
        assert (await client.ended()).reason is te.Reason.UPSTREAM_REFUSED


async def test_silence_is_cut_at_the_idle_limit_and_any_byte_puts_it_off(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with open_edge(edge(te.IdleTimeout(30))) as world:
        client = await world.connect()
        await trio.sleep(20)
        await client.send(b"x")
        assert await client.receive(1) == b"x"
        await client.ended()
        assert trio.current_time() == pytest.approx(50.0, abs=0.1)
        assert world.edge.statistics().ended == {te.Reason.IDLE: 1}


async def test_a_session_that_waits_for_its_answer_after_a_half_close_gets_the_shorter_limit(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async def silent(stream: trio.abc.HalfCloseableStream) -> None:
        await trio.sleep_forever()

    async with open_edge(edge(te.IdleTimeout(600, half_closed_seconds=5)), silent) as world:
        client = await world.connect()
        await client.finish()
        await client.ended()
        assert trio.current_time() == pytest.approx(5.0, abs=0.1)


@pytest.mark.parametrize("connect_seconds", [0.0, 3.0], ids=["relaying", "connecting"])
async def test_evict_closes_exactly_what_was_named(
    connect_seconds: float, autojump_clock: trio.testing.MockClock
) -> None:
    async with open_edge(edge(), ScriptedUpstream(connect_seconds=connect_seconds)) as world:
        clients = [await world.connect(f"192.0.2.{n}") for n in (1, 1, 2)]
        await trio.sleep(0.5)
        assert world.edge.evict(source="192.0.2.1") == 2
        await trio.sleep(4)
        assert [client.outcome for client in clients] == [te.Completed(te.Reason.EVICTED)] * 2 + [None]
        assert world.edge.evict(source="192.0.2.1") == 0
        await clients[2].send(b"still here")
        assert await clients[2].receive(10) == b"still here"


async def test_a_stage_that_raises_costs_one_session(autojump_clock: trio.testing.MockClock) -> None:
    @te.decision
    def picky(session: te.Session) -> te.Verdict:
        if session.source == "192.0.2.66":
            raise LookupError("no such source")
        return te.CONTINUE

    @te.middleware
    async def clumsy(session: te.Session, call_next: te.Handler) -> te.Outcome:
        if session.source == "192.0.2.67":
            raise LookupError("dropped it")
        return await call_next(session)

    with capture_logs() as logs:
        async with open_edge(edge(picky, clumsy)) as world:
            other = await world.connect()
            for source in ("192.0.2.66", "192.0.2.67"):
                client = await world.connect(source)
                assert (await client.ended()).reason is te.Reason.FAULT
            await other.send(b"ping")
            assert await other.receive(4) == b"ping"
            assert world.edge.statistics().live == 1
    faults = {entry["event"]: str(entry["exc_info"]) for entry in logs if entry["log_level"] == "error"}
    assert faults == {"decision failed": "no such source", "stage failed": "dropped it"}


async def test_a_middleware_that_forgets_to_return_is_told_so(autojump_clock: trio.testing.MockClock) -> None:
    @te.middleware
    async def forgetful(session: te.Session, call_next: te.Handler) -> te.Outcome:  # type: ignore[return]
        await call_next(session)

    async with open_edge(edge(forgetful)) as world:
        client = await world.connect()
        await client.close()
        outcome = await client.ended()
    assert outcome.reason is te.Reason.FAULT
    assert "middleware forgetful returned None" in outcome.detail


async def test_a_deadline_middleware_cuts_and_says_so(autojump_clock: trio.testing.MockClock) -> None:
    @te.middleware
    async def at_most_an_hour(session: te.Session, call_next: te.Handler) -> te.Outcome:
        with trio.move_on_after(3600):
            return await call_next(session)
        return te.Completed(te.Reason.DEADLINE)

    async with open_edge(edge(te.IdleTimeout(10_000), at_most_an_hour)) as world:
        client = await world.connect()
        assert await client.ended() == te.Completed(te.Reason.DEADLINE)
        assert trio.current_time() == pytest.approx(3600, abs=0.1)


async def test_drain_lets_sessions_finish_and_cuts_the_rest_at_its_deadline(
    autojump_clock: trio.testing.MockClock, nursery: trio.Nursery
) -> None:
    server = edge(drain_seconds=10)
    upstream = ScriptedUpstream()
    await nursery.start(upstream.run)
    cut: list[int] = []

    async def serve(*, task_status: trio.TaskStatus[te.Edge]) -> None:
        cut.append(await rehearse(server, upstream, task_status=task_status))

    await nursery.start(serve)
    world = Rehearsal(server, upstream)
    quick, slow = await world.connect("192.0.2.1"), await world.connect("192.0.2.2")
    await trio.sleep(1)
    server.drain()
    await trio.sleep(3)
    await quick.close()
    assert await quick.ended() == te.Completed()
    assert await slow.ended() == te.Completed(te.Reason.DRAINED)
    await trio.testing.wait_all_tasks_blocked()
    assert trio.current_time() == pytest.approx(11, abs=0.1)
    assert cut == [1]
    nursery.cancel_scope.cancel()


async def test_a_reader_that_stops_stops_its_writer(autojump_clock: trio.testing.MockClock) -> None:
    sent = 0

    async def flood(stream: trio.abc.HalfCloseableStream) -> None:
        nonlocal sent
        while True:
            await stream.send_all(bytes(65536))
            sent += 65536

    async with open_edge(edge(), ScriptedUpstream(flood, lockstep=True)) as world:
        client = await world.connect(lockstep=True)
        await client.receive(1)
        before = sent
        await trio.sleep(10)
        assert sent <= before + 65536


async def test_a_whole_day_costs_no_time(autojump_clock: trio.testing.MockClock) -> None:
    began = time.perf_counter()
    async with open_edge(edge(te.IdleTimeout(100_000))):
        await trio.sleep(86_400)
    assert time.perf_counter() - began < 1


async def test_service_may_be_named_late_and_is_found_by_it(autojump_clock: trio.testing.MockClock) -> None:
    @te.middleware(provides=("service",))
    async def name_it(session: te.Session, call_next: te.Handler) -> te.Outcome:
        session.service = "tenant-a"
        return await call_next(session)

    async with open_edge(edge(name_it)) as world:
        client = await world.connect()
        await trio.sleep(1)
        assert world.edge.evict(service="default") == 0
        assert world.edge.evict(service="tenant-a") == 1
        assert await client.ended() == te.Completed(te.Reason.EVICTED)
