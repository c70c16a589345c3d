"""Every example does what it says: under a fake clock, as a script, and as a target of the command line."""

import runpy
import signal
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import trio

import trioedge as te
from examples.control_plane.store import Store
from examples.custom_decision import SilenceBan
from examples.custom_endpoint import Rooms
from examples.custom_handshake import token
from examples.custom_middleware import at_most_an_hour
from examples.custom_outbound import FromAddress
from tests.support import proxies
from tests.support.applications import ask
from tests.support.command_line import running
from tests.support.control_planes import example
from tests.support.tls import client_context, localhost
from tests.support.wires import connect, server, serving
from trioedge.testing import (
    ScriptedUpstream,
    check_decision,
    check_endpoint,
    check_handshake,
    check_middleware,
    check_outbound,
    converse,
    echo,
    make_context,
    make_session,
    open_edge,
)
from trioedge.testing.rehearsal import Client

EXAMPLES = Path(__file__).parents[1] / "examples"
SCRIPTS = sorted(EXAMPLES.glob("*.py"))


@pytest.fixture(autouse=True)
def certificate(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, path in zip(("TLS_CHAIN", "TLS_KEY"), localhost(), strict=True):
        monkeypatch.setenv(name, str(path))


def edge_of(name: str) -> te.Edge:
    """The edge of an example, fresh: its stages remember nothing of other tests."""
    edge = runpy.run_path(str(EXAMPLES / name))["edge"]
    assert isinstance(edge, te.Edge)
    return edge


async def test_redis_is_reached_from_this_machine_only(autojump_clock: trio.testing.MockClock) -> None:
    async with open_edge(edge_of("redis_edge.py")) as world:
        client = await world.connect("127.0.0.1")
        await client.send(b"PING\r\n")
        assert await client.receive(6) == b"PING\r\n"  # the upstream of a rehearsal echoes
        assert [str(address) for address in world.upstream.asked] == ["tcp://127.0.0.1:6379"]
        stranger = await world.connect("192.0.2.1")
        assert await stranger.ended() == te.Reject(te.Reason.SOURCE, "matches no accepted entry")


async def test_redis_is_spared_a_burst(autojump_clock: trio.testing.MockClock) -> None:
    async with open_edge(edge_of("redis_edge.py")) as world:
        for _ in range(32):
            await world.connect("127.0.0.1")
        one_more = await world.connect("127.0.0.1")
        assert (await one_more.ended()).reason is te.Reason.RATE
        assert world.edge.statistics().live == 32
        await trio.sleep(0.005)
        assert (await world.connect("127.0.0.1")).outcome is None


async def test_redis_has_a_hundred_sessions_of_one_source(autojump_clock: trio.testing.MockClock) -> None:
    async with open_edge(edge_of("redis_edge.py")) as world:
        for _ in range(100):
            await world.connect("127.0.0.1")
            await trio.sleep(0.01)
        one_more = await world.connect("127.0.0.1")
        assert (await one_more.ended()).reason is te.Reason.CONCURRENCY
        assert (await world.connect("127.0.0.2")).outcome is None


async def test_replicas_get_sessions_by_weight_and_the_backup_none(autojump_clock: trio.testing.MockClock) -> None:
    async with open_edge(edge_of("balanced.py")) as world:
        clients = [await world.connect() for _ in range(6)]
        for client in clients:
            await client.send(b"PING")
            assert await client.receive(4) == b"PING"
        first, second, backup = world.edge.statistics().members
        assert (first.live, second.live, backup.live) == (4, 2, 0)


async def test_a_replica_that_loads_its_data_gets_no_sessions(autojump_clock: trio.testing.MockClock) -> None:
    upstream = ScriptedUpstream(script=loading)
    async with open_edge(edge_of("balanced.py"), upstream) as world:
        await trio.sleep(30)
        assert {each.state for each in world.edge.statistics().members} == {"ejected"}
        upstream.script = ready
        await trio.sleep(60)
        assert {each.state for each in world.edge.statistics().members} <= {"returning", "well"}


async def loading(stream: trio.abc.HalfCloseableStream) -> None:
    await stream.receive_some(64)
    await stream.send_all(b"-LOADING Redis is loading the dataset in memory\r\n")


async def ready(stream: trio.abc.HalfCloseableStream) -> None:
    await stream.receive_some(64)
    await stream.send_all(b"+PONG\r\n")


async def test_the_backup_serves_while_the_others_refuse(autojump_clock: trio.testing.MockClock) -> None:
    async with open_edge(edge_of("balanced.py"), OnlyThis("127.0.0.3")) as world:
        await trio.sleep(20)  # some checks
        assert [each.state for each in world.edge.statistics().members] == ["ejected", "ejected", "well"]
        client = await world.connect()
        await client.send(b"PING\r\n")
        assert await client.receive(7) == b"+PONG\r\n"


class OnlyThis(ScriptedUpstream):
    """An upstream of which one host accepts."""

    def __init__(self, host: str) -> None:
        super().__init__(ready)
        self._host = host

    async def open_stream(self, target: Any) -> trio.abc.HalfCloseableStream:
        self.refusal = None if target.address.host == self._host else te.Reason.UPSTREAM_REFUSED
        return await super().open_stream(target)


async def test_silence_is_banned_for_a_minute(autojump_clock: trio.testing.MockClock) -> None:
    async with open_edge(edge_of("custom_decision.py")) as world:
        scanner = await world.connect("192.0.2.66")
        await scanner.close()
        await scanner.ended()

        again = await world.connect("192.0.2.66")
        assert await again.ended() == te.Reject(te.Reason.POLICY, "left in silence a moment ago")
        assert (await world.connect("192.0.2.1")).outcome is None

        await trio.sleep(60)
        assert (await world.connect("192.0.2.66")).outcome is None


async def test_one_who_speaks_is_not_banned(autojump_clock: trio.testing.MockClock) -> None:
    async with open_edge(edge_of("custom_decision.py")) as world:
        for _ in range(3):
            client = await world.connect()
            await client.send(b"hello")
            await client.finish()
            assert await client.receive_all() == b"hello"
            assert await client.ended() == te.Completed()


def test_the_ban_is_bounded() -> None:
    ban = SilenceBan(seconds=60, capacity=2).open(make_context())
    silent = ["192.0.2.1", "192.0.2.2", "192.0.2.3"]
    check_decision(ban, [make_session(source) for source in silent])
    verdicts = [ban.decide(make_session(source, now=1.0)) for source in silent]
    assert [verdict is te.CONTINUE for verdict in verdicts] == [True, False, False]


def test_the_token_is_a_good_handshake() -> None:
    check_handshake(token, [b"open-sesame\n", b"abracadabra\r\n", b"please\n", b"\n"])
    session = make_session()
    said = converse(token, session, b"open-", b"sesame\nPING\r\n")
    assert (said.verdict, said.left, session.service.name) == (te.CONTINUE, b"PING\r\n", "shop")


@pytest.mark.parametrize(
    ("says", "hears", "outcome"),
    [
        (b"open-sesame\nPING", b"PING", te.Completed()),
        (b"please\nPING", b"no\r\n", te.Reject(te.Reason.CREDENTIALS, "unknown token")),
        (b"x" * 65, b"", None),
    ],
)
async def test_a_token_names_the_service(
    says: bytes, hears: bytes, outcome: te.Outcome | None, autojump_clock: trio.testing.MockClock
) -> None:
    async with open_edge(edge_of("custom_handshake.py")) as world:
        client = await world.connect()
        await client.send(says)
        await client.finish()
        assert await client.receive_all() == hears
        ended = await client.ended()
        assert ended == outcome or ended.reason is te.Reason.PROTOCOL


async def test_silence_is_no_token(autojump_clock: trio.testing.MockClock) -> None:
    async with open_edge(edge_of("custom_handshake.py")) as world:
        assert await (await world.connect()).ended() == te.Reject(te.Reason.HANDSHAKE, "not finished within 3 s")
        assert trio.current_time() == pytest.approx(3, abs=0.1)


async def test_a_service_is_open_in_its_hours_and_the_table_of_a_policy_changes_them(
    autojump_clock: trio.testing.MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = runpy.run_path(str(EXAMPLES / "policy_keys.py"))
    edge, hours = names["edge"], names["Hours"]
    monkeypatch.setattr("time.localtime", lambda: SimpleNamespace(tm_hour=12))
    async with open_edge(edge) as world:
        client = await world.connect()
        await client.send(b"ping")
        assert await client.receive(4) == b"ping"
        policy = te.Policy(outbound="tcp://127.0.0.1:6379", stages=(hours(since=8, until=12),))
        assert (await edge.control.put("shop", policy)).evicted == 1
        assert await client.ended() == te.Completed(te.Reason.POLICY, "shop is open from 8 to 12")
        assert (await world.connect()).outcome == te.Reject(te.Reason.POLICY, "shop is open from 8 to 12")
        with pytest.raises(te.SnapshotError, match=r"services\.shop\.hours\.until = 25"):
            await edge.control.put("shop", faulty(hours))


def faulty(hours: Any) -> te.Policy:
    """A policy whose keys were changed behind their validators."""
    keys = hours()
    object.__setattr__(keys, "until", 25)
    return te.Policy(stages=(keys,))


async def test_the_first_line_names_the_room_and_the_rest_is_relayed_and_counted(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with open_edge(edge_of("custom_endpoint.py")) as world:
        client = await world.connect()
        await client.send(b"redis\nPING")
        assert await client.receive(4) == b"PING"
        assert world.edge.services["default"].up.bytes == 4
        assert client.session.pacing == "timeline"
        assert await client.ended() == te.Completed(te.Reason.IDLE)
        assert 60 <= trio.current_time() <= 60.1


@pytest.mark.parametrize("line", [b"cellar\n", b"x" * 100, b"\xff\n"])
async def test_a_line_that_names_no_room_is_refused(autojump_clock: trio.testing.MockClock, line: bytes) -> None:
    async with open_edge(edge_of("custom_endpoint.py")) as world:
        client = await world.connect()
        await client.send(line)
        assert await client.ended() == te.Reject(te.Reason.POLICY, "no such room")


async def test_the_rooms_are_a_good_endpoint(autojump_clock: trio.testing.MockClock) -> None:
    await check_endpoint(Rooms({"redis": "tcp://203.0.113.7:6379"}), client_says=b"redis\nPING")


async def test_the_outbound_is_a_good_one() -> None:
    listeners = await trio.open_tcp_listeners(0, host="127.0.0.1")
    host, port = listeners[0].socket.getsockname()
    await check_outbound(FromAddress("127.0.0.1"), f"tcp://{host}:{port}", refused="tcp://127.0.0.1:1")
    await listeners[0].aclose()


async def test_connections_leave_from_the_given_address() -> None:
    peers: list[str] = []

    async def note(stream: trio.SocketStream) -> None:
        peers.append(stream.socket.getpeername()[0])
        await stream.send_all(await stream.receive_some())

    names = runpy.run_path(str(EXAMPLES / "custom_outbound.py"))
    async with server(note) as port, trio.open_nursery() as nursery:
        endpoint = te.Forward(f"tcp://127.0.0.1:{port}", outbound=names["FromAddress"]("127.0.0.2"))
        edge = te.Edge("tcp://127.0.0.1:0", [], endpoint)
        await nursery.start(edge.serve)
        host, _, listening = edge.addresses[0].removeprefix("tcp://").rpartition(":")
        async with await trio.open_tcp_stream(host, int(listening)) as client:
            await client.send_all(b"ping")
            assert await client.receive_some() == b"ping"
        nursery.cancel_scope.cancel()
    assert peers == ["127.0.0.2"]


async def test_each_client_of_the_balancer_has_its_own_limits(autojump_clock: trio.testing.MockClock) -> None:
    async def come(named: str) -> Client:
        client = await world.connect("127.0.0.1")
        await client.send(f"PROXY TCP4 {named} 198.51.100.1 4000 443\r\nPING\r\n".encode())
        return client

    async with open_edge(edge_of("behind_a_load_balancer.py")) as world:
        for named in ("203.0.113.1", "203.0.113.1", "203.0.113.2"):
            client = await come(named)
            assert await client.receive(6) == b"PING\r\n"
            assert client.session.source == named
        assert (await (await come("203.0.113.1")).ended()).reason is te.Reason.CONCURRENCY
        assert await (await come("192.0.2.9")).ended() == te.Reject(te.Reason.SOURCE, "192.0.2.0/24")
        stranger = await world.connect("127.0.0.2")
        assert await stranger.ended() == te.Reject(te.Reason.SOURCE, "the peer is no trusted balancer")


async def test_the_application_greets_two_devices_and_no_third(autojump_clock: trio.testing.MockClock) -> None:
    async with open_edge(edge_of("asgi_app.py")) as world:
        clients = [await world.connect(f"192.0.2.{number}") for number in (1, 2, 3)]
        for client in clients[:2]:
            assert await ask(client) == (200, f"hello {client.session.source}\n".encode())
        assert (await clients[2].ended()).reason is te.Reason.DEVICE
        assert await clients[0].ended() == te.Completed()
        assert 30 <= trio.current_time() <= 31


async def test_a_web_server_is_reached_over_tls_by_clients_that_speak_http(
    autojump_clock: trio.testing.MockClock,
) -> None:
    context = client_context()
    context.set_alpn_protocols(["http/1.1"])
    async with open_edge(edge_of("tls_edge.py")) as world:
        client = await world.connect()
        secured = trio.SSLStream(client.stream, context, server_hostname="localhost")
        await secured.send_all(b"GET / HTTP/1.1\r\n\r\n")
        assert await secured.receive_some() == b"GET / HTTP/1.1\r\n\r\n"
        stranger = await world.connect()
        secured = trio.SSLStream(stranger.stream, client_context(), server_hostname="localhost")
        await secured.do_handshake()
        assert await stranger.ended() == te.Reject(te.Reason.POLICY, "speaks None")


async def test_postgres_clients_begin_tls_when_they_have_asked_for_it(autojump_clock: trio.testing.MockClock) -> None:
    request = bytes.fromhex("0000000804d2162f")
    async with open_edge(edge_of("postgres_tls.py")) as world:
        client = await world.connect()
        await client.send(request)
        assert await client.receive(1) == b"S"
        secured = trio.SSLStream(client.stream, client_context(), server_hostname="localhost")
        await secured.send_all(b"startup")
        assert await secured.receive_some() == b"startup"
        assert client.session.state[te.TlsInfo].version == "TLSv1.3"
        plain = await world.connect()
        await plain.send(b"\0\0\0\x08\0\3\0\0")
        assert await plain.ended() == te.Reject(te.Reason.POLICY, "a client without TLS")


async def test_redis_is_reached_through_the_proxy_that_the_environment_names(monkeypatch: pytest.MonkeyPatch) -> None:
    async with server() as upstream, proxies.socks5(login=("ann", "secret"), leads_to=upstream) as proxy:
        monkeypatch.setenv("PROXY", proxy.url.replace("//", "//ann:secret@"))
        edge = edge_of("via.py")
        edge.listen = ("tcp://127.0.0.1:0",)
        async with serving(edge) as port, await connect(port) as client:
            await client.send_all(b"PING\r\n")
            assert await client.receive_some() == b"PING\r\n"
    assert proxy.asked == ["127.0.0.1:6379"]
    assert "secret" not in repr(edge.outline)


async def test_every_third_session_is_refused(autojump_clock: trio.testing.MockClock) -> None:
    async with open_edge(edge_of("first_edge.py")) as world:
        for source in ("127.0.0.1", "127.0.0.5", "127.0.0.9"):
            client = await world.connect(source)
        assert await client.ended() == te.Reject(te.Reason.POLICY, "every third")
        assert world.edge.statistics().live == 2


async def test_the_first_edge_has_a_guest_who_may_not_come(autojump_clock: trio.testing.MockClock) -> None:
    async with open_edge(edge_of("first_edge.py")) as world:
        client = await world.connect("127.0.0.2")
        assert await client.ended() == te.Reject(te.Reason.SOURCE, "127.0.0.2")


async def test_a_session_has_an_hour_however_busy(autojump_clock: trio.testing.MockClock) -> None:
    async with open_edge(edge_of("custom_middleware.py")) as world:
        client = await world.connect()
        while client.outcome is None:
            await client.send(b"tick")
            await trio.sleep(60)
        assert client.outcome == te.Completed(te.Reason.DEADLINE, "an hour")
        assert trio.current_time() == pytest.approx(3600, abs=61)


async def test_the_deadline_is_a_good_middleware(autojump_clock: trio.testing.MockClock) -> None:
    await check_middleware(at_most_an_hour)


async def test_a_tenant_goes_where_its_policy_says(autojump_clock: trio.testing.MockClock) -> None:
    async with open_edge(edge_of("multi_tenant.py")) as world:
        client = await world.connect()
        await client.send(b"PING\r\n")
        assert await client.receive(6) == b"PING\r\n"
        assert (client.session.service.name, client.session.device) == ("shop", "192.0.2.1")
        assert (client.session.down_rate, client.session.up_rate) == (10e6, 2e6)
        assert [str(address) for address in world.upstream.asked] == ["tcp://127.0.0.1:6379"]


async def test_the_tenants_of_a_control_plane_are_served_and_counted(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    store = Store(":memory:")
    async with example(store) as url, server(echo) as upstream:
        store.put("shop", {"down_rate": "10 MB/s", "device_limit": 2, "outbound": f"tcp://127.0.0.1:{upstream}"})
        monkeypatch.setenv("CONTROL_URL", url)
        edge = edge_of("multi_tenant_http.py")
        edge.listen = ("tcp://127.0.0.1:0",)
        async with trio.open_nursery() as nursery:
            await nursery.start(edge.serve)
            port = int(edge.addresses[0].rpartition(":")[2])
            async with await trio.open_tcp_stream("127.0.0.1", port, local_address="127.0.0.2") as client:
                await client.send_all(b"PING\r\n")
                assert await client.receive_some() == b"PING\r\n"
            with pytest.raises((OSError, trio.BrokenResourceError)):  # as soon as it connects, or a moment later
                async with await trio.open_tcp_stream("127.0.0.1", port, local_address="127.0.0.9") as stranger:
                    await stranger.receive_some()
            edge.drain()
    assert edge.statistics().refused == {te.Reason.SERVICE: 1}
    (line,) = (each for each in capsys.readouterr().out.splitlines() if "outcome=refused" in each)
    assert "reason=service" in line
    assert "source=127.0.0.9" in line
    assert "stage=Identify" in line
    assert store.totals("shop") == {"bytes_up": 6, "bytes_down": 6, "opened": 1}
    store.close()


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda script: script.name)
def test_a_script_serves_its_edge(script: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    served: list[te.Edge] = []
    monkeypatch.setattr(te, "run", served.append)
    assert served == [runpy.run_path(str(script), run_name="__main__")["edge"]]


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda script: script.name)
async def test_the_command_line_serves_it(script: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = Store(":memory:")
    async with example(store) as url:  # one of them waits for a control plane
        monkeypatch.setenv("CONTROL_URL", url)
        async with running("run", str(script), "--listen", "tcp://127.0.0.1:0") as command:
            if script.name == "multi_tenant.py":  # its tenants are told apart by the addresses it listens on
                await command.says("stage 1 (Identify) names tcp://127.0.0.1:6380, where the edge does not listen")
                assert await command.ends() == te.ExitCode.CONFIGURATION
                return
            await command.says("listening")
            command.signal(signal.SIGTERM)
            assert await command.ends() == te.ExitCode.DRAINED
    store.close()


def test_the_list_of_examples_is_whole() -> None:
    listed = (EXAMPLES / "README.md").read_text()
    assert [script.name for script in SCRIPTS if script.name not in listed] == []


async def test_a_user_of_the_file_logs_in_and_goes_to_public_addresses() -> None:
    async with open_edge(edge_of("socks_edge.py")) as world:
        for login, host, heard in (
            (b"\5alice\x0awonderland", b"\1\1\1\1", b"\1\0\5\0"),
            (b"\3bob\7builder", b"\1\1\1\1", b"\1\0\5\0"),
            (b"\5alice\7builder", b"\1\1\1\1", b"\1\1"),
            (b"\5carol\x0awonderland", b"\1\1\1\1", b"\1\1"),
        ):
            client = await world.connect()
            await client.send(b"\5\1\2\1" + login + b"\5\1\0\1" + host + b"\0\x50")
            assert await client.receive(2) == b"\5\2"
            assert await client.receive(len(heard)) == heard
        assert [str(address) for address in world.upstream.asked] == ["tcp://1.1.1.1:80"] * 2
        assert {service.name: service.live for service in world.edge.services.values()} == {"alice": 1, "bob": 1}


async def test_a_fourth_address_of_a_user_is_one_device_too_many() -> None:
    async with open_edge(edge_of("socks_edge.py")) as world:
        for number in range(4):
            client = await world.connect(f"192.0.2.{number}")
            await client.send(b"\5\1\2\1\5alice\x0awonderland\5\1\0\1\1\1\1\1\0\x50")
            code = (await client.receive(14))[5:6]
            assert code == (b"\2" if number == 3 else b"\0")


async def test_tunnels_lead_to_port_443_and_the_client_reads_of_any_other(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with open_edge(edge_of("connect_edge.py")) as world:
        for port, status in ((443, b"200"), (25, b"403")):
            client = await world.connect("10.0.0.7")
            await client.send(b"CONNECT 1.1.1.1:%d HTTP/1.0\r\n\r\n" % port)
            assert (await client.receive(12)).split() == [b"HTTP/1.1", status]
        assert await client.ended() == te.Reject(te.Reason.DESTINATION, "not port 443")
        assert [str(address) for address in world.upstream.asked] == ["tcp://1.1.1.1:443"]
        stranger = await world.connect("192.0.2.1")
        assert (await stranger.ended()).reason is te.Reason.SOURCE
