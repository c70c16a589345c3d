import pytest
import trio
import trio.testing

from tests.support.attempts import Noted, open_connector
from tests.support.cancels import cancel_at_every_step, left_open
from tests.support.names import FakeNames
from tests.support.ports import closed_port, deaf_port
from tests.support.reactors import deadlines_of
from tests.support.wires import server
from trioedge.addresses.address import Address, parse_address
from trioedge.loop.reactor import Reactor
from trioedge.relay.streams import PlainStream
from trioedge.session.verdict import Reason
from trioedge.telemetry.log import EdgeLog
from trioedge.upstreams.connector import Connector, Permit, Target
from trioedge.upstreams.errors import UpstreamError
from trioedge.upstreams.lookup import Absent
from trioedge.upstreams.resolver import Answer


async def test_a_connected_socket_stays_registered_for_its_owner() -> None:
    async with server() as port, open_connector() as (connector, reactor):
        noted = Noted()
        connector.start(Target(parse_address(f"tcp://127.0.0.1:{port}"), 5.0), noted)
        await noted.called.wait()
        assert noted.sock is not None
        assert noted.sock.getpeername() == ("127.0.0.1", port)
        assert len(reactor) == 1
        reactor.forget(noted.sock.fileno())
        noted.sock.close()


@pytest.mark.parametrize(
    ("address", "reason"),
    [
        (f"tcp://127.0.0.1:{closed_port()}", Reason.UPSTREAM_REFUSED),
        ("unix:///nonexistent/upstream.sock", Reason.UPSTREAM_UNREACHABLE),
    ],
)
async def test_a_failed_connect_has_its_reason_and_names_the_destination(address: str, reason: Reason) -> None:
    async with open_connector() as (connector, reactor):
        with pytest.raises(UpstreamError) as raised:
            await connector.open_stream(Target(parse_address(address), 5.0))
        assert raised.value.reason is reason
        assert address in raised.value.detail
        assert len(reactor) == 0


async def test_a_connect_without_an_answer_fails_at_its_limit(mock_clock: trio.testing.MockClock) -> None:
    mock_clock.rate = 1
    async with open_connector() as (connector, reactor), deaf_port() as port:
        noted = Noted()
        reactor.refresh()
        connector.start(Target(parse_address(f"tcp://127.0.0.1:{port}"), 5.0), noted)
        await trio.sleep(0.01)
        assert not noted.called.is_set()
        mock_clock.jump(5.1)
        await noted.called.wait()
        assert noted.error is not None
        assert noted.error.reason is Reason.UPSTREAM_TIMEOUT
        assert len(reactor) == 0


async def test_a_cancelled_attempt_calls_no_callback_and_closes_its_socket() -> None:
    async with open_connector() as (connector, reactor), deaf_port() as port:
        noted = Noted()
        attempt = connector.start(Target(parse_address(f"tcp://127.0.0.1:{port}"), 0.1), noted)
        assert len(reactor) == 1
        attempt.cancel()
        assert len(reactor) == 0
        await trio.sleep(0.2)
        assert not noted.called.is_set()


async def test_a_cancelled_connect_of_a_stream_leaves_nothing_open() -> None:
    async with open_connector() as (connector, reactor), deaf_port() as port:
        with trio.move_on_after(0.05) as scope:
            await connector.open_stream(Target(parse_address(f"tcp://127.0.0.1:{port}"), 5.0))
        assert scope.cancelled_caught
        assert len(reactor) == 0


async def test_a_connect_that_is_cancelled_before_any_step_gives_a_stream_or_leaves_nothing_open() -> None:
    streams: list[bool] = []

    async def live() -> None:
        async with server() as port, open_connector(FakeNames(redis=["127.0.0.1"])) as (connector, _):
            stream = await connector.open_stream(Target(Address("tcp", "redis.test", port), 5.0))
            streams.append(True)
            await trio.aclose_forcefully(stream)

    await live()
    before = left_open()

    def check() -> None:
        assert left_open() == before

    cancels = await cancel_at_every_step(live, check)
    assert 5 < len(streams) < cancels


async def test_a_name_is_queried_once_for_several_connects() -> None:
    names = FakeNames(redis=["127.0.0.1"])
    async with server() as port, open_connector(names) as (connector, _):
        for _ in range(3):
            await (await connector.open_stream(Target(Address("tcp", "redis.test", port), 5.0))).aclose()
    assert names.asked == ["redis.test"]


async def test_the_second_address_is_tried_at_once_if_the_first_refuses() -> None:
    names = FakeNames(redis=["127.0.0.77", "127.0.0.1"])
    async with server() as port, open_connector(names) as (connector, reactor):
        connection = await connector.open_stream(Target(Address("tcp", "redis.test", port), 5.0))
        await connection.aclose()
        assert len(reactor) == 0


