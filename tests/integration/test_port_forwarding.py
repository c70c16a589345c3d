"""Listeners that come with the snapshot, over real sockets: they open, serve, move, wait for a port, and close."""

import resource
import socket
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
import trio

import trioedge as te
from tests.support.ports import closed_port, free_ports
from tests.support.wires import connect, receive_all, receive_exactly, server
from trioedge.serving import affordable
from trioedge.serving.listening import service_listeners


def greeter(word: bytes) -> Any:
    async def greet(stream: trio.SocketStream) -> None:
        await stream.send_all(word)
        async for data in stream:
            await stream.send_all(data)

    return greet


class Relay:
    """An edge that only policies open.

    Attributes:
        edge: it.
        control: names its services.
        shop: the port of an upstream that says ``shop`` first, and echoes then.
        cafe: the same.
    """

    def __init__(self, shop: int, cafe: int, *stages: object, **options: Any) -> None:
        self.shop, self.cafe = shop, cafe
        self.control = te.MemoryControl({})
        forward = te.Forward(allow=["loopback"])
        self.edge = te.Edge(
            [], stages, forward, control=self.control, open_ports="tcp://127.0.0.1:1-65535", **options
        )  # fmt: skip

    def policy(self, name: str, *ports: int, **said: Any) -> te.Policy:
        to = f"tcp://127.0.0.1:{self.shop if name == 'shop' else self.cafe}"
        return te.Policy(listen=tuple(f"tcp://127.0.0.1:{port}" for port in ports), destination=to, **said)

    async def now(self, *removed: str, **services: te.Policy) -> None:
        """Apply a snapshot of changes."""
        settings = {name: te.Settings(policy) for name, policy in services.items()}
        await self.control.apply(te.Snapshot(settings, frozenset(removed), full=False))


@asynccontextmanager
async def relay_of(*stages: object, **options: Any) -> AsyncIterator[Relay]:
    async with server(greeter(b"shop")) as shop, server(greeter(b"cafe")) as cafe, trio.open_nursery() as nursery:
        relay = Relay(shop, cafe, *stages, **options)
        await nursery.start(relay.edge.serve)
        yield relay
        nursery.cancel_scope.cancel()


async def greeting(port: int) -> bytes:
    """Connect, and give the first word of the upstream, or none after a reset."""
    async with await connect(port) as client:
        try:
            return await receive_exactly(client, 4)
        except trio.BrokenResourceError:
            return b""


async def echoed(client: trio.SocketStream) -> bool:
    await client.send_all(b"ping")
    return await receive_exactly(client, 4) == b"ping"


def refuses(port: int) -> bool:
    with socket.socket() as sock:
        return sock.connect_ex(("127.0.0.1", port)) != 0


async def test_a_session_is_that_of_the_service_whose_policy_names_its_listener() -> None:
    async with relay_of() as relay:
        first, second = closed_port(), closed_port()
        await relay.now(shop=relay.policy("shop", first), cafe=relay.policy("cafe", second))
        assert [await greeting(first), await greeting(second)] == [b"shop", b"cafe"]
        async with await connect(first) as client:
            assert await receive_exactly(client, 4) == b"shop"
            (session,) = relay.edge.sessions.matching(service="shop")
            assert (session.by_listener, session.listener) == (True, f"tcp://127.0.0.1:{first}")
            assert "Identify" in str(relay.edge.explain(session))
        assert relay.edge.services["shop"].opened == 2
        assert relay.edge.control_state().listeners == 2


async def test_the_limits_of_a_service_apply_at_its_listener() -> None:
    async with relay_of(te.SessionGate(), te.SourceMatch()) as relay:
        port = closed_port()
        await relay.now(shop=relay.policy("shop", port, max_sessions=1))
        async with await connect(port) as client:
            assert await receive_exactly(client, 4) == b"shop"
            assert await greeting(port) == b""
            await relay.now(shop=relay.policy("shop", port, session_rate=0.001, session_burst=1))
            assert [await greeting(port), await greeting(port)] == [b"shop", b""]
            await relay.now(shop=relay.policy("shop", port, reject=("127.0.0.1",)))
            assert await greeting(port) == b""
        assert relay.edge.statistics().refused == {
            te.Reason.CONCURRENCY: 1, te.Reason.RATE: 1, te.Reason.SOURCE: 1,
        }  # fmt: skip


