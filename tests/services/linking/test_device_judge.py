"""A stage of a user's that judges devices is reached by the link, as `DeviceLimit` is."""

from collections.abc import Sequence
from typing import Any

import pytest
import trio

import trioedge as te
from trioedge.testing import make_context, open_edge


class Allowed:
    """Refuses devices that were denied, for ever."""

    kind = "decision"
    provides = ("device",)

    def __init__(self) -> None:
        self.denied: set[str] = set()

    def open(self, context: te.EdgeContext) -> "Allowed":
        context.judge_devices(self)
        return self

    def decide(self, session: te.Session) -> te.Verdict:
        session.device = session.source
        return te.Reject(te.Reason.DEVICE) if session.source in self.denied else te.CONTINUE

    def judge(self, service: te.Service, device: str, verdict: te.DeviceVerdict, /) -> None:
        (self.denied.discard if verdict.accept else self.denied.add)(device)

    def rules(self, service: te.Service | None, /) -> te.DeviceRules:
        return te.DeviceRules(7)

    def online(self, service: te.Service, /) -> Sequence[str]:
        return [service.name]


async def test_the_link_reaches_a_stage_of_a_users(autojump_clock: trio.testing.MockClock) -> None:
    links: list[te.Link] = []

    class Keeps(te.MemoryControl):
        async def run(self, link: te.Link, /, *, task_status: Any = trio.TASK_STATUS_IGNORED) -> None:
            links.append(link)
            await super().run(link, task_status=task_status)

    judge: te.DeviceJudge = Allowed()
    control = Keeps({"default": te.Policy()})
    edge = te.Edge("tcp://127.0.0.1:0", [judge], te.Forward("tcp://192.0.2.9:1"), control=control)
    async with open_edge(edge) as world:
        control.judge("default", "192.0.2.1", False)
        assert (await world.connect("192.0.2.1")).outcome is not None
        assert (await world.connect("192.0.2.2")).outcome is None
        assert links[0].rules("default").limit == links[0].rules("nothing").limit == 7
        assert links[0].online("default") == ["default"]
        assert list(links[0].online("nothing")) == []


def test_two_stages_that_judge_devices_are_refused() -> None:
    context = make_context()
    Allowed().open(context)
    with pytest.raises(te.ConfigurationError, match=r"^two stages of the chain judge devices: leave one of them out$"):
        Allowed().open(context)
    Allowed().open(make_context())
