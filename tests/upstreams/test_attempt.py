"""Attempts to connect, over real sockets on loopback."""

import errno
import socket
from collections.abc import Iterator
from contextlib import closing, contextmanager

import pytest
import trio
import trio.testing

from tests.support.attempts import Noted, open_connector
from tests.support.names import FakeNames
from tests.support.ports import closed_port, deaf_port, two_hosts
from tests.support.reactors import deadlines_of
from tests.support.wires import server
from trioedge.addresses.address import Address, parse_address
from trioedge.loop.reactor import Reactor
from trioedge.loop.sockets import ephemeral_ports, reset
from trioedge.services.context import SocketAddress
from trioedge.session.verdict import Reason
from trioedge.telemetry.log import EdgeLog
from trioedge.upstreams import attempt as attempt_module
from trioedge.upstreams.attempt import NEXT_ADDRESS_SECONDS, RETRY_SECONDS, Attempt, may_meet_itself
from trioedge.upstreams.connector import Connector, Target
from trioedge.upstreams.errors import UpstreamError
from trioedge.upstreams.reachability import DEAD_SECONDS, Reachability


async def test_an_address_without_an_answer_delays_the_next_one_by_250_ms_only() -> None:
    async with server() as port, deaf_port() as deaf, open_connector() as (_, reactor):
        noted = Noted()
        reactor.refresh()
        began = trio.current_time()
        race = Attempt(reactor, "race", reactor.now + 5.0, noted)
        race.resolved([(socket.AF_INET, ("127.0.0.1", deaf)), (socket.AF_INET, ("127.0.0.1", port))])
        await noted.called.wait()
        assert noted.sock is not None
        assert noted.sock.getpeername()[1] == port
        assert 0.25 <= trio.current_time() - began < 2
        assert len(reactor) == 1
        reactor.forget(noted.sock.fileno())
        noted.sock.close()


async def test_a_callback_that_raises_gets_the_failure_and_its_socket_is_closed() -> None:
    class Clumsy(Noted):
        def connected(self, sock: socket.socket, readable: bool) -> None:
            self.sock = sock
            raise LookupError("bug")

    async with server() as port, open_connector() as (connector, reactor):
        noted = Clumsy()
        connector.start(Target(parse_address(f"tcp://127.0.0.1:{port}"), 5.0), noted)
        await noted.called.wait()
        assert noted.error is not None
        assert noted.error.reason is Reason.FAULT
        assert noted.sock is not None
        assert (noted.sock.fileno(), len(reactor), deadlines_of(reactor)) == (-1, 0, 0)


def local(port: int, host: str = "127.0.0.1") -> SocketAddress:
    return socket.AF_INET, (host, port)


async def reached(connector: Connector, target: Target, reactor: Reactor) -> tuple[str, int]:
    """Connect as a session does, and give the address that answered."""
    noted = Noted()
    reactor.refresh()
    connector.start(target, noted)
    await noted.called.wait()
    assert noted.sock is not None, noted.error
    reactor.forget(noted.sock.fileno())
    with noted.sock:
        where: tuple[str, int] = noted.sock.getpeername()
        return where


async def test_sessions_spread_over_the_addresses_of_a_name() -> None:
    names = FakeNames(redis=["127.0.0.1", "127.0.0.2"])
    with two_hosts() as (first, _):
        async with open_connector(names) as (connector, reactor):
            target = Target(Address("tcp", "redis.test", first.getsockname()[1]), 5.0)
            hosts = [(await reached(connector, target, reactor))[0] for _ in range(6)]
    assert sorted(hosts) == ["127.0.0.1"] * 3 + ["127.0.0.2"] * 3


@pytest.mark.parametrize("dead", ["refuses", "is silent"])
async def test_an_address_that_failed_is_not_tried_first_again_for_a_while(
    dead: str, mock_clock: trio.testing.MockClock
) -> None:
    mock_clock.rate = 1
    async with server() as port, deaf_port() as deaf, open_connector() as (_, reactor):
        reach = Reachability()
        first = local(closed_port() if dead == "refuses" else deaf)
        addresses = (first, local(port))

        async def connect() -> SocketAddress:
            """Connect, and give the address that was tried first."""
            noted = Noted()
            race = Attempt(reactor, "x", reactor.refresh() + 5.0, noted, reach=reach)
            tried = reach_first(race)
            race.resolved(addresses)
            if tried == [local(deaf)]:
                await trio.sleep(0.01)
                mock_clock.jump(NEXT_ADDRESS_SECONDS)
            await noted.called.wait()
            assert noted.sock is not None
            assert noted.sock.getpeername() == ("127.0.0.1", port)
            reactor.forget(noted.sock.fileno())
            noted.sock.close()
            return tried[0]

        assert await connect() == first
        assert [await connect() for _ in range(3)] == [local(port)] * 3
        mock_clock.jump(DEAD_SECONDS)
        assert first in [await connect() for _ in range(2)]


