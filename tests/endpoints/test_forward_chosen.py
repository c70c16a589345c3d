"""Forward to destinations that a function or a stage gives."""

from pathlib import Path
from typing import Any

import attrs
import pytest
import trio
import trio.testing
from structlog.testing import capture_logs

import trioedge as te
from tests.support.middlewares import read_ahead
from tests.support.ports import closed_port
from tests.support.wires import connect, receive_all, receive_exactly, server, serving
from trioedge.addresses.address import parse_address
from trioedge.endpoints.destinations import MAX_DESTINATIONS
from trioedge.testing import ScriptedUpstream, make_session, open_edge

LISTEN = "tcp://127.0.0.1:6380"

with_and_without_a_task = pytest.mark.parametrize("stages", [[], [read_ahead]], ids=["without a task", "with a task"])


async def exchange(port: int) -> bytes:
    async with await connect(port) as client:
        await client.send_all(b"ping")
        return await receive_exactly(client, 4)


async def is_reset(port: int) -> bool:
    async with await connect(port) as client:
        try:
            await client.send_all(b"ping")
            return await receive_all(client) != b""
        except trio.BrokenResourceError:
            return True


async def asked_for(to: Any, *stages: object, **session: str) -> list[str]:
    """Give the destinations that an edge in memory asks its outbound for, for one client."""
    upstream = ScriptedUpstream()
    async with open_edge(te.Edge(LISTEN, stages, te.Forward(to, **session)), upstream) as world:  # type: ignore[arg-type]
        client = await world.connect()
        await client.send(b"ping")
        assert await client.receive(4) == b"ping"
    return [str(address) for address in upstream.asked]


@with_and_without_a_task
@pytest.mark.parametrize("kind", ["text", "address"])
async def test_a_session_goes_to_the_address_that_the_function_returns(stages: list[object], kind: str) -> None:
    async with server() as upstream_port:
        address = f"tcp://127.0.0.1:{upstream_port}"
        edge = te.Edge(
            "tcp://127.0.0.1:0", stages, te.Forward(lambda _: address if kind == "text" else parse_address(address))
        )
        async with serving(edge) as port:
            assert await exchange(port) == b"ping"


async def test_the_function_sees_the_session_behind_all_stages(autojump_clock: trio.testing.MockClock) -> None:
    @te.decision(provides=("service",))
    def name(session: te.Session) -> te.Verdict:
        session.service = "shop"
        return te.CONTINUE

    def by_service(session: te.Session) -> str:
        return f"tcp://{session.service.name}.test:80"

    assert await asked_for(by_service, name) == ["tcp://shop.test:80"]


@with_and_without_a_task
@pytest.mark.parametrize("by", ["function", "stage"])
@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "0.0.0.0"])
async def test_a_session_that_would_come_back_to_the_edge_is_refused(by: str, host: str, stages: list[object]) -> None:
    where: list[str] = []

    @te.decision(provides=("destination",))
    def choose(session: te.Session) -> te.Verdict:
        session.destination = where[0]
        return te.CONTINUE

    forward = te.Forward(lambda _: where[0]) if by == "function" else te.Forward(allow=["loopback", "unspecified"])
    edge = te.Edge("tcp://127.0.0.1:0", [*stages, *([choose] if by == "stage" else [])], forward)
    async with serving(edge) as port:
        where.append(f"tcp://{host}:{port}")
        for _ in range(2):
            assert await is_reset(port)
        await trio.testing.wait_all_tasks_blocked(0.01)
        assert edge.statistics().refused == {te.Reason.UPSTREAM_FORBIDDEN: 2}


@with_and_without_a_task
async def test_a_reject_of_the_function_refuses_the_session(stages: list[object]) -> None:
    edge = te.Edge("tcp://127.0.0.1:0", stages, te.Forward(lambda _: te.Reject(te.Reason.POLICY, "closed today")))
    async with serving(edge) as port:
        assert await is_reset(port)
        await trio.testing.wait_all_tasks_blocked(0.01)
        assert edge.statistics().refused == {te.Reason.POLICY: 1}


@attrs.define(eq=False)
class Alternating:
    """A function that gives one answer after the other, and notes each session that it is asked for.

    Attributes:
        answers: given in turn.
        asked: the numbers of the sessions.
    """

    answers: list[str | te.Reject]
    asked: list[int] = attrs.field(factory=list)

    def __call__(self, session: te.Session) -> str | te.Reject:
        self.asked.append(session.id)
        return self.answers[(len(self.asked) - 1) % len(self.answers)]


class Way:
    """An outbound that connects in a task."""

    async def connect(self, address: te.Address) -> trio.SocketStream:
        if address.scheme == "unix":
            return await trio.open_unix_socket(address.path)
        return await trio.open_tcp_stream(address.host, address.port)


async def answer_a(connection: trio.SocketStream) -> None:
    await connection.receive_some()
    await connection.send_all(b"aaaa")


async def answer_b(connection: trio.SocketStream) -> None:
    await connection.receive_some()
    await connection.send_all(b"bbbb")


