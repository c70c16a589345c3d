"""The link of a running edge: judge, evict, rules and online, with and without a device limit, and bad arguments."""

from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any

import pytest
import trio

import trioedge as te
from tests.support.device_edges import REFUSED, by_network, make_edge, settled, talks
from trioedge.services.linking.edge_link import EdgeLink, checked_judgement
from trioedge.testing import Rehearsal, open_edge

NO, YES = te.DeviceVerdict(False, detail="banned"), te.DeviceVerdict(True)


class Linked(te.MemoryControl):
    """Keeps its link."""

    link: te.Link

    async def run(self, link: te.Link, /, *, task_status: Any = trio.TASK_STATUS_IGNORED) -> None:
        self.link = link
        await super().run(link, task_status=task_status)


class Unasked:
    """A control plane that checks no devices, with a shop and a bank."""

    link: te.Link

    async def run(self, link: te.Link, /, *, task_status: trio.TaskStatus[None]) -> None:
        self.link = link
        await link.apply(te.Snapshot({"shop": te.Settings(te.Policy(device_limit=5)), "bank": te.Settings()}))
        task_status.started()
        await trio.sleep_forever()


@asynccontextmanager
async def linked(limit: te.DeviceLimit | None = None, control: Any = None) -> AsyncIterator[tuple[Rehearsal, te.Link]]:
    control = control or Linked({"shop": te.Policy(device_limit=5), "bank": te.Policy()})
    async with open_edge(make_edge(limit or te.DeviceLimit(3, hold_seconds=7), control)) as world:
        yield world, control.link


def without_a_limit() -> AbstractAsyncContextManager[Rehearsal]:
    stages = [te.Identify(by_network)]
    return open_edge(te.Edge("tcp://127.0.0.1:0", stages, te.Forward("tcp://192.0.2.9:1"), control=CONTROL))


CONTROL = Linked({"shop": te.Policy(device_limit=5), "bank": te.Policy()})


# Judge.


@pytest.mark.parametrize("control", [None, Unasked()])
async def test_a_denial_cuts_the_sessions_of_the_device_and_no_other_until_it_expires(
    control: Any, autojump_clock: trio.testing.MockClock
) -> None:
    async with linked(control=control) as (world, link):
        clients = [await world.connect(), await world.connect()]
        other, same_device_elsewhere = await world.connect("192.0.2.2"), await world.connect("198.51.100.1")
        await settled()
        link.judge("shop", "192.0.2.1", te.DeviceVerdict(False, seconds=60, detail="banned"))
        assert [(await client.ended()).reason for client in clients] == [REFUSED, REFUSED]
        assert (await world.connect()).outcome == te.Reject(REFUSED, "banned")
        await trio.sleep(50)
        assert (await world.connect()).outcome == te.Reject(REFUSED, "banned")
        await trio.sleep(11)
        await world.connect()  # a stale denial is used while the device is checked again
        await settled()
        assert await talks(await world.connect())
        assert await talks(other)
        assert await talks(same_device_elsewhere)