def reach_first(race: Attempt) -> list[SocketAddress]:
    """Note the addresses that an attempt connects to."""
    tried: list[SocketAddress] = []
    order = race._reach.order

    class Noting(Reachability):
        def order(self, addresses, now):  # type: ignore[no-untyped-def]
            ordered = order(addresses, now)
            tried.append(ordered[0])
            return ordered

        def failed(self, address, now):  # type: ignore[no-untyped-def]
            reach.failed(address, now)

    reach = race._reach
    race._reach = Noting()
    return tried


@contextmanager
def connected_to_themselves(port: int, monkeypatch: pytest.MonkeyPatch) -> Iterator[list[socket.socket]]:
    """Have each attempt choose the port of its destination as its own, as the kernel may by chance."""
    socks: list[socket.socket] = []

    def bind(sock: socket.socket) -> None:
        socks.append(sock)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind(("127.0.0.1", port))

    with monkeypatch.context() as patch:
        patch.setattr(attempt_module, "no_delay", bind)
        yield socks


def closed_ephemeral_port() -> int:
    port = closed_port()
    assert port in ephemeral_ports()
    return port


async def test_a_socket_that_is_connected_to_itself_counts_as_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    port = closed_ephemeral_port()
    async with open_connector() as (connector, reactor):
        with connected_to_themselves(port, monkeypatch) as socks:
            noted = Noted()
            connector.start(Target(parse_address(f"tcp://127.0.0.1:{port}"), 5.0, retries=0), noted)
            await noted.called.wait()
        assert noted.error is not None
        assert noted.error.reason is Reason.UPSTREAM_REFUSED
        assert [sock.fileno() for sock in socks] == [-1]
        assert (len(reactor), deadlines_of(reactor)) == (0, 0)
        with socket.socket() as plain:  # no address that waits for late packets keeps the port
            plain.bind(("127.0.0.1", port))
        with closing(socket.create_server(("127.0.0.1", port))):
            assert await reached(connector, Target(parse_address(f"tcp://127.0.0.1:{port}"), 5.0), reactor)


@pytest.mark.parametrize("greeting", [b"", b"x" * 60_000])
async def test_a_reset_before_the_connect_is_noticed_takes_no_byte_that_has_arrived(greeting: bytes) -> None:
    with closing(socket.create_server(("127.0.0.1", 0))) as upstream:
        async with open_connector() as (connector, _):
            noted = Noted()
            connector.start(Target(parse_address(f"tcp://127.0.0.1:{upstream.getsockname()[1]}"), 5.0), noted)
            far, _ = upstream.accept()  # the reactor has had no turn yet
            far.sendall(greeting)
            reset(far)
            await noted.called.wait()
        if not greeting:
            assert noted.error is not None
            return
        assert noted.sock is not None
        with noted.sock as near:
            received = b""
            while len(received) < len(greeting):
                received += near.recv(65_536)
            assert received == greeting
            with pytest.raises(ConnectionResetError):
                near.recv(1)


async def test_an_upstream_on_an_ephemeral_port_is_connected_to() -> None:
    port = closed_ephemeral_port()
    with closing(socket.create_server(("127.0.0.1", port))):
        async with open_connector() as (connector, reactor):
            target = Target(parse_address(f"tcp://127.0.0.1:{port}"), 5.0)
            assert await reached(connector, target, reactor) == ("127.0.0.1", port)


@pytest.mark.parametrize(
    ("address", "may"),
    [
        ((socket.AF_INET, ("127.0.0.1", ephemeral_ports()[0])), True),
        ((socket.AF_INET6, ("::1", ephemeral_ports()[-1])), True),
        ((socket.AF_INET, ("127.0.0.1", ephemeral_ports()[0] - 1)), False),
        ((socket.AF_INET, ("127.0.0.1", 80)), False),
        ((socket.AF_UNIX, "/run/x.sock"), False),
    ],
)
def test_only_a_port_of_the_ephemeral_range_may_meet_itself(address: SocketAddress, may: bool) -> None:
    assert may_meet_itself(address) is may


