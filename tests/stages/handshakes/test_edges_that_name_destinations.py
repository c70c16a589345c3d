"""SOCKS and CONNECT in whole edges: over plain sockets in the reactor, and over streams under a fake clock.

What the client hears is true: of a decision behind the handshake, of a service that is full, and of the connect.
"""

import logging
from collections.abc import Callable
from typing import Any

import pytest
import structlog
import structlog.testing
import trio
import trio.lowlevel
import trio.testing
from structlog.testing import capture_logs

import trioedge as te
from tests.support.logging_state import logging_restored
from tests.support.talks import pass_on
from tests.support.wires import connect, receive_all, receive_exactly, server, serving
from trioedge.process.logs import configure
from trioedge.services import passwords
from trioedge.testing import ScriptedUpstream, open_edge

GREETING, LOGIN = b"\5\1\0", b"\5\1\2\1\5alice\6secret"
GRANTED = b"\5\0\0\1\0\0\0\0\0\0"
CONNECTED = b"HTTP/1.1 200 Connection established\r\n\r\n"


def request_5(port: int, host: bytes = b"127.0.0.1") -> bytes:
    return b"\5\1\0\3" + bytes([len(host)]) + host + port.to_bytes(2)


def head(port: int, host: str = "127.0.0.1", *fields: str) -> bytes:
    lines = [f"CONNECT {host}:{port} HTTP/1.1", f"Host: {host}:{port}", *fields]
    return "".join(f"{line}\r\n" for line in [*lines, ""]).encode()


BASIC = "Proxy-Authorization: Basic YWxpY2U6c2VjcmV0"


def edge_of(*stages: object, **changes: Any) -> te.Edge:
    return te.Edge("tcp://127.0.0.1:0", list(stages), te.Forward(retries=0, allow=["loopback"]), **changes)


@pytest.fixture
def alice(monkeypatch: pytest.MonkeyPatch) -> te.MemoryControl:
    """A control plane with alice, who may have two sessions; her password costs next to nothing to hash."""
    monkeypatch.setattr(passwords, "COST_LOG2", 1)
    settings = te.Settings(te.Policy(max_sessions=2), te.Credentials(te.hash_password("secret")))
    return te.MemoryControl({"alice": settings})


@te.decision(requires=("destination",))
def no_mail(session: te.Session) -> te.Verdict:
    if str(session.destination).endswith(":25"):
        return te.Reject(te.Reason.DESTINATION, "port 25")
    return te.CONTINUE


@pytest.mark.parametrize("name", ["reactor", "task"])
async def test_a_client_that_names_many_destinations_does_not_fill_the_log(name: str) -> None:
    edge = edge_of(*[pass_on] * (name == "task"), te.Socks())
    with structlog.testing.capture_logs() as logs:
        async with serving(edge) as port:
            for number in range(1, 21):
                async with await connect(port) as client:
                    await client.send_all(GREETING + request_5(number, b"10.0.0.1"))
                    assert (await receive_all(client))[2:4] == b"\5\2"
            assert edge.statistics().ended == {te.Reason.UPSTREAM_FORBIDDEN: 20}
    assert [line for line in logs if line["log_level"] == "warning"] == []


async def silent_app(scope: Any, receive: Any, send: Any) -> None:
    """An ASGI application that answers nothing."""


async def finish(session: te.Session) -> te.Outcome:
    return te.Completed()


async def gone(edge: te.Edge) -> None:
    with trio.fail_after(5):
        while edge.sessions:
            await trio.sleep(0.005)


@pytest.mark.parametrize("endpoint", [te.Forward("tcp://192.0.2.9:1"), te.Asgi(silent_app)], ids=["Forward", "Asgi"])
@pytest.mark.parametrize("stage", [te.Socks(), te.HttpConnect(), te.SniRoute({"a.example": "tcp://192.0.2.8:1"})])
def test_an_endpoint_that_never_goes_where_a_stage_says_is_refused(stage: object, endpoint: Any) -> None:
    with pytest.raises(te.ConfigurationError) as caught:
        te.Edge("tcp://127.0.0.1:0", [te.SessionGate(5), stage], endpoint)
    assert str(caught.value) == (
        f"stage 2 ({type(stage).__name__}) names the session's destination, and {type(endpoint).__name__} never goes "
        "there: end the chain with Forward() without an address, or leave that stage out"
    )


