"""Sessions over real sockets: admission, refusals, guards, drain and eviction."""

from contextlib import AsyncExitStack

import pytest
import trio
import trio.testing
from structlog.testing import capture_logs

import trioedge as te
from tests.support.open_files import open_files
from tests.support.ports import deaf_port
from tests.support.wires import connect, edge_to, receive_exactly, server, serving, silent
from trioedge.edge import admit
from trioedge.testing import open_edge


@te.middleware
async def pass_on(session: te.Session, call_next: te.Handler) -> te.Outcome:
    return await call_next(session)


@pytest.mark.parametrize("stages", [[], [pass_on]], ids=["without a task", "with a task"])
async def test_a_session_is_registered_while_it_runs_and_counted_when_it_ends(stages: list[object]) -> None:
    async with server() as port:
        edge = edge_to(port, *stages)
        async with serving(edge) as edge_port:
            async with await connect(edge_port) as client:
                await client.send_all(b"ping")
                assert await receive_exactly(client, 4) == b"ping"
                (session,) = edge.sessions
                assert session.phase == "relaying"
                assert (session.scope is None) is (not stages)
            with trio.fail_after(5):
                while edge.sessions:
                    await trio.sleep(0.001)
            assert session.outcome == te.Completed()
            assert edge.statistics() == te.Statistics(1, 0, {}, {te.Reason.FINISHED: 1}, 4, 4)


async def test_a_refusal_by_a_leading_decision_costs_no_task_and_runs_the_clean_ups_last_in_first_out() -> None:
    trail: list[str] = []

    @te.decision
    def remember(session: te.Session) -> te.Verdict:
        for name in ("first", "second"):
            session.defer(lambda _, name=name: trail.append(name))  # type: ignore[misc]
        return te.CONTINUE

    @te.decision
    def refuse(session: te.Session) -> te.Verdict:
        trail.append(f"tasks {trio.lowlevel.current_statistics().tasks_living - tasks}")
        return te.Reject(te.Reason.POLICY, "closed today")

    async with server() as port:
        edge = edge_to(port, remember, refuse, pass_on)
        async with serving(edge) as edge_port:
            tasks = trio.lowlevel.current_statistics().tasks_living
            async with await connect(edge_port) as client:
                with pytest.raises(trio.BrokenResourceError):
                    await client.receive_some()
            assert edge.statistics().refused == {te.Reason.POLICY: 1}
    assert trail == ["tasks 0", "second", "first"]


async def test_a_decision_that_raises_refuses_that_session_only() -> None:
    @te.decision
    def explode(session: te.Session) -> te.Verdict:
        if session.source == "127.0.0.2":
            raise LookupError("no such thing")
        return te.CONTINUE

    with capture_logs() as logs:
        async with server() as port:
            edge = edge_to(port, explode)
            async with serving(edge) as edge_port, await connect(edge_port) as client:
                for _ in range(3):
                    async with await connect(edge_port, "127.0.0.2") as victim:
                        with pytest.raises(trio.BrokenResourceError):
                            await victim.receive_some()
                await client.send_all(b"ping")
                assert await receive_exactly(client, 4) == b"ping"
            assert edge.statistics().refused == {te.Reason.FAULT: 3}
    assert [entry["event"] for entry in logs if entry["log_level"] == "error"] == ["decision failed"]


@pytest.mark.parametrize("stages", [[], [pass_on]], ids=["without a task", "with a task"])
@pytest.mark.parametrize("upstream", ["relaying", "connecting"])
async def test_evicted_sessions_are_closed_when_evict_returns(stages: list[object], upstream: str) -> None:
    async with server(silent) as live_port, deaf_port() as deaf:
        edge = edge_to(deaf if upstream == "connecting" else live_port, *stages)
        async with serving(edge) as edge_port:
            clients = [await connect(edge_port, f"127.0.0.{host}") for host in (1, 2, 2)]
            with trio.fail_after(5):
                while [session.phase for session in edge.sessions] != [upstream] * 3:
                    await trio.sleep(0.001)
            files = open_files()
            assert edge.evict(source="::ffff:127.0.0.2") == 2
            assert open_files() == files - 4
            for client in clients[1:]:
                with pytest.raises(trio.BrokenResourceError):
                    await client.receive_some()
            await trio.testing.wait_all_tasks_blocked()
            assert [session.source for session in edge.sessions] == ["127.0.0.1"]
            assert edge.evict(session=next(iter(edge.sessions))) == 1
            for client in clients:
                await client.aclose()
            await trio.testing.wait_all_tasks_blocked()
            assert edge.statistics().ended == {te.Reason.EVICTED: 3}


