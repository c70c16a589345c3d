"""Edges that go through small proxies on loopback."""

import base64
from typing import Any

import pytest
import trio
from structlog.testing import capture_logs

import trioedge as te
from tests.support import proxies
from tests.support.middlewares import wrap
from tests.support.names import FakeNames
from tests.support.ports import closed_port, deaf_port
from tests.support.wires import connect, receive_exactly, server, serving
from trioedge.testing import check_outbound
from trioedge.upstreams import outbound as outbound_module


def edge_via(*urls: str, to: str, stages: Any = (), forward: Any = None, **changes: Any) -> te.Edge:
    endpoint = te.Forward(to, outbound=te.Via(*urls, **changes), **({"retries": 0} | (forward or {})))
    return te.Edge("tcp://127.0.0.1:0", [*stages], endpoint)


async def pong(port: int, count: int = 4) -> bytes | None:
    """Have one session that says ping, and give its answer; None if the edge reset it."""
    async with await connect(port) as client:
        try:
            await client.send_all(b"ping")
            return await receive_exactly(client, count)
        except (trio.BrokenResourceError, AssertionError):
            return None


async def reason_of(edge: te.Edge) -> tuple[te.Reason, str]:
    """Have one session, and give how it ended."""
    async with serving(edge) as port:
        with capture_logs() as logs:
            assert await pong(port) is None
        (reason,) = edge.statistics().ended
        (line,) = [each for each in logs if each["event"] == "upstream failed"]
        return reason, line["error"]


@pytest.mark.parametrize("stages", [[], [wrap]], ids=["plain", "wrapped"])
@pytest.mark.parametrize("kind", [proxies.socks5, proxies.http])
async def test_a_session_goes_through_a_proxy(kind: Any, stages: list[object]) -> None:
    async with server() as upstream, kind() as proxy:
        async with serving(edge_via(proxy.url, to=f"tcp://127.0.0.1:{upstream}", stages=stages)) as port:
            assert await pong(port) == b"ping"
    assert proxy.asked == [f"127.0.0.1:{upstream}"]


async def test_a_session_of_a_plain_client_is_relayed_in_the_reactor() -> None:
    async with server() as upstream, proxies.socks5() as proxy:
        edge = edge_via(proxy.url, to=f"tcp://127.0.0.1:{upstream}", stages=[te.Pacing(down_rate=1e6)])
        async with serving(edge) as port, await connect(port) as client:
            await client.send_all(b"ping")
            assert await receive_exactly(client, 4) == b"ping"
            (session,) = edge.sessions
            assert session.pacing == "kernel"


async def test_a_chain_goes_from_proxy_to_proxy() -> None:
    async with server() as upstream, proxies.socks5() as one, proxies.http() as two, proxies.socks5() as three:
        async with serving(edge_via(one.url, two.url, three.url, to=f"tcp://127.0.0.1:{upstream}")) as port:
            assert await pong(port) == b"ping"
    places = [each.url.partition("://")[2] for each in (two, three)]
    assert [one.asked, two.asked, three.asked] == [[places[0]], [places[1]], [f"127.0.0.1:{upstream}"]]


@pytest.mark.parametrize("piece", [1, 7, 10_000])
@pytest.mark.parametrize("kind", ["socks5", "http"])
async def test_bytes_behind_the_answer_of_a_proxy_are_the_destinations(kind: str, piece: int) -> None:
    http = proxies.http(greeting=b"220 ", piece=piece)
    proxy_of: Any = proxies.socks5(greeting=b"220 ") if kind == "socks5" else http
    async with server() as upstream, proxy_of as proxy:
        async with serving(edge_via(proxy.url, to=f"tcp://127.0.0.1:{upstream}")) as port:
            assert await pong(port, 8) == b"220 ping"


async def test_logins_reach_the_proxies_and_no_log() -> None:
    async with server() as upstream, proxies.socks5(login=("ann", "s@cret")) as one, proxies.http() as two:
        urls = one.url.replace("//", "//ann:s%40cret@"), two.url.replace("//", "//bob:hush@")
        with capture_logs() as logs:
            async with serving(edge_via(*urls, to=f"tcp://127.0.0.1:{upstream}")) as port:
                assert await pong(port) == b"ping"
            reason, error = await reason_of(edge_via(one.url.replace("//", "//ann:wrong@"), to="tcp://192.0.2.1:80"))
    assert one.logins == [b"ann:s@cret", b"ann:wrong"]
    assert two.logins == [b"Basic " + base64.b64encode(b"bob:hush")]
    assert reason is te.Reason.UPSTREAM_FORBIDDEN
    assert error == f"192.0.2.1:80 via {one.url.replace('//', '//***@')}: the proxy refuses the login".replace(
        "192.0.2.1:80", "tcp://192.0.2.1:80"
    )
    for secret in ("s@cret", "hush", "wrong", "ann", "bob"):
        assert secret not in f"{logs} {error}"