@pytest.mark.parametrize("endpoint", [te.Forward(), te.Forward(lambda session: session.destination or ""), finish])
def test_an_endpoint_that_may_go_there_is_accepted(endpoint: Any) -> None:
    te.Edge("tcp://127.0.0.1:0", [te.Socks()], endpoint)


async def test_a_fault_of_a_login_names_the_stage_as_its_user_wrote_it() -> None:
    def forgets(session: te.Session, user: str, password: str) -> Any:
        """Return nothing."""

    with capture_logs() as logs:
        async with serving(edge_of(te.Socks(auth=forgets))) as port, await connect(port) as client:
            await client.send_all(LOGIN)
            with pytest.raises(trio.BrokenResourceError):
                await receive_exactly(client, 4)
    assert [entry["stage"] for entry in logs if entry["event"] == "handshake failed"] == ["Socks"]


@pytest.mark.parametrize("chunk", [1, 3, 1_000])
async def test_a_client_of_plain_sockets_may_send_its_handshake_in_any_pieces(chunk: int) -> None:
    async with server() as upstream:
        cases: list[tuple[object, bytes, bytes]] = [
            (te.Socks(), GREETING + request_5(upstream), b"\5\0" + GRANTED),
            (te.HttpConnect(), head(upstream), CONNECTED),
        ]
        for stage, said, answer in cases:
            async with serving(edge_of(stage)) as port:
                client = await connect(port)
                data = said + b"early"
                for at in range(0, len(data), chunk):
                    await client.send_all(data[at : at + chunk])
                    await trio.lowlevel.checkpoint()
                with trio.fail_after(5):
                    assert await receive_exactly(client, len(answer) + 5) == answer + b"early"
                    await client.send_all(b"late")
                    await client.send_eof()
                    assert await receive_all(client) == b"late"
                await client.aclose()


async def test_a_client_of_streams_may_send_its_handshake_in_any_pieces(
    autojump_clock: trio.testing.MockClock,
) -> None:
    cases: list[tuple[object, bytes, bytes]] = [
        (te.Socks(), GREETING + request_5(80, b"192.0.2.9"), b"\5\0" + GRANTED),
        (te.Socks(answer="at_once"), GREETING + request_5(80, b"192.0.2.9"), b"\5\0" + GRANTED),
        (te.HttpConnect(), head(80, "192.0.2.9"), CONNECTED),
    ]
    for stage, said, answer in cases:
        async with open_edge(edge_of(stage)) as world:
            client = await world.connect()
            for byte in said + b"early":
                await client.send(bytes([byte]))
            assert await client.receive(len(answer) + 5) == answer + b"early"
            assert [str(address) for address in world.upstream.asked] == ["tcp://192.0.2.9:80"]


@pytest.mark.parametrize(("stage", "said"), [(te.Socks, GREETING), (te.HttpConnect, b"CONNECT a:1 HTTP/1.0\r\n")])
async def test_a_silent_client_has_its_seconds(
    stage: Callable[..., object], said: bytes, autojump_clock: trio.testing.MockClock
) -> None:
    for seconds, arguments in ((10.0, {}), (3.0, {"seconds": 3})):
        async with open_edge(edge_of(stage(**arguments))) as world:
            began = trio.current_time()
            client = await world.connect()
            await client.send(said)
            assert (await client.ended()).reason is te.Reason.HANDSHAKE
            assert seconds <= trio.current_time() - began <= seconds + 2.2  # one that was told something may read it


REFUSALS: list[tuple[int, bytes, te.Reason, int, int]] = [
    (1, b"127.0.0.1", te.Reason.UPSTREAM_REFUSED, 5, 502),
    (25, b"127.0.0.1", te.Reason.DESTINATION, 2, 403),
    (80, b"10.0.0.1", te.Reason.UPSTREAM_FORBIDDEN, 2, 403),
    (80, b"169.254.169.254", te.Reason.UPSTREAM_FORBIDDEN, 2, 403),
    (80, b"0.0.0.0", te.Reason.UPSTREAM_FORBIDDEN, 2, 403),
    (80, b"nowhere.invalid", te.Reason.UPSTREAM_UNRESOLVED, 4, 502),
]