OUTBOUNDS = [te.Direct(), Way()]


@pytest.mark.parametrize("outbound", OUTBOUNDS, ids=["Direct", "in a task"])
@pytest.mark.parametrize("paced", [False, True], ids=["unpaced", "paced"])
@pytest.mark.parametrize("kind", ["tcp", "unix"])
@with_and_without_a_task
async def test_the_function_is_asked_once_for_each_session(
    stages: list[object], kind: str, paced: bool, outbound: Any, tmp_path: Path
) -> None:
    """Also where the reactor cannot carry the session: a rate, and an upstream that is a local socket."""
    pacing = [te.Pacing(1e6, 1e6)] if paced else []
    async with server(answer_a) as port_a, server(answer_b) as port_b, trio.open_nursery() as nursery:
        addresses = [f"tcp://127.0.0.1:{port_a}", f"tcp://127.0.0.1:{port_b}"]
        if kind == "unix":
            paths = [f"unix://{tmp_path}/{name}.sock" for name in "ab"]
            for path, address in zip(paths, addresses, strict=True):
                await nursery.start(te.Edge(path, [], te.Forward(address)).serve)
            addresses = paths
        to = Alternating([*addresses, te.Reject(te.Reason.POLICY, "closed today")])
        edge = te.Edge("tcp://127.0.0.1:0", [*pacing, *stages], te.Forward(to, outbound=outbound))
        async with serving(edge) as port:
            for _ in range(2):
                assert await exchange(port) == b"aaaa"
                assert await exchange(port) == b"bbbb"
                assert await is_reset(port)
            await trio.testing.wait_all_tasks_blocked(0.01)
            assert to.asked == sorted(set(to.asked))
            assert len(to.asked) == 6
            assert edge.statistics().refused == {te.Reason.POLICY: 2}
        nursery.cancel_scope.cancel()


def raises(session: te.Session) -> str:
    raise LookupError("no such table")


@with_and_without_a_task
@pytest.mark.parametrize(
    ("to", "detail"),
    [
        (lambda _: "127.0.0.1:80", "must begin with tcp://"),
        (lambda _: "tcp://127.0.0.1:0", "nothing answers on port 0"),
        (lambda _: None, r"Forward(to=<lambda>) returned None: it must return an address or Reject"),
        (lambda _: 80, "returned 80"),
        (lambda _: te.CONTINUE, "returned CONTINUE"),
        (lambda _: b"tcp://127.0.0.1:80", "returned b'tcp://127.0.0.1:80'"),
        (raises, "no such table"),
    ],
)
async def test_a_function_that_fails_costs_that_session_only(to: Any, detail: str, stages: list[object]) -> None:
    edge = te.Edge("tcp://127.0.0.1:0", stages, te.Forward(to))
    with capture_logs() as logs:
        async with serving(edge) as port:
            for _ in range(2):
                assert await is_reset(port)
            await trio.testing.wait_all_tasks_blocked(0.01)
            assert edge.statistics().ended == {te.Reason.FAULT: 2}
            (session, _) = edge._run.sessions.recent  # type: ignore[union-attr]
            assert detail in session.outcome.detail  # type: ignore[union-attr]
    (entry, *_) = [entry for entry in logs if entry["log_level"] == "error"]
    assert entry["event"] == ("stage failed" if stages else "endpoint failed")


def destinations_of(edge: te.Edge) -> Any:
    forwarding: Any = edge._run.chain.parts[-1]  # type: ignore[union-attr]
    return forwarding._destinations


async def test_tens_of_thousands_of_destinations_are_kept_in_bounds(autojump_clock: trio.testing.MockClock) -> None:
    """A few microseconds each; the least recently used ones are dropped."""
    edge = te.Edge(LISTEN, [], te.Forward(lambda session: f"tcp://{session.source}:{session.id % 60_000 + 1}"))
    async with open_edge(edge):
        destinations = destinations_of(edge)
        first = destinations.upstream(make_session("10.0.0.0"))
        for number in range(3 * MAX_DESTINATIONS):
            upstream = destinations.upstream(make_session(f"10.1.{number // 256}.{number % 256}"))
            assert upstream.destination.host == f"10.1.{number // 256}.{number % 256}"
        assert destinations._known.cache_info().currsize == MAX_DESTINATIONS
        assert first is not destinations.upstream(make_session("10.0.0.0"))


async def test_a_destination_that_is_chosen_again_is_the_same_upstream(autojump_clock: trio.testing.MockClock) -> None:
    edge = te.Edge(LISTEN, [], te.Forward(lambda _: "tcp://one.test:80"))
    async with open_edge(edge):
        destinations = destinations_of(edge)
        assert destinations.upstream(make_session()) is destinations.upstream(make_session())


# Destinations that a stage writes.


@te.decision(provides=("destination",))
def to_example(session: te.Session) -> te.Verdict:
    session.destination = "tcp://192.0.2.80:80"
    return te.CONTINUE