async def test_ten_clients_of_an_upstream_that_refuses_for_half_a_second_are_served(
    mock_clock: trio.testing.MockClock,
) -> None:
    mock_clock.rate = 1
    port = closed_port()
    target = Target(parse_address(f"tcp://127.0.0.1:{port}"), 5.0)
    async with open_connector() as (connector, reactor):
        clients = []
        for _ in range(10):
            clients.append(Noted())
            reactor.refresh()
            connector.start(target, clients[-1])
            await trio.sleep(0.001)
            mock_clock.jump(0.05)
        assert not any(client.called.is_set() for client in clients)
        with closing(socket.create_server(("127.0.0.1", port))):
            mock_clock.jump(2.0)
            with trio.fail_after(20):
                for client in clients:
                    await client.called.wait()
        for client in clients:
            assert client.sock is not None, client.error
            reactor.forget(client.sock.fileno())
            client.sock.close()
        assert deadlines_of(reactor) == 0


async def refusal(
    connector: Connector, target: Target, reactor: Reactor, clock: trio.testing.MockClock
) -> tuple[UpstreamError, list[float]]:
    """Connect in vain, and give the error and the seconds after which it was tried again."""
    noted, again = Noted(), list[float]()
    began_at = reactor.refresh()
    attempt = connector.start(target, noted)
    await trio.sleep(0.001)
    left = attempt._retries
    while not noted.called.is_set():
        clock.jump(0.025)
        await trio.sleep(0.001)
        if attempt._retries != left:
            left = attempt._retries
            again.append(trio.current_time() - began_at)
    assert noted.error is not None
    return noted.error, again


async def test_the_pauses_between_retries_double_and_the_limit_of_the_connect_holds(
    mock_clock: trio.testing.MockClock,
) -> None:
    mock_clock.rate = 1
    async with open_connector() as (connector, reactor):
        target = Target(parse_address(f"tcp://127.0.0.1:{closed_port()}"), 1.0)
        began_at = trio.current_time()
        error, again = await refusal(connector, target, reactor, mock_clock)
        assert error.reason is Reason.UPSTREAM_REFUSED
        # Each retry begins at the end of a pause, and there the next pause begins.
        assert len(again) == 2
        assert again[0] >= RETRY_SECONDS
        assert again[1] - again[0] >= 2 * RETRY_SECONDS - 0.05
        assert trio.current_time() - began_at < 1.5
        assert (len(reactor), deadlines_of(reactor)) == (0, 0)


async def test_an_upstream_that_refused_every_retry_gets_one_connect_a_session_until_it_answers(
    mock_clock: trio.testing.MockClock,
) -> None:
    mock_clock.rate = 1
    port = closed_port()
    target = Target(parse_address(f"tcp://127.0.0.1:{port}"), 1.0, retries=1)
    async with open_connector() as (connector, reactor):
        await refusal(connector, target, reactor, mock_clock)
        noted = Noted()
        connector.start(target, noted)
        with trio.fail_after(0.09):  # less than a pause
            await noted.called.wait()
        with closing(socket.create_server(("127.0.0.1", port))):
            await reached(connector, target, reactor)
        noted = Noted()
        attempt = connector.start(target, noted)
        await trio.sleep(0.02)
        assert not noted.called.is_set()
        attempt.cancel()


@pytest.mark.parametrize(("address", "retries"), [("unix:///nonexistent/x.sock", 5), ("tcp://127.0.0.1:{closed}", 0)])
async def test_a_local_socket_that_does_not_exist_is_not_retried_nor_is_anything_without_retries(
    address: str, retries: int
) -> None:
    async with open_connector() as (connector, reactor):
        noted = Noted()
        destination = parse_address(address.format(closed=closed_port()))
        connector.start(Target(destination, 5.0, retries=retries), noted)
        with trio.fail_after(0.09):  # less than a pause
            await noted.called.wait()
        assert noted.error is not None
        assert deadlines_of(reactor) == 0


async def test_a_local_socket_with_a_full_backlog_is_retried(
    tmp_path: object, mock_clock: trio.testing.MockClock
) -> None:
    mock_clock.rate = 1
    path = f"{tmp_path}/x.sock"
    with socket.socket(socket.AF_UNIX) as listener, socket.socket(socket.AF_UNIX) as filler:
        listener.bind(path)
        listener.listen(0)
        filler.connect(path)
        async with open_connector() as (connector, reactor):
            noted = Noted()
            reactor.refresh()
            connector.start(Target(parse_address(f"unix://{path}"), 5.0), noted)
            await trio.sleep(0.01)
            assert not noted.called.is_set()
            listener.accept()[0].close()
            mock_clock.jump(0.2)
            await noted.called.wait()
            assert noted.sock is not None
            reactor.forget(noted.sock.fileno())
            noted.sock.close()


