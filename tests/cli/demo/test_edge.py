"""The demo's edge: each of its stages has something to refuse."""

from collections import Counter

import pytest
import trio

import trioedge as te
from tests.support.edges import exchange
from trioedge.cli.demo import edge as demo_edge
from trioedge.testing import check_middleware, make_session, open_edge

LISTEN = "tcp://127.0.0.1:0"
UPSTREAM = "tcp://127.0.0.1:1"


async def accept(service: str, device: str) -> te.DeviceVerdict:
    return te.DeviceVerdict(accept=True)


async def deny(service: str, device: str) -> te.DeviceVerdict:
    await trio.sleep(0.3)
    return te.DeviceVerdict(accept=False)


def control() -> te.MemoryControl:
    gate = te.Policy(outbound=UPSTREAM, session_rate=2, session_burst=8)
    return te.MemoryControl(dict.fromkeys(("web", "crawler", "chat", "video", "guest"), gate))


@pytest.mark.parametrize(
    ("source", "service"),
    [
        (demo_edge.POLITE, "web"),
        (demo_edge.BURSTING, "crawler"),
        (demo_edge.STAYING, "chat"),
        (demo_edge.WATCHING, "video"),
        (f"{demo_edge.STRANGERS}1", "chat"),
        (f"{demo_edge.STRANGERS}254", "chat"),
        (demo_edge.UNWANTED, "guest"),
        ("127.0.0.1", "guest"),
        ("192.0.2.1", "guest"),
    ],
)
def test_the_address_of_a_client_gives_its_service(source: str, service: str) -> None:
    assert demo_edge.service_of(make_session(source)) == service


@pytest.mark.parametrize(("device", "accepted"), [("127.0.6.1", False), ("127.0.6.254", False), ("127.0.0.4", True)])
async def test_the_check_denies_strangers_alone(
    device: str, accepted: bool, autojump_clock: trio.testing.MockClock
) -> None:
    began = trio.current_time()
    assert (await demo_edge.check_device("chat", device)).accept is accepted
    assert trio.current_time() - began == pytest.approx(0.3)


def test_the_edge_has_seven_stages_and_six_of_them_cost_no_task() -> None:
    chain = demo_edge.build(LISTEN, control(), check=accept).outline
    assert [(phase.kind, len(phase.stages)) for phase in chain.phases] == [
        ("leading decisions", 6),
        ("middleware", 1),
        ("endpoint", 1),
    ]


@pytest.mark.parametrize(
    ("source", "reason"),
    [(demo_edge.UNWANTED, te.Reason.SOURCE), ("192.0.2.1", te.Reason.SOURCE), (demo_edge.POLITE, None)],
)
async def test_loopback_is_served_and_the_unwanted_address_and_others_are_refused(
    source: str, reason: te.Reason | None, autojump_clock: trio.testing.MockClock
) -> None:
    async with open_edge(demo_edge.build(LISTEN, control(), check=accept)) as world:
        client = await world.connect(source)
        if reason is None:
            await exchange(client)
        else:
            assert (await client.ended()).reason == reason


async def test_of_twenty_sessions_at_once_the_gate_admits_eight_and_the_limit_six_of_them(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with open_edge(demo_edge.build(LISTEN, control(), check=accept)) as world:
        clients = [await world.connect(demo_edge.BURSTING) for _ in range(20)]
        refused = Counter(client.outcome.reason for client in clients if client.outcome is not None)
        assert refused == {te.Reason.RATE: 12, te.Reason.CONCURRENCY: 2}
        assert world.edge.statistics().live == 6


async def test_a_stranger_is_served_until_the_check_denies_it(autojump_clock: trio.testing.MockClock) -> None:
    async with open_edge(demo_edge.build(LISTEN, control(), check=deny)) as world:
        client = await world.connect(f"{demo_edge.STRANGERS}1")
        await exchange(client)
        began = trio.current_time()
        assert (await client.ended()).reason == te.Reason.DEVICE
        assert trio.current_time() - began == pytest.approx(0.3, abs=0.01)


async def test_a_session_ends_after_a_minute(autojump_clock: trio.testing.MockClock) -> None:
    async with open_edge(demo_edge.build(LISTEN, control(), check=accept)) as world:
        client = await world.connect(demo_edge.POLITE)
        await exchange(client)
        began = trio.current_time()
        assert await client.ended() == te.Completed(te.Reason.DEADLINE, "a minute")
        assert trio.current_time() - began == pytest.approx(60, abs=0.1)


async def test_a_session_that_ends_before_a_minute_keeps_its_own_reason(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with open_edge(demo_edge.build(LISTEN, control(), check=accept)) as world:
        client = await world.connect(demo_edge.POLITE)
        await exchange(client)
        await client.close()
        assert await client.ended() == te.Completed()


async def test_the_middleware_passes_all_checks_of_the_test_kit(autojump_clock: trio.testing.MockClock) -> None:
    """The checks cancel it at each step."""
    await check_middleware(demo_edge.at_most_a_minute)