@te.decision(provides=("destination",))
def to_nowhere(session: te.Session) -> te.Verdict:
    return te.CONTINUE


def to(address: str) -> object:
    @te.decision(provides=("destination",))
    def decide(session: te.Session) -> te.Verdict:
        session.destination = address
        return te.CONTINUE

    return decide


async def test_without_a_control_plane_a_session_goes_where_its_stage_says(
    autojump_clock: trio.testing.MockClock,
) -> None:
    assert await asked_for(None, to_example) == ["tcp://192.0.2.80:80"]


@with_and_without_a_task
async def test_a_session_goes_to_a_loopback_destination_only_if_it_is_allowed(stages: list[object]) -> None:
    async with server() as upstream_port:
        address = f"tcp://127.0.0.1:{upstream_port}"
        edge = te.Edge("tcp://127.0.0.1:0", [to(address), *stages], te.Forward(allow=["loopback"]))
        async with serving(edge) as port:
            assert await exchange(port) == b"ping"
        edge = te.Edge("tcp://127.0.0.1:0", [to(address), *stages], te.Forward())
        with capture_logs() as logs:
            async with serving(edge) as port:
                assert await is_reset(port)
                await trio.testing.wait_all_tasks_blocked(0.01)
                assert edge.statistics().ended == {te.Reason.UPSTREAM_FORBIDDEN: 1}
        (entry,) = [entry for entry in logs if entry["event"] == "upstream failed"]
        assert "127.0.0.1 is a loopback address; allow=['loopback'] lets it through" in entry["error"]
        assert (entry["destination"], entry["service"]) == (address, "default")


async def test_a_name_is_judged_by_its_addresses(monkeypatch: pytest.MonkeyPatch) -> None:
    edge = te.Edge("tcp://127.0.0.1:0", [to("tcp://localhost:1")], te.Forward(allow=["private"]))
    with capture_logs():
        async with serving(edge) as port:
            assert await is_reset(port)
            await trio.testing.wait_all_tasks_blocked(0.01)
            assert edge.statistics().ended == {te.Reason.UPSTREAM_FORBIDDEN: 1}


@with_and_without_a_task
async def test_a_session_without_a_destination_and_without_a_policy_is_refused(stages: list[object]) -> None:
    edge = te.Edge("tcp://127.0.0.1:0", [to_nowhere, *stages], te.Forward())
    async with serving(edge) as port:
        assert await is_reset(port)
        await trio.testing.wait_all_tasks_blocked(0.01)
        assert edge.statistics().refused == {te.Reason.SERVICE: 1}
        (session,) = edge._run.sessions.recent  # type: ignore[union-attr]
        assert session.outcome == te.Reject(
            te.Reason.SERVICE, "no stage wrote a destination, and its policy names none"
        )


async def test_a_destination_goes_before_the_policy_and_the_policy_before_nothing() -> None:
    async def answer(connection: trio.SocketStream) -> None:
        await connection.receive_some()
        await connection.send_all(b"pong")

    async with server() as echoes, server(answer) as answers:
        control = te.MemoryControl({"default": te.Policy(outbound=f"tcp://127.0.0.1:{answers}")})
        for stage, reply in ((to(f"tcp://127.0.0.1:{echoes}"), b"ping"), (to_nowhere, b"pong")):
            edge = te.Edge("tcp://127.0.0.1:0", [stage], te.Forward(allow=["loopback"]), control=control)
            async with serving(edge) as port:
                assert await exchange(port) == reply


async def test_a_destination_does_not_move_a_forward_with_a_destination_of_its_own(
    autojump_clock: trio.testing.MockClock,
) -> None:
    @te.decision  # without provides=("destination",), with which the edge would not start
    def quietly_to_example(session: te.Session) -> te.Verdict:
        session.destination = "tcp://192.0.2.80:80"
        return te.CONTINUE

    assert await asked_for("tcp://one.test:1", quietly_to_example) == ["tcp://one.test:1"]


@te.middleware
async def waits(session: te.Session, call_next: te.Handler) -> te.Outcome:
    await trio.lowlevel.checkpoint()
    return await call_next(session)


@te.handshake(proceeds=True)
def tells_the_outcome(session: te.Session) -> te.Steps:
    outcome = yield te.PROCEED
    yield te.Send(b"connected" if outcome is None else str(outcome.reason).encode())
    return te.CONTINUE


@pytest.mark.parametrize("stages", [[tells_the_outcome], [tells_the_outcome, waits]], ids=["reactor", "task"])
async def test_a_connect_that_fails_is_no_warning_if_its_client_is_told(stages: list[object]) -> None:
    edge = te.Edge("tcp://127.0.0.1:0", stages, te.Forward(f"tcp://127.0.0.1:{closed_port()}", retries=0))
    with capture_logs() as logs:
        async with serving(edge) as port, await connect(port) as client:
            assert await receive_all(client) == b"upstream_refused"
    assert [line["event"] for line in logs if line["log_level"] == "warning"] == []