@pytest.mark.parametrize(("port", "host", "reason", "code", "status"), REFUSALS)
async def test_the_answer_says_why_there_is_no_connection(
    port: int, host: bytes, reason: te.Reason, code: int, status: int
) -> None:
    for stage, said, answer in (
        (te.Socks(), GREETING + request_5(port, host), b"\5\0" + bytes((5, code))),
        (te.HttpConnect(), head(port, host.decode()), b"HTTP/1.1 %d " % status),
    ):
        edge = edge_of(stage, no_mail)
        async with serving(edge) as edge_port:
            client = await connect(edge_port)
            await client.send_all(said)
            with trio.fail_after(10):
                assert (await receive_all(client)).startswith(answer)
            await client.aclose()
            await gone(edge)
        assert {**edge.statistics().refused, **edge.statistics().ended} == {reason: 1}


async def test_a_mapped_address_leads_no_client_to_this_machine() -> None:
    mapped = b"\5\1\0\4" + bytes(10) + b"\xff\xff\x7f\0\0\1" + (80).to_bytes(2)
    edge = te.Edge("tcp://127.0.0.1:0", [te.Socks()], te.Forward(retries=0))
    async with serving(edge) as port:
        named = (b"localhost", b"127.0.0.1", b"[::1]", b"::ffff:127.0.0.1")
        for request in (mapped, *(request_5(80, host) for host in named)):
            client = await connect(port)
            await client.send_all(GREETING + request)
            with trio.fail_after(5):
                assert await receive_all(client) == b"\5\0\5\2\0\1" + bytes(6)
            await client.aclose()


async def test_the_edges_own_listener_is_no_destination() -> None:
    edge = edge_of(te.Socks())
    async with serving(edge) as port:
        client = await connect(port)
        await client.send_all(GREETING + request_5(port))
        with trio.fail_after(5):
            assert await receive_all(client) == b"\5\0\5\2\0\1" + bytes(6)
        await client.aclose()


async def test_a_login_names_the_service_and_a_full_service_is_told_to_the_client(alice: te.MemoryControl) -> None:
    for stage, said, answer, refusal in (
        (te.Socks("services"), LOGIN + request_5(0), b"\5\2\1\0" + GRANTED, b"\5\2\1\0\5\2\0\1" + bytes(6)),
        (te.HttpConnect("services"), head(0, "127.0.0.1", BASIC), CONNECTED, b"HTTP/1.1 503 "),
    ):
        edge = edge_of(stage, control=alice)
        async with server() as upstream, serving(edge) as port:
            said = said.replace(b":0", b":%d" % upstream).replace(b"127.0.0.1\0\0", b"127.0.0.1" + upstream.to_bytes(2))
            clients = []
            for _ in range(2):
                clients.append(client := await connect(port))
                await client.send_all(said)
                assert await receive_exactly(client, len(answer)) == answer
            assert edge.services["alice"].live == 2
            third = await connect(port)
            await third.send_all(said)
            with trio.fail_after(5):
                assert (await receive_all(third)).startswith(refusal)
            for client in (*clients, third):
                await client.aclose()
            await gone(edge)
        assert edge.statistics().refused == {te.Reason.CONCURRENCY: 1}


async def test_a_changed_password_cuts_the_sessions_of_the_old_one(alice: te.MemoryControl) -> None:
    edge = edge_of(te.Socks("services"), control=alice)
    async with server() as upstream, serving(edge) as port:
        client = await connect(port)
        await client.send_all(LOGIN + request_5(upstream))
        assert await receive_exactly(client, 14) == b"\5\2\1\0" + GRANTED
        await alice.put("alice", te.Settings(te.Policy(), te.Credentials(te.hash_password("new"))))
        with pytest.raises(trio.BrokenResourceError):
            await receive_all(client)
        again = await connect(port)
        await again.send_all(LOGIN)
        assert await receive_all(again) == b"\5\2\1\1"
        for each in (client, again):
            await each.aclose()


async def test_an_unknown_user_costs_a_hash_as_a_wrong_password_does(
    alice: te.MemoryControl, monkeypatch: pytest.MonkeyPatch
) -> None:
    hashed: list[int] = []
    matches = passwords._matches

    def count(secret: bytes, password_hash: str) -> bool:
        hashed.append(len(secret))
        return matches(secret, password_hash)

    monkeypatch.setattr(passwords, "_matches", count)
    edge = edge_of(te.Socks("services"), control=alice)
    async with serving(edge) as port:
        for login in (b"\5alice\5wrong", b"\5nobod\5wrong", b"\5alice\5wrong", b"\5nobod\5wrong"):
            client = await connect(port)
            await client.send_all(b"\5\1\2\1" + login)
            with trio.fail_after(10):
                assert await receive_all(client) == b"\5\2\1\1"
            await client.aclose()
        assert hashed == [5, 5], "and the second time both are answered from memory"