@pytest.mark.parametrize(
    ("reply", "reason"),
    [
        (1, te.Reason.UPSTREAM_UNREACHABLE),
        (2, te.Reason.UPSTREAM_FORBIDDEN),
        (4, te.Reason.UPSTREAM_UNREACHABLE),
        (5, te.Reason.UPSTREAM_REFUSED),
        (99, te.Reason.UPSTREAM_UNREACHABLE),
    ],
)
async def test_the_answer_of_a_socks_proxy_is_the_reason(reply: int, reason: te.Reason) -> None:
    async with proxies.socks5(reply=reply) as proxy:
        found, error = await reason_of(edge_via(proxy.url, to="tcp://192.0.2.1:80"))
    assert found is reason
    assert error.startswith(f"tcp://192.0.2.1:80 via {proxy.url}: ")


@pytest.mark.parametrize(
    ("answer", "reason", "words"),
    [
        (b"HTTP/1.1 407 ann:secret\r\n\r\n", te.Reason.UPSTREAM_FORBIDDEN, "answer 407, it wants another login"),
        (b"HTTP/1.1 403 No\r\n\r\n", te.Reason.UPSTREAM_FORBIDDEN, "answer 403, not allowed by its rules"),
        (b"HTTP/1.1 502 Bad\r\n\r\n", te.Reason.UPSTREAM_UNREACHABLE, "answer 502, no connection"),
        (b"HTTP/1.1 504 Slow\r\n\r\n", te.Reason.UPSTREAM_TIMEOUT, "answer 504, no answer in time"),
        (b"HTTP/1.1 299 Odd\r\n\r\n", te.Reason.UPSTREAM_UNREACHABLE, "answer 299, no connection"),
        (b"SSH-2.0-secret\r\n\r\n", te.Reason.UPSTREAM_UNREACHABLE, "hung up, or does not speak http"),
        (b"HTTP/1.1 200 OK", te.Reason.UPSTREAM_UNREACHABLE, "hung up, or does not speak http"),
        (b"x" * 100_000, te.Reason.UPSTREAM_UNREACHABLE, "hung up, or does not speak http"),
    ],
)
async def test_the_answer_of_an_http_proxy_is_the_reason_and_its_words_are_not_shown(
    answer: bytes, reason: te.Reason, words: str
) -> None:
    async with proxies.http(answer=answer) as proxy:
        found, error = await reason_of(edge_via(proxy.url, to="tcp://127.0.0.1:1"))
    assert found is reason
    assert words in error
    assert "secret" not in error


async def test_a_proxy_that_is_down_or_silent_has_the_limits_of_the_connect() -> None:
    closed = closed_port()
    assert (await reason_of(edge_via(f"socks5://127.0.0.1:{closed}", to="tcp://192.0.2.1:80"))) == (
        te.Reason.UPSTREAM_REFUSED,
        f"tcp://127.0.0.1:{closed}: Connection refused",
    )

    async def say_nothing(connection: trio.SocketStream) -> None:
        await trio.sleep_forever()

    async with deaf_port() as deaf, server(say_nothing) as silent:
        for port in (deaf, silent):
            began = trio.current_time()
            edge = edge_via(f"http://127.0.0.1:{port}", to="tcp://192.0.2.1:80", forward={"connect_seconds": 0.1})
            reason, error = await reason_of(edge)
            assert reason is te.Reason.UPSTREAM_TIMEOUT
            assert error == f"tcp://192.0.2.1:80: no connection in time, via http://127.0.0.1:{port}"
            assert trio.current_time() - began < 2