@pytest.mark.parametrize("how", ["one takes it from the other", "one lets it go for the other", "one is removed"])
async def test_a_port_that_moves_refuses_no_client_and_cuts_no_live_session(how: str) -> None:
    async with relay_of() as relay:
        port, edge = closed_port(), relay.edge
        await relay.now(shop=relay.policy("shop", port), cafe=relay.policy("cafe"))
        async with await connect(port) as living:
            assert await receive_exactly(living, 4) == b"shop"
            heard: list[bytes] = []

            async def keep_connecting(enough: trio.Event) -> None:
                while not enough.is_set():
                    heard.append(await greeting(port))

            async with trio.open_nursery() as nursery:
                enough = trio.Event()
                nursery.start_soon(keep_connecting, enough)
                await trio.sleep(0.01)
                for _ in range(10):
                    if how == "one is removed":
                        await relay.now("shop", cafe=relay.policy("cafe", port))
                        await relay.now("cafe", shop=relay.policy("shop", port))
                    else:
                        gains, loses = ("cafe", "shop") if how == "one takes it from the other" else ("shop", "cafe")
                        for owner, other in (("cafe", "shop"), ("shop", "cafe")):
                            named = {owner: relay.policy(owner, port), other: relay.policy(other)}
                            await relay.now(**{name: named[name] for name in (gains, loses)})
                    await trio.sleep(0.002)
                enough.set()
            assert len(heard) > 20
            if how == "one is removed":  # the sessions of a service that goes are evicted
                assert b"shop" in heard
                assert edge.statistics().refused == {}
            else:
                assert set(heard) <= {b"shop", b"cafe"}
                assert await echoed(living)


async def test_a_port_in_use_refuses_no_snapshot_is_reported_and_opened_when_it_is_free(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(service_listeners, "FIRST_RETRY_SECONDS", 0.01)
    monkeypatch.setattr(service_listeners, "MAX_RETRY_SECONDS", 0.02)
    async with relay_of(report_seconds=0.01) as relay:
        with socket.create_server(("127.0.0.1", 0)) as other:
            port, free = other.getsockname()[1], closed_port()
            await relay.now(shop=relay.policy("shop", port, free))
            assert await greeting(free) == b"shop"
            state = relay.edge.control_state()
            (error,) = state.listen_errors
            assert (state.listeners, state.error) == (1, "")
            assert error.startswith(f"cannot listen on tcp://127.0.0.1:{port}: in use by another process")
            assert relay.edge.services["shop"].listen_errors == (error,)
            while relay.control.totals("shop").listen_errors != (error,):
                await trio.sleep(0.005)
        while relay.edge.control_state().listen_errors:
            await trio.sleep(0.005)
        assert await greeting(port) == b"shop"
        while relay.control.totals("shop").listen_errors:
            await trio.sleep(0.005)


async def test_a_service_that_is_removed_takes_its_listeners_and_sessions_with_it_and_no_other() -> None:
    async with relay_of() as relay:
        first, second = closed_port(), closed_port()
        await relay.now(shop=relay.policy("shop", first), cafe=relay.policy("cafe", second))
        async with await connect(first) as shop, await connect(second) as cafe:
            assert [await receive_exactly(each, 4) for each in (shop, cafe)] == [b"shop", b"cafe"]
            await relay.now("shop")
            with pytest.raises(trio.BrokenResourceError):
                await receive_all(shop)
            assert refuses(first)
            assert await echoed(cafe)
            assert relay.edge.addresses == (f"tcp://127.0.0.1:{second}",)


async def test_a_listener_that_its_service_names_no_more_closes_and_its_sessions_live_on() -> None:
    async with relay_of() as relay:
        old, new = closed_port(), closed_port()
        await relay.now(shop=relay.policy("shop", old))
        async with await connect(old) as client:
            assert await receive_exactly(client, 4) == b"shop"
            await relay.now(shop=relay.policy("shop", new))
            assert refuses(old)
            assert await greeting(new) == b"shop"
            assert await echoed(client)


async def test_a_disabled_service_refuses_connections_and_is_opened_again() -> None:
    async with relay_of() as relay:
        port = closed_port()
        await relay.now(shop=relay.policy("shop", port))
        async with await connect(port) as client:
            assert await receive_exactly(client, 4) == b"shop"
            await relay.now(shop=relay.policy("shop", port, enabled=False))
            assert refuses(port)
            with pytest.raises(trio.BrokenResourceError):
                await receive_all(client)
        await relay.now(shop=relay.policy("shop", port))
        assert await greeting(port) == b"shop"


async def test_at_a_drain_all_listeners_close_first_and_sessions_go_on() -> None:
    async with relay_of(drain_seconds=5) as relay:
        ports = [closed_port() for _ in range(3)]
        await relay.now(shop=relay.policy("shop", *ports))
        client = await connect(ports[0])
        assert await receive_exactly(client, 4) == b"shop"
        relay.edge.drain()
        await relay.edge.phase.wait_value("draining")
        while relay.edge.control_state().listeners:
            await trio.sleep(0.001)
        assert all(map(refuses, ports))
        assert await echoed(client)
        await client.aclose()
        await relay.edge.phase.wait_value("stopped")


@pytest.fixture
def _many_files() -> Iterator[None]:
    """Allow this process as many files as 1,000 listeners and their clients are."""
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(before[1], 20_000), before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, before)