async def test_an_evicted_client_in_memory_is_closed(autojump_clock: trio.testing.MockClock) -> None:
    edge = te.Edge("tcp://127.0.0.1:6380", [], te.Forward("tcp://192.0.2.9:1"))
    async with open_edge(edge) as world:
        client = await world.connect()
        await client.send(b"ping")
        assert await client.receive(4) == b"ping"
        edge.evict(source="192.0.2.1")
        assert await client.ended() == te.Completed(te.Reason.EVICTED)
        with trio.fail_after(1), pytest.raises(trio.BrokenResourceError):
            await client.send(b"ping")


async def test_evict_without_a_criterion_or_with_a_bad_source_is_refused() -> None:
    with pytest.raises(TypeError, match="needs a service, a source, a device or a session"):
        edge_to(1).evict()
    with pytest.raises(
        te.ConfigurationError, match="source 'here' is not an IP address, nor a prefix such as 2001:db8::/64"
    ):
        edge_to(1).evict(source="here")


@pytest.mark.parametrize("stages", [[], [pass_on]], ids=["without a task", "with a task"])
async def test_drain_stops_accepting_waits_and_cuts_at_its_deadline(stages: list[object]) -> None:
    async with server() as port, trio.open_nursery() as nursery:
        edge = edge_to(port, *stages, drain_seconds=0.3)
        cut: list[int] = []

        async def serve(*, task_status: trio.TaskStatus[te.Edge]) -> None:
            cut.append(await edge.serve(task_status=task_status))

        await nursery.start(serve)
        edge_port = int(edge.addresses[0].rpartition(":")[2])
        quick, slow = await connect(edge_port), await connect(edge_port)
        for client in (quick, slow):
            await client.send_all(b"ping")
            assert await receive_exactly(client, 4) == b"ping"
        edge.drain()
        await trio.testing.wait_all_tasks_blocked()
        with pytest.raises(OSError, match="refused"):
            await connect(edge_port)
        await slow.send_all(b"still served")
        assert await receive_exactly(slow, 12) == b"still served"
        await quick.aclose()
        with pytest.raises(trio.BrokenResourceError):
            await slow.receive_some()
        await slow.aclose()
        await trio.testing.wait_all_tasks_blocked()
        assert cut == [1]
        assert edge.statistics().ended == {te.Reason.FINISHED: 1, te.Reason.DRAINED: 1}


async def test_a_connection_beyond_max_sessions_is_refused() -> None:
    async with server(silent) as port:
        edge = edge_to(port, max_sessions=1)
        with capture_logs() as logs:
            async with serving(edge) as edge_port, await connect(edge_port) as first:
                with trio.fail_after(5):
                    while not edge.sessions:
                        await trio.sleep(0.001)
                async with await connect(edge_port) as second:
                    with pytest.raises(trio.BrokenResourceError):
                        await second.receive_some()
                assert first.socket.fileno() > 0
                assert edge.statistics().refused == {te.Reason.OVERLOAD: 1}
        assert "shedding: too many sessions" in [entry["event"] for entry in logs]


async def test_an_edge_serves_again_after_it_has_stopped_and_counts_from_0() -> None:
    async with server() as port:
        edge = edge_to(port, preconnect=2)
        for _ in range(2):
            async with serving(edge) as edge_port, await connect(edge_port) as client:
                await client.send_all(b"ping")
                assert await receive_exactly(client, 4) == b"ping"
            assert (edge.statistics().accepted, edge.phase.value) == (1, "stopped")


