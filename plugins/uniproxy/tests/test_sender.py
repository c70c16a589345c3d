"""What is sent to a panel that answers as a test says: in which order, in how many requests, and what is dropped."""

from typing import Any

import pytest
import trio
from reports import report
from trioedge.testing import FakeLink

from trioedge_uniproxy import sender as module
from trioedge_uniproxy.errors import PanelError
from trioedge_uniproxy.health import Health
from trioedge_uniproxy.panel import Delivery
from trioedge_uniproxy.sender import Sender

KNOWN = {"7", "8", "9"}


class Scripted:
    """A panel that keeps what it is told, and refuses it in the way of a test.

    Attributes:
        told: the route and the body of each request.
        refuses: by route, the status of its refusal, and whether it may have had an effect.
        slow: whether it never answers.
    """

    def __init__(self) -> None:
        self.told: list[tuple[str, Any]] = []
        self.refuses: dict[str, tuple[int, bool]] = {}
        self.slow = False

    async def post(self, what: str, body: Any, delivery: Delivery | None = None) -> None:
        self.told.append((what, body))
        await trio.lowlevel.checkpoint()
        if self.slow:
            await trio.sleep_forever()
        if what in self.refuses:
            status, possible = self.refuses[what]
            if delivery is not None:
                delivery.possible = possible
            raise PanelError(f"{what}: {status}", status)

    def routes(self) -> list[str]:
        return [what for what, _ in self.told]


def made() -> tuple[Scripted, Sender, FakeLink, Health]:
    panel, link = Scripted(), FakeLink()
    return panel, Sender(panel), link, Health(link)  # type: ignore[arg-type]


async def test_bytes_then_addresses_then_the_load_of_the_machine() -> None:
    panel, sender, link, health = made()
    sender.books.add(report("a", ("7", 1, 10, 20, 1), ("8", 2, 0, 0, 1)), KNOWN)
    link.devices = {"7": ["192.0.2.1"], "9": ["192.0.2.2"]}
    await sender.send(health, ["9"])
    assert panel.told[:2] == [("push", {"7": (10, 20)}), ("alive", {"7": ["192.0.2.1"], "9": ["192.0.2.2"]})]
    assert panel.routes() == ["push", "alive", "status"]
    await sender.send(health, [], status=False)
    assert panel.told[3:] == [("alive", {"9": [], "7": ["192.0.2.1"]})]
    assert link.errors == []


async def test_many_users_are_several_requests(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "USERS_PER_REQUEST", 2)
    panel, sender, link, health = made()
    sender.books.add(report("a", *((uid, number, 1, 1, 1) for number, uid in enumerate("789"))), KNOWN)
    link.devices = {uid: ["192.0.2.1"] for uid in "789"}
    await sender.send(health, [], status=False)
    assert panel.routes() == ["push", "push", "alive", "alive"]
    assert [len(body) for _, body in panel.told] == [2, 1, 2, 1]


@pytest.mark.parametrize(
    ("status", "possible", "due", "routes"),
    [
        (0, True, {}, ["push"]),  # no answer: nothing else is tried
        (0, False, {"7": (10, 20)}, ["push"]),
        (500, True, {}, ["push", "alive"]),
        (503, False, {"7": (10, 20)}, ["push", "alive"]),
    ],
)
async def test_bytes_are_kept_only_if_the_panel_has_certainly_not_counted_them(
    status: int, possible: bool, due: dict[str, tuple[int, int]], routes: list[str]
) -> None:
    panel, sender, link, health = made()
    sender.books.add(report("a", ("7", 1, 10, 20, 1)), KNOWN)
    link.devices = {"7": ["192.0.2.1"]}
    panel.refuses["push"] = status, possible
    await sender.send(health, [], status=False)
    assert sender.books.due == due
    assert panel.routes() == routes
    assert link.errors == [
        f"push: {status}" + "; it may have counted 10 bytes up and 20 down, so these are not sent again" * possible
    ]


async def test_a_cancelled_push_is_dropped_and_the_next_one_goes_on(autojump_clock: trio.testing.MockClock) -> None:
    panel, sender, _, health = made()
    sender.books.add(report("a", ("7", 1, 10, 20, 1)), KNOWN)
    panel.slow = True
    with trio.move_on_after(1) as scope:
        await sender.send(health, [])
    assert scope.cancelled_caught
    assert sender.books.due == {}
    panel.slow = False
    sender.books.add(report("a", ("7", 1, 13, 20, 1)), KNOWN)
    await sender.send(health, [])
    assert ("push", {"7": (3, 0)}) in panel.told


async def test_addresses_that_were_not_acknowledged_are_told_to_be_gone_until_they_are() -> None:
    panel, sender, link, health = made()
    link.devices = {"7": ["192.0.2.1"]}
    panel.refuses["alive"] = 500, True
    await sender.send(health, ["7"], status=False)
    await sender.send(health, [], status=False)
    del panel.refuses["alive"]
    await sender.send(health, [], status=False)
    await sender.send(health, [], status=False)
    assert panel.told == [("alive", {"7": ["192.0.2.1"]}), ("alive", {"7": []}), ("alive", {"7": []})]


async def test_an_earlier_run_is_cleared() -> None:
    panel, sender, link, health = made()
    sender.books.add(report("a", ("8", 1, 0, 0, 1)), KNOWN)
    link.devices = {"8": ["192.0.2.1"]}
    await sender.clear(health, ["7", "8"])
    assert panel.told == [("alive", {"7": [], "8": ["192.0.2.1"]})]


async def test_what_an_older_panel_lacks_is_not_sent_again() -> None:
    panel, sender, link, health = made()
    link.devices = {"7": ["192.0.2.1"]}
    panel.refuses |= {"alive": (404, False), "status": (404, False)}
    for _ in range(3):
        await sender.send(health, ["7"])
    assert panel.routes() == ["alive", "status"]
    assert link.errors == []