async def test_a_cancel_while_it_pauses_leaves_nothing(mock_clock: trio.testing.MockClock) -> None:
    mock_clock.rate = 1
    async with open_connector() as (connector, reactor):
        noted = Noted()
        reactor.refresh()
        attempt = connector.start(Target(parse_address(f"tcp://127.0.0.1:{closed_port()}"), 5.0), noted)
        await trio.sleep(0.01)
        attempt.cancel()
        assert (len(reactor), deadlines_of(reactor)) == (0, 0)
        mock_clock.jump(10)
        await trio.sleep(0.01)
        assert not noted.called.is_set()


async def test_an_interface_of_an_address_is_used_for_the_connect() -> None:
    with closing(socket.create_server(("::1", 0), family=socket.AF_INET6)) as listener:
        port = listener.getsockname()[1]
        for zone in ("lo", str(socket.if_nametoindex("lo"))):
            async with open_connector() as (connector, reactor):
                target = Target(parse_address(f"tcp://[::1%{zone}]:{port}"), 5.0)
                assert (await reached(connector, target, reactor))[1] == port


@pytest.mark.parametrize("zone", ["eth987", "Eth987", "987654", "99999999999", "a%b"])
async def test_an_interface_that_does_not_exist_is_one_clear_line(zone: str) -> None:
    async with open_connector() as (connector, reactor):
        noted = Noted()
        connector.start(Target(parse_address(f"tcp://[fe80::1%{zone}]:80"), 5.0), noted)
        assert noted.error is not None
        assert noted.error.reason is Reason.UPSTREAM_UNREACHABLE
        assert noted.error.detail == f"tcp://[fe80::1%{zone}]:80: this machine has no interface {zone!r}"
        assert (len(reactor), deadlines_of(reactor)) == (0, 0)


async def test_an_address_of_a_link_without_its_interface_says_how_to_write_it() -> None:
    async with open_connector() as (connector, _):
        noted = Noted()
        connector.start(Target(parse_address("tcp://[fe80::1]:80"), 5.0, retries=0), noted)
        assert noted.error is not None
        assert "needs its interface, as in [fe80::1%eth0]" in noted.error.detail


async def test_a_callback_that_stops_the_process_is_not_held_back() -> None:
    class Stopping(Noted):
        def connected(self, sock: socket.socket, readable: bool) -> None:
            self.sock = sock
            raise KeyboardInterrupt

    reactor = Reactor(EdgeLog())
    async with server() as port:
        noted = Stopping()
        attempt = Attempt(reactor, "x", reactor.now + 5.0, noted)
        attempt.resolved([local(port)])
        ((fd, (sock, _, _)),) = attempt._pending.items()
        await trio.lowlevel.wait_writable(sock)
        with pytest.raises(KeyboardInterrupt):
            attempt.on_ready(fd, 4)
        assert noted.sock is not None
        assert (noted.sock.fileno(), len(reactor), noted.called.is_set()) == (-1, 0, False)


async def test_a_fault_that_is_no_exception_is_held_back_as_well() -> None:
    class Odd(BaseException):
        pass

    class Clumsy(Noted):
        def connected(self, sock: socket.socket, readable: bool) -> None:
            raise Odd

    async with server() as port, open_connector() as (connector, reactor):
        noted = Clumsy()
        connector.start(Target(parse_address(f"tcp://127.0.0.1:{port}"), 5.0), noted)
        await noted.called.wait()
        assert noted.error is not None
        assert noted.error.reason is Reason.FAULT
        assert (len(reactor), deadlines_of(reactor)) == (0, 0)


@pytest.mark.parametrize("code", [errno.EMFILE, errno.ENOBUFS])
async def test_a_machine_without_resources_marks_no_address_as_dead(code: int, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> socket.socket:
        raise OSError(code, "no")

    reach, noted = Reachability(), Noted()
    reactor = Reactor(EdgeLog())
    with monkeypatch.context() as patch:
        patch.setattr(socket, "socket", fail)
        Attempt(reactor, "x", reactor.now + 5.0, noted, 3, reach).resolved([local(1), local(2)])
    assert noted.error is not None
    assert noted.error.reason is Reason.OVERLOAD
    assert reach._dead == {}