async def test_an_acceptance_ends_a_denial_and_later_judgements_replace_earlier_ones(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with linked() as (world, link):
        for verdict, outcome in ((NO, te.Reject(REFUSED, "banned")), (YES, None), (NO, te.Reject(REFUSED, "banned"))):
            link.judge("shop", "192.0.2.1", verdict)
            assert (await world.connect()).outcome == outcome


async def test_a_judgement_is_the_last_word_before_the_check_that_is_in_flight(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async def slowly(service: str, device: str) -> te.DeviceVerdict:
        await trio.sleep(1)
        return te.DeviceVerdict(True)

    async with linked(te.DeviceLimit(check=slowly)) as (world, link):
        client = await world.connect()
        await trio.sleep(0.5)
        link.judge("shop", "192.0.2.1", NO)
        assert (await client.ended()).reason is REFUSED
        await trio.sleep(1)
        assert (await world.connect()).outcome == te.Reject(REFUSED, "banned")


async def test_an_unknown_service_is_ignored_and_one_that_is_named_again_knows_no_judgement(
    autojump_clock: trio.testing.MockClock,
) -> None:
    control = Linked({"shop": te.Policy(), "bank": te.Policy()})
    async with linked(control=control) as (world, link):
        link.judge("cafe", "192.0.2.1", NO)
        link.judge("shop", "192.0.2.1", NO)
        await control.remove("shop")
        link.judge("shop", "192.0.2.1", NO)
        await control.put("shop", te.Policy())
        assert await talks(await world.connect())


async def test_a_judgement_needs_a_device_limit(autojump_clock: trio.testing.MockClock) -> None:
    async with without_a_limit():
        with pytest.raises(te.ConfigurationError, match=r"^link\.judge\(\) needs a stage that judges devices: add "):
            CONTROL.link.judge("shop", "192.0.2.1", NO)


class OddlyFalse(int):
    def __bool__(self) -> bool:
        raise ZeroDivisionError


@pytest.mark.parametrize(
    ("service", "device", "verdict", "fault"),
    [
        (5, "x", NO, r"link\.judge\(service=5\) must be the name of a service"),
        ("a", None, NO, r"link\.judge\(device=None\) must be the name of a device, text of at most 255 letters"),
        (
            "a",
            "x" * 256,
            NO,
            r"link\.judge\(device='x+\.\.\..* must be the name of a device, text of at most 255 letters",
        ),
        ("a", "x", False, r"link\.judge\(verdict=False\) must be a DeviceVerdict, as in DeviceVerdict\(False, second"),
        ("a", "x", te.DeviceVerdict(True, seconds="5"), r"link\.judge\(verdict=.* must be a DeviceVerdict"),  # type: ignore[arg-type]
        ("a", "x", te.DeviceVerdict(True, seconds=float("nan")), r"link\.judge\(verdict=.* must be a DeviceVerdict"),
        ("a", "x", te.DeviceVerdict(True, seconds=-1), r"link\.judge\(verdict=.* must be a DeviceVerdict"),
        ("a", "x", te.DeviceVerdict(OddlyFalse(1)), r"link\.judge\(verdict=.* must be a DeviceVerdict"),  # type: ignore[arg-type]
    ],
)
def test_a_bad_argument_of_judge_is_one_clear_error(service: Any, device: Any, verdict: Any, fault: str) -> None:
    with pytest.raises(te.ConfigurationError, match=f"^{fault}") as caught:
        checked_judgement(service, device, verdict)
    assert "\n" not in str(caught.value)


def test_a_good_judgement_has_plain_fields() -> None:
    assert checked_judgement("a", "x", te.DeviceVerdict(1, 5, None)) == te.DeviceVerdict(True, 5.0, "")  # type: ignore[arg-type]


# Evict.


async def test_evict_cuts_as_the_edge_does(autojump_clock: trio.testing.MockClock) -> None:
    async with linked() as (world, link):
        a, b, c = [await world.connect(source) for source in ("192.0.2.1", "192.0.2.2", "198.51.100.1")]
        assert link.evict(service="shop", device="192.0.2.1") == 1
        assert link.evict(source="198.51.100.0/24") == 1
        assert {(await each.ended()).reason for each in (a, c)} == {te.Reason.EVICTED}
        assert link.evict(service="cafe") == 0
        assert await talks(b)
        assert link.evict(service="shop") == 1
        with pytest.raises(TypeError, match="needs a service, a source or a device"):
            link.evict()
        with pytest.raises(TypeError, match="name the service too"):
            link.evict(device="192.0.2.1")
        with pytest.raises(te.ConfigurationError):
            link.evict(source="nowhere")


# Rules and online.


async def test_rules_are_the_policys_and_then_the_arguments_of_the_stage(
    autojump_clock: trio.testing.MockClock,
) -> None:
    control = Linked({"shop": te.Policy(device_limit=5), "bank": te.Policy()})
    async with linked(control=control) as (_, link):
        assert (link.rules("shop").limit, link.rules("shop").hold_seconds) == (5, 7)
        assert (link.rules("bank").limit, link.rules("cafe").limit) == (3, 3)
        await control.put("shop", te.Policy(device_limit=9))
        assert link.rules("shop").limit == 9


async def test_online_gives_devices_oldest_first_and_none_of_an_unknown_service(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with linked() as (world, link):
        for source in ("192.0.2.2", "192.0.2.1", "192.0.2.2", "2001:db8::5"):
            await world.connect(source)
        assert link.online("shop") == ["192.0.2.2", "192.0.2.1", "2001:db8::/64"]
        assert (list(link.online("bank")), list(link.online("cafe"))) == ([], [])


async def test_without_a_device_limit_there_is_no_limit_and_sources_are_online(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with without_a_limit() as world:
        for source in ("192.0.2.2", "2001:db8::5", "unix"):
            await world.connect(source)
        link = CONTROL.link
        assert isinstance(link, EdgeLink)
        assert link.rules("shop") == te.DeviceRules()
        assert set(link.online("shop")) == {"192.0.2.2", "2001:db8::/64", "unix"}
        assert list(link.online("cafe")) == []
        assert link.evict(service="shop") == 3
