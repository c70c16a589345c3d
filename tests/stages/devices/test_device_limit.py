"""The recipe of a device limit: its arguments, its keys and its checker, through whole edges in memory."""

from decimal import Decimal
from fractions import Fraction
from typing import Any

import pytest
import trio
from structlog.testing import capture_logs

import trioedge as te
from tests.support.device_edges import REFUSED, by_network, make_control, make_edge, refusal, talks
from tests.support.devices import remembered
from trioedge.stages.devices.live_device_limit import LiveDeviceLimit
from trioedge.testing import Rehearsal, make_context, make_session, open_edge


def live_limit(world: Rehearsal) -> LiveDeviceLimit:
    """Give the live device limit of a serving edge."""
    run = world.edge._run
    assert run is not None
    assert run.chain is not None
    (found,) = (part for part in run.chain.parts if isinstance(part, LiveDeviceLimit))
    return found


# Arguments.


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"devices": 0}, r"DeviceLimit\(devices=0\) must be a whole number of at least 1"),
        ({"key": "mac"}, r"DeviceLimit\(key='mac'\) must be 'source'; a source may name a finer IPv6 prefix"),
        ({"key": "source/129"}, r"DeviceLimit\(key='source/129'\) must be 'source'"),
        ({"handover": "swap"}, r"DeviceLimit\(handover='swap'\) must be 'reject_new' or 'evict_oldest' or 'hold'"),
        ({"hold_seconds": -1}, r"DeviceLimit\(hold_seconds=-1\)"),
        ({"unchecked": "ask"}, r"DeviceLimit\(unchecked='ask'\) must be 'fail_open' or 'fail_closed' or 'stale_for'"),
        ({"hold_seconds": Decimal(60)}, r"DeviceLimit\(hold_seconds=Decimal\('60'\)\) must be a number of at least 0"),
        ({"stale_seconds": -1}, r"DeviceLimit\(stale_seconds=-1\)"),
        ({"stale_seconds": Fraction(60)}, r"DeviceLimit\(stale_seconds=Fraction\(60, 1\)\) must be a number"),
        ({"check_seconds": Decimal(3)}, r"DeviceLimit\(check_seconds=Decimal\('3'\)\) must be a number above 0"),
        ({"check_seconds": 0}, r"DeviceLimit\(check_seconds=0\) must be a number above 0"),
        ({"capacity": 0}, r"DeviceLimit\(capacity=0\)"),
        ({"grace": 5}, r"DeviceLimit\(grace=5\) must be a Grace, as in Grace\(seconds=5\)"),
        ({"check": "ask"}, r"DeviceLimit\(check='ask'\) must be an async function: async def check\(service, device\)"),
        ({"check": by_network}, r"DeviceLimit\(check=<function by_network .*>\) must be an async function: async def"),
    ],
)
def test_bad_arguments_are_named(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(te.ConfigurationError, match=message):
        te.DeviceLimit(**arguments)


def test_it_prints_as_it_was_written() -> None:
    assert repr(te.DeviceLimit()) == "DeviceLimit(key='source')"
    assert repr(te.DeviceLimit(2, "source/128")) == "DeviceLimit(devices=2, key='source/128')"
    assert repr(te.DeviceLimit(2, by_network)) == "DeviceLimit(devices=2, key='by_network')"
    strict = te.DeviceLimit(2, handover="hold", unchecked="fail_open", grace=te.Grace(bytes=0))
    assert repr(strict).startswith(
        "DeviceLimit(devices=2, key='source', handover='hold', unchecked='fail_open', grace=Gr"
    )


def test_its_facts_are_what_it_reads_and_writes() -> None:
    assert te.DeviceLimit().requires == te.DeviceLimit(key="source/128").requires == ("service", "source")
    assert te.DeviceLimit(key=by_network).requires == ("service",)
    assert te.DeviceLimit.provides == ("device",)
    assert set(te.DeviceLimit.enforces) == {name for name in te.Policy.__slots__ if name.startswith("device_")}


def test_two_device_limits_in_one_chain_are_refused() -> None:
    with pytest.raises(te.ConfigurationError, match="DeviceLimit is in the chain twice"):
        te.Edge("tcp://127.0.0.1:0", [te.DeviceLimit(1), te.DeviceLimit(2)], te.Forward("tcp://192.0.2.9:6379"))


# Keys.


@pytest.mark.parametrize(
    ("key", "devices"),
    [
        ("source/128", ["192.0.2.1", "2001:db8:0:1::1", "2001:db8:0:1:ffff::2", "unix"]),
        ("source", ["192.0.2.1", "2001:db8:0:1::/64", "2001:db8:0:1::/64", "unix"]),
        (lambda session: f"port {session.source_port}", ["port 0"] * 4),
        (lambda session: "x" * 255, ["x" * 255] * 4),
    ],
    ids=["address", "source", "function", "longest"],
)
async def test_the_key_names_the_device(key: Any, devices: list[str], autojump_clock: trio.testing.MockClock) -> None:
    async with open_edge(make_edge(te.DeviceLimit(key=key), make_control())) as world:
        sources = ("192.0.2.1", "2001:db8:0:1::1", "2001:db8:0:1:ffff::2", "unix")
        assert [(await world.connect(source)).session.device for source in sources] == devices


class Unprintable:
    def __repr__(self) -> str:
        raise LookupError("no text")


@pytest.mark.parametrize(
    "odd",
    [None, ["192.0.2.1"], "x" * 300, b"192.0.2.1", 7, Unprintable(), LookupError("bug")],
    ids=["None", "list", "300 letters", "bytes", "number", "unprintable", "raises"],
)
@pytest.mark.parametrize("task", [False, True], ids=["leading decision", "behind a middleware"])
async def test_an_odd_key_costs_one_session_and_leaves_no_trace(
    odd: object, task: bool, autojump_clock: trio.testing.MockClock
) -> None:
    def key(session: te.Session) -> Any:
        if session.source != "192.0.2.1":
            return session.source
        if isinstance(odd, Exception):
            raise odd
        return odd

    @te.middleware
    async def with_a_task(session: te.Session, call_next: te.Handler) -> te.Outcome:
        return await call_next(session)

    control = make_control(device_limit=2)
    with capture_logs() as logs:
        async with open_edge(
            make_edge(te.DeviceLimit(key=key), control, before=(with_a_task,) if task else ())
        ) as world:
            before = await world.connect("192.0.2.2")
            client = await world.connect("192.0.2.1")
            assert (await client.ended()).reason is te.Reason.FAULT
            assert client.session.device is None
            assert await talks(before)
            assert await talks(await world.connect("192.0.2.3")), "the odd one takes no place"
            assert remembered(live_limit(world)._table) == 2
            assert control.checked == [("shop", "192.0.2.2"), ("shop", "192.0.2.3")]
            statistics = world.edge.statistics()
            assert (statistics.ended if task else statistics.refused) == {te.Reason.FAULT: 1}
    faults = [entry for entry in logs if entry["log_level"] == "error"]
    assert [entry["event"] for entry in faults] == ["stage failed" if task else "decision failed"]


def test_an_odd_key_is_named_in_the_error() -> None:
    live = te.DeviceLimit(key=lambda session: None).open(make_context())  # type: ignore[arg-type, return-value]
    with pytest.raises(TypeError, match=r"^DeviceLimit\(key=…\) returned None: a device is text of at most 255"):
        live.decide(make_session())


# The checker.


@pytest.mark.parametrize("arguments", [{}, {"handover": "hold"}, {"grace": te.Grace(sessions=1)}, {"capacity": 9}])
def test_a_stage_without_a_limit_a_checker_and_a_key_is_refused_on_an_edge_without_a_control_plane(
    arguments: dict[str, Any],
) -> None:
    with pytest.raises(te.ConfigurationError) as refusal:
        te.Edge("tcp://127.0.0.1:0", [te.DeviceLimit(**arguments)], te.Forward("tcp://192.0.2.9:1"))
    assert str(refusal.value) == ("stage 1 (DeviceLimit) has no limit: give it an argument, or give the edge control=…")
    make_edge(te.DeviceLimit(**arguments), make_control())
    for good in ({"devices": 3}, {"key": "source/128"}, {"check": accept}):
        make_edge(te.DeviceLimit(**good))


async def accept(service: str, device: str) -> te.DeviceVerdict:
    return te.DeviceVerdict(True)


async def test_without_a_checker_every_device_is_accepted_without_a_grace(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with open_edge(make_edge(te.DeviceLimit(9, grace=te.Grace(sessions=1, devices=1)))) as world:
        clients = [await world.connect(f"192.0.2.{number}") for number in (1, 1, 2, 3)]
        assert all(client.outcome is None and client.session.allowance is None for client in clients)


async def test_the_checker_of_the_stage_goes_before_the_control_plane(autojump_clock: trio.testing.MockClock) -> None:
    async def check(service: str, device: str) -> te.DeviceVerdict:
        return te.DeviceVerdict(False, detail="ask me")

    control = make_control()
    async with open_edge(make_edge(te.DeviceLimit(check=check), control)) as world:
        await (await world.connect()).ended()
        assert refusal(await world.connect()) == "ask me"
        assert control.checked == []


async def carry(session: te.Session) -> te.Outcome:
    """An endpoint that moves bytes by itself: relays is False."""
    await session.stream.send_all(b"hello")
    return te.Completed()


async def check(service: str, device: str) -> te.DeviceVerdict:
    return te.DeviceVerdict(True)


@pytest.mark.parametrize("checker", ["stage", "control plane"])
async def test_a_checker_and_an_endpoint_that_does_not_relay_are_refused_at_start(
    checker: str, autojump_clock: trio.testing.MockClock
) -> None:
    """A grace could not bound its bytes."""
    limit = te.DeviceLimit(check=check if checker == "stage" else None)
    control = make_control() if checker == "control plane" else None
    edge = te.Edge("tcp://127.0.0.1:0", [te.Identify(by_network), limit], carry, control=control)
    message = (
        "DeviceLimit bounds the bytes of devices that are not checked yet, and the endpoint moves bytes by itself: "
        "let it await context.relay(session, upstream) and say relays = True"
    )
    with pytest.RaisesGroup(pytest.RaisesExc(te.ConfigurationError, check=lambda error: str(error) == message)):
        await edge.serve()
    assert edge.phase.value == "stopped"
    assert edge.addresses == ()


async def test_without_a_checker_an_endpoint_need_not_relay(autojump_clock: trio.testing.MockClock) -> None:
    edge = te.Edge("tcp://127.0.0.1:0", [te.DeviceLimit(1)], carry)
    async with open_edge(edge) as world:
        client = await world.connect("192.0.2.1")
        assert await client.receive_all() == b"hello"


async def test_a_checker_and_an_endpoint_that_relays_with_the_edge_are_accepted(
    autojump_clock: trio.testing.MockClock,
) -> None:
    class Own:
        relays = True

        def open(self, context: te.EdgeContext) -> Any:
            async def handle(session: te.Session) -> te.Outcome:
                return await context.relay(session, "tcp://192.0.2.9:6379")

            return handle

    slow = make_control()
    slow.delay = 2.0
    edge = te.Edge("tcp://127.0.0.1:0", [te.Identify(by_network), te.DeviceLimit(grace=te.Grace(bytes=0))], Own(),
                   control=slow)  # fmt: skip
    async with open_edge(edge) as world:
        client = await world.connect()
        await client.send(b"ping")
        assert await client.receive(4) == b"ping"
        assert trio.current_time() == 2, "the grace of the own endpoint has no bytes either"


# One recipe, several runs.


async def test_an_edge_that_serves_again_starts_without_devices(autojump_clock: trio.testing.MockClock) -> None:
    control = make_control()
    edge = make_edge(te.DeviceLimit(), control)
    for times in (1, 2):
        async with open_edge(edge) as world:
            assert await talks(await world.connect())
            assert len(control.checked) == times


async def test_one_recipe_in_two_edges_counts_devices_for_each(autojump_clock: trio.testing.MockClock) -> None:
    limit = te.DeviceLimit(1)
    async with open_edge(make_edge(limit)) as one, open_edge(make_edge(limit)) as other:
        for world in (one, other):
            assert await talks(await world.connect("192.0.2.1"))
            assert (await world.connect("192.0.2.2")).outcome == te.Reject(
                REFUSED, "as many devices as its service may have are online"
            )