async def test_a_refused_connect_is_retried(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(outbound_module, "RETRY_SECONDS", 0.001)
    async with proxies.socks5(reply=5) as proxy:
        await reason_of(edge_via(proxy.url, to="tcp://192.0.2.1:80", forward={"retries": 2}))
    assert len(proxy.asked) == 3


@pytest.fixture
def names(monkeypatch: pytest.MonkeyPatch) -> FakeNames:
    """Names that the edge resolves: two addresses for one, of which the first is a private one."""
    fake = FakeNames(web=["10.0.0.1", "93.184.215.14"], inside=["10.0.0.1"], six=["2606:4700::1", "1.0.0.1"])
    real = trioedge_resolver()
    monkeypatch.setattr("trioedge.serving.run.Resolver", lambda reactor, log: real(reactor, fake))
    return fake


def trioedge_resolver() -> Any:
    from tests.support.names import NO_HOSTS
    from trioedge.upstreams.hosts_file import HostsFile
    from trioedge.upstreams.resolver import Resolver

    return lambda reactor, fake: Resolver(reactor, fake, HostsFile(NO_HOSTS))


def routed(*urls: str, to: str, behind: tuple[object, ...] = (), **changes: Any) -> te.Edge:
    """Make an edge whose stage names the destination, so that `allow` judges it, and stages behind that one."""

    @te.decision(provides=("destination",))
    def route(session: te.Session) -> te.Verdict:
        session.destination = to
        return te.CONTINUE

    endpoint = te.Forward(outbound=te.Via(*urls, **changes), retries=0)
    return te.Edge("tcp://127.0.0.1:0", [route, *behind], endpoint)


async def test_the_edge_resolves_names_and_the_proxy_is_asked_for_the_permitted_address(names: FakeNames) -> None:
    async with server() as upstream, proxies.socks5(leads_to=upstream) as proxy:
        async with serving(routed(proxy.url, to="tcp://web.test:80")) as port:
            assert await pong(port) == b"ping"
        assert proxy.asked == ["93.184.215.14:80"]
        assert (await reason_of(routed(proxy.url, to="tcp://inside.test:80")))[0] is te.Reason.UPSTREAM_FORBIDDEN
        assert (await reason_of(routed(proxy.url, to="tcp://10.0.0.1:80")))[0] is te.Reason.UPSTREAM_FORBIDDEN
        assert len(proxy.asked) == 1


async def test_with_remote_names_the_proxy_is_asked_for_the_name_and_literals_are_judged(names: FakeNames) -> None:
    async with server() as upstream, proxies.socks5(leads_to=upstream) as proxy:
        async with serving(routed(proxy.url, to="tcp://inside.test:80", remote_names=True)) as port:
            assert await pong(port) == b"ping"
        assert proxy.asked == ["inside.test:80"]
        edge = routed(proxy.url, to="tcp://10.0.0.1:80", remote_names=True)
        assert (await reason_of(edge))[0] is te.Reason.UPSTREAM_FORBIDDEN
    assert names.asked == []


async def test_a_name_that_networks_judge_is_resolved_by_the_edge_with_remote_names_too(names: FakeNames) -> None:
    async with server() as upstream, proxies.socks5(leads_to=upstream) as proxy:

        def judged(**entries: list[str]) -> te.Edge:
            match = te.DestinationMatch(**entries)
            return routed(proxy.url, to="tcp://web.test:80", behind=(match,), remote_names=True)

        assert (await reason_of(judged(reject=["93.184.0.0/16"])))[0] is te.Reason.DESTINATION
        assert (await reason_of(judged(accept=["8.8.8.0/24"])))[0] is te.Reason.DESTINATION
        assert proxy.asked == []
        async with serving(judged(reject=["8.8.8.0/24"])) as port:
            assert await pong(port) == b"ping"
        assert proxy.asked == ["93.184.215.14:80"]
        async with serving(judged(accept=["web.test"])) as port:
            assert await pong(port) == b"ping"
        assert proxy.asked[1:] == ["web.test:80"]


async def test_the_next_address_is_asked_for_if_the_proxy_cannot_reach_the_first(names: FakeNames) -> None:
    async with proxies.socks5(reply=4) as proxy:
        await reason_of(routed(proxy.url, to="tcp://six.test:80"))
    assert sorted(proxy.asked) == ["1.0.0.1:80", "2606:4700::1:80"]


async def test_a_local_socket_is_not_reached_through_a_proxy() -> None:
    async with proxies.socks5() as proxy:
        reason, error = await reason_of(edge_via(proxy.url, to="unix:///run/x.sock"))
    assert reason is te.Reason.UPSTREAM_UNREACHABLE
    assert error == "unix:///run/x.sock: a proxy leads to no local socket"


async def test_it_keeps_the_promises_of_an_outbound() -> None:
    async with server() as upstream, proxies.socks5() as one, proxies.http() as two:
        await check_outbound(te.Via(one.url, two.url), f"tcp://127.0.0.1:{upstream}")
    async with server() as upstream, proxies.socks5(reply=5) as refusing:
        with pytest.raises(AssertionError, match="which accepts"):
            await check_outbound(te.Via(refusing.url), f"tcp://127.0.0.1:{upstream}")