async def test_a_browser_that_opens_ten_connections_at_once_gets_them_all() -> None:
    bob = te.Settings(te.Policy(), te.Credentials(te.hash_password("secret")))  # a hash of some 50 ms
    edge = edge_of(te.Socks("services"), control=te.MemoryControl({"alice": bob}))
    answers: list[bytes] = []

    async def browse() -> None:
        client = await connect(port)
        await client.send_all(LOGIN + request_5(upstream))
        answers.append(await receive_exactly(client, 14))
        await client.aclose()

    async with server() as upstream, serving(edge) as port:
        with trio.fail_after(10):
            async with trio.open_nursery() as nursery:
                for _ in range(10):
                    nursery.start_soon(browse)
    assert answers == [b"\5\2\1\0" + GRANTED] * 10


async def test_a_handshake_behind_an_answer_at_once_reads_what_the_client_sends_next(
    autojump_clock: trio.testing.MockClock,
) -> None:
    @te.handshake(seconds=1)
    def sniff(session: te.Session) -> te.Steps:
        first = yield te.Peek(1)
        return te.CONTINUE if first[0] == 0x16 else te.Reject(te.Reason.PROTOCOL, "not TLS")

    async with open_edge(edge_of(te.Socks(answer="at_once"), sniff)) as world:
        for first, reason in ((b"\x16", None), (b"G", te.Reason.PROTOCOL)):
            client = await world.connect()
            await client.send(GREETING + request_5(443, b"192.0.2.9"))
            assert await client.receive(12) == b"\5\0" + GRANTED
            await client.send(first)
            if reason is None:
                assert await client.receive(1) == first
            else:
                assert (await client.ended()).reason is reason


@pytest.mark.parametrize("stage", [te.Socks(), te.HttpConnect()])
def test_a_handshake_behind_a_truthful_answer_is_refused_at_start(stage: object) -> None:
    @te.handshake
    def sniff(session: te.Session) -> te.Steps:
        yield te.Peek(1)
        return te.CONTINUE

    with pytest.raises(te.ConfigurationError, match="is a handshake behind stage 1"):
        edge_of(stage, sniff)


@pytest.mark.parametrize("stage", [te.Socks("services"), te.HttpConnect("services")])
def test_logins_of_services_need_a_control_plane(stage: object) -> None:
    with pytest.raises(te.ConfigurationError, match="asks services for passwords, and there are none: give it another"):
        edge_of(stage)


async def test_an_upstream_that_is_slow_to_connect_is_not_the_handshakes_time(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with open_edge(edge_of(te.Socks(seconds=1)), ScriptedUpstream(connect_seconds=4)) as world:
        client = await world.connect()
        await client.send(GREETING + request_5(80, b"192.0.2.9"))
        assert await client.receive(12) == b"\5\0" + GRANTED
        assert trio.current_time() >= 4


async def test_a_login_is_never_logged(
    alice: te.MemoryControl, capsys: pytest.CaptureFixture[str], autojump_clock: trio.testing.MockClock
) -> None:
    def broken(session: te.Session, user: str, password: str) -> bool:
        raise RuntimeError("the directory is down")

    edges = [
        (edge_of(te.Socks("services"), control=alice), b"\5\1\2\1\6ursula\7topcret" + request_5(80)),
        (edge_of(te.HttpConnect("services"), control=alice), head(80, "a.example", "Proxy-Authorization: Basic "
                                                                  "dXJzdWxhOnRvcGNyZXQ=")),
        (edge_of(te.Socks(broken)), b"\5\1\2\1\6ursula\7topcret" + request_5(80)),
        (edge_of(te.Socks()), b"\4\1\0\x50\xc0\0\2\1ursula\0"),
    ]  # fmt: skip
    with logging_restored():
        configure("console", "debug")
        for edge, said in edges:
            async with open_edge(edge) as world:
                client = await world.connect()
                await client.send(said)
                await client.ended()
                print(edge.explain(client.session), client.session, client.outcome)
        structlog.get_logger().info("the end")
        logging.shutdown()
    logged = capsys.readouterr()
    text = logged.out + logged.err
    assert "the directory is down" in text
    assert "the end" in text
    for secret in ("ursula", "topcret", "dXJzdWxh"):
        assert secret not in text
