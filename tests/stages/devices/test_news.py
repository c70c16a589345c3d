"""A control plane that follows devices: each comes once and goes once, whatever happens, and it may call the link."""

import random
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
import trio
from structlog.testing import capture_logs

import trioedge as te
from tests.support.device_edges import REFUSED, by_network, make_edge, settled
from tests.support.ports import deaf_port
from trioedge.stages.devices.news import DeviceNews
from trioedge.telemetry.log import EdgeLog
from trioedge.testing import Client, Rehearsal, make_context, open_edge

NO = te.DeviceVerdict(False, detail="banned")


class Follower(te.MemoryControl):
    """Notes the devices that come and go, and does what a test says when one does.

    Attributes:
        moves: ``+shop/192.0.2.1`` and ``-shop/192.0.2.1``, in order.
        on_came: called with the link, a service and a device that came.
        on_went: the same of one that went.
    """

    def __init__(self, **policies: te.Policy) -> None:
        super().__init__(policies or {"shop": te.Policy(), "bank": te.Policy()})
        self.moves: list[str] = []
        self.on_came: Callable[[te.Link, str, str], object] = lambda *_: None
        self.on_went: Callable[[te.Link, str, str], object] = lambda *_: None
        self.link: te.Link

    async def run(self, link: te.Link, /, *, task_status: Any = trio.TASK_STATUS_IGNORED) -> None:
        self.link = link
        await super().run(link, task_status=task_status)

    def came(self, service: str, device: str, /) -> None:
        self.moves.append(f"+{service}/{device}")
        self.on_came(self.link, service, device)

    def went(self, service: str, device: str, /) -> None:
        self.moves.append(f"-{service}/{device}")
        self.on_went(self.link, service, device)

    def present(self) -> set[str]:
        """Give the devices that came and have not gone; each must have come and gone in turn."""
        there: set[str] = set()
        for move in self.moves:
            assert (move[1:] in there) is (move[0] == "-"), (move, self.moves)
            there ^= {move[1:]}
        return there


@asynccontextmanager
async def followed(
    limit: te.DeviceLimit | None = None, *stages: object, **policies: te.Policy
) -> AsyncIterator[tuple[Rehearsal, Follower]]:
    control = Follower(**policies)
    edge = make_edge(limit or te.DeviceLimit(), control, before=stages)
    async with open_edge(edge) as world:
        yield world, control
        for session in world.edge.sessions:
            session.cut(te.Reason.EVICTED)
        await settled()
        assert control.present() == set()