async def test_the_names_of_a_destination_are_asked_for_in_the_name_of_its_asker() -> None:
    asked: list[tuple[str, object]] = []

    class Names:
        def fresh_until(self, address: Address) -> float:
            raise NotImplementedError

        def ask(self, address: Address, on_answer: object, asker: object = None) -> None:
            asked.append((address.host, asker))

    connector = Connector(Reactor(EdgeLog()), Names())
    target = Target(Address("tcp", "redis.test", 1), 5.0, asker="shop")
    connector.warm(target, lambda error: None)
    connector.start(target, Noted()).cancel()
    assert asked == [("redis.test", "shop")] * 2


async def test_a_name_without_an_address_fails_as_unresolved() -> None:
    async with open_connector(FakeNames(absent=Absent("Name not known", 30.0))) as (connector, _):
        with pytest.raises(UpstreamError, match="Name not known") as raised:
            await connector.open_stream(Target(Address("tcp", "absent.test", 1), 5.0))
        assert raised.value.reason is Reason.UPSTREAM_UNRESOLVED


async def test_a_name_without_an_answer_fails_at_the_limit_of_the_connect(mock_clock: trio.testing.MockClock) -> None:
    mock_clock.rate = 1
    async with open_connector(FakeNames(slow=None)) as (connector, reactor):
        noted = Noted()
        reactor.refresh()
        connector.start(Target(Address("tcp", "slow.test", 1), 2.0), noted)
        await trio.sleep(0.01)
        mock_clock.jump(2.1)
        await noted.called.wait()
        assert noted.error is not None
        assert noted.error.reason is Reason.UPSTREAM_TIMEOUT


async def test_a_stale_address_is_used_while_its_name_is_queried_again(mock_clock: trio.testing.MockClock) -> None:
    mock_clock.rate = 1
    names = FakeNames(redis=["127.0.0.1"])
    async with server() as port, open_connector(names) as (connector, _):
        where = Address("tcp", "redis.test", port)
        await (await connector.open_stream(Target(where, 5.0))).aclose()
        mock_clock.jump(60)
        names.answers["redis"] = None
        await (await connector.open_stream(Target(where, 5.0))).aclose()
        await trio.testing.wait_all_tasks_blocked()
        assert names.asked == ["redis.test", "redis.test"]


REFUSAL = UpstreamError(Reason.UPSTREAM_FORBIDDEN, "tcp://redis.test:1: not there")


def only(host: str) -> Permit:
    """Permit one address."""

    def permit(address: Address, answer: Answer) -> Answer:
        assert not isinstance(answer, UpstreamError)
        return tuple(where for where in answer if where[1][0] == host) or REFUSAL  # type: ignore[index]

    return permit


async def test_only_permitted_addresses_are_connected_to() -> None:
    names = FakeNames(redis=["127.0.0.77", "127.0.0.1"])
    async with server() as port, open_connector(names) as (connector, _):
        stream = await connector.open_stream(Target(Address("tcp", "redis.test", port), 5.0, only("127.0.0.1")))
        assert isinstance(stream, PlainStream)
        assert stream.socket.getpeername() == ("127.0.0.1", port)
        await stream.aclose()
        with pytest.raises(UpstreamError, match="not there") as raised:
            await connector.open_stream(Target(Address("tcp", "redis.test", port), 5.0, only("192.0.2.1")))
        assert raised.value.reason is Reason.UPSTREAM_FORBIDDEN


async def test_a_destination_without_a_permitted_address_is_reported_in_advance() -> None:
    failures: list[UpstreamError] = []
    async with open_connector(FakeNames(redis=["127.0.0.1"])) as (connector, _):
        connector.warm(Target(Address("tcp", "redis.test", 1), 5.0, only("127.0.0.1")), failures.append)
        connector.warm(Target(Address("tcp", "redis.test", 1), 5.0), failures.append)
        connector.warm(Target(Address("tcp", "redis.test", 1), 5.0, only("192.0.2.1")), failures.append)
        await trio.testing.wait_all_tasks_blocked()
        assert failures == [REFUSAL]


async def test_a_permit_that_raises_leaves_no_deadline_and_calls_no_callback() -> None:
    def permit(address: Address, answer: Answer) -> Answer:
        raise LookupError("bug")

    async with open_connector() as (connector, reactor):
        noted = Noted()
        with pytest.raises(LookupError):
            connector.start(Target(parse_address("tcp://127.0.0.1:1"), 5.0, permit), noted)
        assert (len(reactor), deadlines_of(reactor), noted.called.is_set()) == (0, 0, False)