@pytest.mark.usefixtures("_many_files")
async def test_a_thousand_services_are_opened_by_one_snapshot_and_one_of_them_is_removed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A thousand sockets are opened and closed again: a second."""
    monkeypatch.setattr(affordable, "LISTENERS_PART", 2)
    ports = free_ports(1_000)
    async with relay_of() as relay:
        await relay.now(**{f"s{port}": relay.policy("shop", port) for port in ports})
        assert len(relay.edge.addresses) == relay.edge.control_state().listeners == 1_000
        clients = {port: await connect(port) for port in ports[::50]}
        for client in clients.values():
            assert await receive_exactly(client, 4) == b"shop"
        gone = ports[0]
        await relay.now(f"s{gone}")
        assert refuses(gone)
        async with clients.pop(gone) as client:
            with pytest.raises(trio.BrokenResourceError):
                await receive_all(client)
        for client in clients.values():
            assert await echoed(client)
        assert len(relay.edge.addresses) == len(relay.edge.services) == 999
        for client in clients.values():
            await client.aclose()


async def test_beyond_an_eighth_of_the_open_files_listeners_wait_for_one_that_closes(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(service_listeners, "FIRST_RETRY_SECONDS", 0.01)
    monkeypatch.setattr(resource, "getrlimit", lambda _: (16, 16))
    async with relay_of() as relay:
        ports = free_ports(3)
        await relay.now(**{f"s{port}": relay.policy("shop", port) for port in ports})
        state = relay.edge.control_state()
        assert (state.listeners, len(state.listen_errors)) == (2, 1)
        assert state.listen_errors[0] == (
            f"cannot listen on tcp://127.0.0.1:{ports[2]}: services have 2 listeners, as many as the limit of open "
            "files allows; raise it with ulimit -n"
        )
        await relay.now(f"s{ports[0]}")
        while relay.edge.control_state().listen_errors:
            await trio.sleep(0.005)
        assert await greeting(ports[2]) == b"shop"


async def test_a_listener_that_is_opened_later_is_no_destination_of_a_client() -> None:
    """Also where the edge has connected a client there before."""
    async with server(greeter(b"shop")) as upstream:
        control, port = te.MemoryControl({}), closed_port()

        @te.decision(provides=("destination",))
        def there(session: te.Session) -> te.Verdict:
            session.destination = f"tcp://127.0.0.1:{port if session.by_listener else upstream}"
            return te.CONTINUE

        edge = te.Edge(
            [], [there], te.Forward(allow=["loopback"]), control=control, open_ports="tcp://127.0.0.1:1-65535"
        )  # fmt: skip
        async with trio.open_nursery() as nursery:
            await nursery.start(edge.serve)
            await control.put("shop", te.Policy(listen=(f"tcp://127.0.0.1:{port}",)))
            assert await greeting(port) == b""
            (session,) = edge._run.sessions.recent  # type: ignore[union-attr]
            assert session.outcome is not None
            assert session.outcome.reason is te.Reason.UPSTREAM_FORBIDDEN
            nursery.cancel_scope.cancel()