@pytest.mark.parametrize("refuse", ["reset", "close"])
async def test_a_refusal_behind_a_middleware_closes_as_the_edge_was_told(refuse: str) -> None:
    @te.decision
    def no(session: te.Session) -> te.Verdict:
        return te.Reject(te.Reason.POLICY)

    async with server() as port:
        edge = edge_to(port, pass_on, no, refuse=refuse)
        async with serving(edge) as edge_port, await connect(edge_port) as client:
            if refuse == "close":
                assert await client.receive_some() == b""
            else:
                with pytest.raises(trio.BrokenResourceError):
                    await client.receive_some()
            await trio.testing.wait_all_tasks_blocked()
            assert edge.statistics().refused == {te.Reason.POLICY: 1}


async def test_a_middleware_that_raises_resets_its_client() -> None:
    @te.middleware
    async def fail(session: te.Session, call_next: te.Handler) -> te.Outcome:
        raise LookupError("as asked")

    async with server() as port:
        edge = edge_to(port, fail)
        with capture_logs():
            async with serving(edge) as edge_port, await connect(edge_port) as client:
                with pytest.raises(trio.BrokenResourceError):
                    await client.receive_some()


async def test_a_session_that_is_cut_before_its_task_begins_reaches_no_stage() -> None:
    reached: list[te.Session] = []

    @te.middleware
    async def wait(session: te.Session, call_next: te.Handler) -> te.Outcome:
        await trio.lowlevel.checkpoint()
        reached.append(session)
        return await call_next(session)

    edge = edge_to(1, wait)
    async with open_edge(edge):
        session = admit(edge, trio.testing.memory_stream_pair()[1], "192.0.2.1")
        assert edge.evict(session=session) == 1
        await trio.testing.wait_all_tasks_blocked()
        assert session.outcome == te.Completed(te.Reason.EVICTED)
        assert reached == []


async def test_a_clean_up_that_raises_during_an_evict_ends_that_session_only() -> None:
    @te.middleware
    async def messy(session: te.Session, call_next: te.Handler) -> te.Outcome:
        async def helper() -> None:
            try:
                await trio.sleep_forever()
            finally:
                raise ValueError("messy")

        async with trio.open_nursery() as nursery:
            nursery.start_soon(helper)
            return await call_next(session)

    async with server() as port:
        edge = edge_to(port, messy)
        with capture_logs() as logs:
            async with serving(edge) as edge_port, await connect(edge_port) as one, await connect(edge_port) as other:
                with trio.fail_after(5):
                    while [session.phase for session in edge.sessions] != ["relaying"] * 2:
                        await trio.sleep(0.001)
                assert edge.evict(session=next(iter(edge.sessions))) == 1
                with pytest.raises(trio.BrokenResourceError):
                    await one.receive_some()
                await other.send_all(b"ping")
                assert await receive_exactly(other, 4) == b"ping"
        assert "stage failed" in [entry["event"] for entry in logs]


async def test_a_clean_up_that_evicts_hundreds_of_sessions_nests_no_calls() -> None:
    nested = deepest = 0

    @te.decision
    def family(session: te.Session) -> te.Verdict:
        def leave(_: te.Session) -> None:
            nonlocal nested, deepest
            nested += 1
            deepest = max(deepest, nested)
            edge.evict(service="default")
            assert all(each.cut_reason is te.Reason.EVICTED for each in edge.sessions)
            nested -= 1

        session.defer(leave)
        return te.CONTINUE

    async with server() as port:
        edge = edge_to(port, family)
        async with serving(edge) as edge_port, AsyncExitStack() as clients:
            for _ in range(200):
                await clients.enter_async_context(await connect(edge_port))
            with trio.fail_after(5):
                while [session.phase for session in edge.sessions] != ["relaying"] * 200:
                    await trio.sleep(0.001)
            assert edge.evict(session=next(iter(edge.sessions))) == 1
            with trio.fail_after(5):
                while edge.sessions:
                    await trio.sleep(0.001)
            assert edge.statistics().ended == {te.Reason.EVICTED: 200}
            assert deepest == 1


async def test_a_decision_that_cuts_its_own_session_refuses_it() -> None:
    @te.decision
    def cut(session: te.Session) -> te.Verdict:
        session.cut(te.Reason.EVICTED)
        return te.CONTINUE

    async with server() as port:
        edge = edge_to(port, cut)
        async with serving(edge) as edge_port, await connect(edge_port) as client:
            with pytest.raises(trio.BrokenResourceError):
                await client.receive_some()
            assert edge.statistics().refused == {te.Reason.EVICTED: 1}