async def test_a_device_comes_with_its_first_session_and_goes_with_its_last(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with followed() as (world, control):
        first, second = await world.connect(), await world.connect()
        assert control.moves == ["+shop/192.0.2.1"]
        await first.close()
        await first.ended()
        assert control.moves == ["+shop/192.0.2.1"]
        await second.close()
        await second.ended()
        assert control.moves == ["+shop/192.0.2.1", "-shop/192.0.2.1"]


async def test_a_device_that_is_refused_neither_comes_nor_goes(autojump_clock: trio.testing.MockClock) -> None:
    async with followed(te.DeviceLimit(1)) as (world, control):
        await world.connect("192.0.2.1")
        refused = await world.connect("192.0.2.2")
        assert refused.outcome is not None
        assert control.moves == ["+shop/192.0.2.1"]


async def test_a_device_that_a_later_decision_refuses_comes_and_goes(autojump_clock: trio.testing.MockClock) -> None:
    control = Follower()
    stages = [te.Identify(by_network), te.DeviceLimit(), te.SourceMatch(reject=["192.0.2.1"])]
    edge = te.Edge("tcp://127.0.0.1:0", stages, te.Forward("tcp://192.0.2.9:1"), control=control)
    async with open_edge(edge) as world:
        await world.connect()
    assert control.moves == ["+shop/192.0.2.1", "-shop/192.0.2.1"]


async def test_one_device_puts_another_out_which_goes_before_it_comes(autojump_clock: trio.testing.MockClock) -> None:
    async with followed(te.DeviceLimit(1, handover="evict_oldest")) as (world, control):
        await world.connect("192.0.2.1")
        await world.connect("192.0.2.2")
        assert control.moves == ["+shop/192.0.2.1", "-shop/192.0.2.1", "+shop/192.0.2.2"]


async def test_devices_go_when_they_are_denied_or_too_many_or_their_hold_ends(
    autojump_clock: trio.testing.MockClock,
) -> None:
    policy = te.Policy(device_limit=2, device_handover=te.Handover.HOLD, device_hold_seconds=5)
    async with followed(shop=policy) as (world, control):
        for number in (1, 2, 3):
            await world.connect(f"192.0.2.{number}")
        assert control.present() == {f"shop/192.0.2.{number}" for number in (1, 2, 3)}
        await trio.sleep(6)
        assert control.present() == {"shop/192.0.2.2", "shop/192.0.2.3"}
        control.judge("shop", "192.0.2.2", False)
        assert control.present() == {"shop/192.0.2.3"}  # at once, though its sessions are cut a little later
        await world.connect("192.0.2.4")
        await control.put("shop", te.Policy(device_limit=1))
        assert control.present() == {"shop/192.0.2.3"}


async def test_the_devices_of_a_removed_service_go_and_come_again_with_its_name(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with followed() as (world, control):
        await world.connect("192.0.2.1")
        await world.connect("198.51.100.1")
        await control.remove("bank")
        assert control.present() == {"shop/192.0.2.1"}
        await control.put("bank", te.Policy())
        await world.connect("198.51.100.1")
        assert control.present() == {"shop/192.0.2.1", "bank/198.51.100.1"}


async def test_a_device_that_is_forgotten_behind_a_grace_has_gone(autojump_clock: trio.testing.MockClock) -> None:
    async def never(service: str, device: str) -> te.DeviceVerdict:
        await trio.sleep_forever()
        raise AssertionError  # never

    async with followed(te.DeviceLimit(check=never, grace=te.Grace(seconds=2))) as (world, control):
        await world.connect()
        await trio.sleep(3)
        assert control.moves == ["+shop/192.0.2.1", "-shop/192.0.2.1"]


async def test_the_devices_of_an_edge_that_drains_or_is_cancelled_go(autojump_clock: trio.testing.MockClock) -> None:
    for drains in (True, False):
        control = Follower()
        edge = make_edge(te.DeviceLimit(), control)
        async with open_edge(edge) as world:
            await world.connect("192.0.2.1")
            await world.connect("192.0.2.2")
            if drains:
                edge.drain()
                await edge.phase.wait_value("stopped")
        assert len(control.moves) == 4
        assert control.present() == set()


# What the control plane does in answer.


async def test_a_denial_from_within_came_ends_the_session_that_brings_the_device(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with followed() as (world, control):
        control.on_came = lambda link, service, device: link.judge(service, device, NO)
        client = await world.connect()
        assert (await client.ended()).reason is REFUSED
        assert control.moves == ["+shop/192.0.2.1", "-shop/192.0.2.1"]
        again = await world.connect()
        assert again.outcome == te.Reject(REFUSED, "banned")
        assert len(control.moves) == 2


async def test_a_denial_of_another_device_from_within_came_cuts_that_one(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with followed() as (world, control):
        old = await world.connect("192.0.2.1")
        control.on_came = lambda link, service, device: link.judge(service, "192.0.2.1", NO)
        new = await world.connect("192.0.2.2")
        assert (await old.ended()).reason is REFUSED
        assert new.outcome is None
        assert control.present() == {"shop/192.0.2.2"}


async def test_an_eviction_from_within_came_and_went_cuts_what_is_live(autojump_clock: trio.testing.MockClock) -> None:
    async with followed() as (world, control):
        old = await world.connect("192.0.2.1")
        control.on_came = lambda link, service, device: link.evict(service=service)
        new = await world.connect("192.0.2.2")
        assert (await old.ended()).reason is te.Reason.EVICTED
        assert new.outcome is None  # not live while its device came
        control.on_came = lambda *_: None
        control.on_went = lambda link, service, device: link.evict(service=service)
        third = await world.connect("192.0.2.3")
        await new.close()
        assert (await third.ended()).reason is te.Reason.EVICTED


async def test_an_eviction_from_within_came_finds_a_session_that_is_behind_a_middleware(
    autojump_clock: trio.testing.MockClock,
) -> None:
    @te.middleware
    async def passes(session: te.Session, call_next: te.Handler) -> te.Outcome:
        return await call_next(session)

    async with followed(None, passes) as (world, control):
        control.on_came = lambda link, service, device: link.evict(source=device)
        client = await world.connect()
        assert (await client.ended()).reason is te.Reason.EVICTED


async def test_a_device_that_went_is_judged_from_within_went(autojump_clock: trio.testing.MockClock) -> None:
    async with followed() as (world, control):
        control.on_went = lambda link, service, device: link.judge(service, device, NO)
        client = await world.connect()
        await client.close()
        await client.ended()
        assert (await world.connect()).outcome == te.Reject(REFUSED, "banned")


async def test_online_and_rules_are_right_within_came_and_went(autojump_clock: trio.testing.MockClock) -> None:
    seen: list[tuple[str, ...]] = []
    async with followed(shop=te.Policy(device_limit=2)) as (world, control):
        control.on_came = control.on_went = lambda link, service, _: seen.append(
            (*link.online(service), str(link.rules(service).limit))
        )
        client = await world.connect("192.0.2.1")
        await world.connect("192.0.2.2")
        await client.close()
        await client.ended()
    assert seen[:3] == [("192.0.2.1", "2"), ("192.0.2.1", "192.0.2.2", "2"), ("192.0.2.2", "2")]


async def test_an_exception_of_came_and_went_is_logged_and_costs_nothing(
    autojump_clock: trio.testing.MockClock,
) -> None:
    def fails(*_: object) -> None:
        raise ZeroDivisionError

    async with followed() as (world, control):
        control.on_came = control.on_went = fails
        with capture_logs() as logs:
            client = await world.connect("192.0.2.1")
            await client.send(b"ping")
            assert await client.receive(4) == b"ping"
            await client.close()
            assert (await client.ended()).reason is te.Reason.FINISHED
    assert {line["event"] for line in logs} == {"control plane failed to follow a device"}


def test_the_queue_is_told_in_order_also_what_comes_meanwhile() -> None:
    told: list[str] = []

    class Asks:
        def came(self, service: str, device: str, /) -> None:
            told.append(device)
            if device == "1":
                news.moves.append((False, "a", "3"))
                news.tell()
                told.append("after 1")

        def went(self, service: str, device: str, /) -> None:
            told.append(f"-{device}")

    news = DeviceNews(Asks(), EdgeLog())
    news.moves.extend([(True, "a", "1"), (True, "a", "2")])
    news.tell()
    assert told == ["1", "after 1", "2", "-3"]


def test_a_stop_of_the_process_goes_through_and_the_rest_is_told_next_time() -> None:
    told: list[str] = []

    class Stops:
        def came(self, service: str, device: str, /) -> None:
            told.append(device)
            if device == "1":
                raise KeyboardInterrupt

        def went(self, service: str, device: str, /) -> None: ...

    news = DeviceNews(Stops(), EdgeLog())
    news.moves.extend([(True, "a", "1"), (True, "a", "2")])
    with pytest.raises(KeyboardInterrupt):
        news.tell()
    news.tell()
    assert told == ["1", "2"]


def test_an_edge_whose_control_plane_does_not_follow_devices_keeps_no_news() -> None:
    live = te.DeviceLimit(1).open(make_context(control=te.MemoryControl()))
    assert live._news is None
    assert live._table.memory._moves is None
    assert live._leave == live._table.leave


# Churn, against a model.


@pytest.mark.parametrize("seed", range(4))
async def test_after_any_churn_no_device_is_left_over(seed: int, autojump_clock: trio.testing.MockClock) -> None:
    """Clients come, leave, are denied, evicted and put out, services come and go, and the control plane joins in."""
    dice = random.Random(seed)

    async def check(service: str, device: str) -> te.DeviceVerdict:
        await trio.sleep(dice.choice([0, 0.1, 3]))
        return te.DeviceVerdict(dice.random() < 0.8, seconds=dice.choice([1, 5]))

    limit = te.DeviceLimit(check=check, grace=te.Grace(seconds=1), capacity=dice.choice([6, 100]))
    async with followed(limit) as (world, control):

        def meddles(link: te.Link, service: str, device: str) -> None:
            if dice.random() < 0.05:
                link.judge(service, f"192.0.2.{dice.randrange(8)}", te.DeviceVerdict(dice.random() < 0.5, seconds=2))
            if dice.random() < 0.05:
                link.evict(service=service, device=device)

        control.on_came = control.on_went = meddles
        clients: list[Client] = []
        for step in range(200):
            match dice.randrange(12):
                case 0 if clients:
                    await clients.pop(dice.randrange(len(clients))).close()
                case 1:
                    world.edge.evict(source=f"192.0.2.{dice.randrange(8)}")
                case 2:
                    control.judge(dice.choice(["shop", "bank"]), f"192.0.2.{dice.randrange(8)}", dice.random() < 0.5)
                case 3 if step % 50 < 5:
                    await control.remove("shop")
                    await control.put("shop", te.Policy())
                case 4:
                    policy = te.Policy(device_limit=dice.randrange(2, 9), device_handover=dice.choice([*te.Handover]))
                    await control.put(dice.choice(["shop", "bank"]), policy)
                case 5:
                    await trio.sleep(dice.choice([0, 0.2, 2]))
                case _:
                    net = dice.choice(["192.0.2", "198.51.100"])
                    clients.append(await world.connect(f"{net}.{dice.randrange(8)}"))
            control.present()
            if dice.random() < 0.1:
                for _ in range(
                    3
                ):  # a device that is cut at the end of it has gone, and its sessions end a moment later
                    await settled()
                    online = {(session.service.name, session.device) for session in world.edge.sessions}
                    if len(online) == len(control.present()):
                        break
                assert control.present() == {f"{service}/{device}" for service, device in online}
                names = ("shop", "bank")
                assert online == {(name, device) for name in names for device in control.link.online(name)}
        assert len(control.moves) > 30


async def test_a_device_comes_and_goes_on_real_sockets() -> None:
    control = Follower(default=te.Policy())
    async with deaf_port() as port, trio.open_nursery() as nursery:
        upstream = te.Forward(f"tcp://127.0.0.1:{port}")
        edge = te.Edge("tcp://127.0.0.1:0", [te.DeviceLimit()], upstream, control=control)
        await nursery.start(edge.serve)
        async with await trio.open_tcp_stream("127.0.0.1", int(edge.addresses[0].rpartition(":")[2])):
            with trio.fail_after(5):
                while not control.moves:
                    await trio.sleep(0.01)
            assert control.link.online("default") == ["127.0.0.1"]
            assert control.link.evict(service="default") == 1
            assert control.moves == ["+default/127.0.0.1", "-default/127.0.0.1"]
        nursery.cancel_scope.cancel()
