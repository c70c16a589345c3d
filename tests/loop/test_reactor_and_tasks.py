"""The reactor beside the tasks that its callbacks start."""

import attrs
import pytest
import trio
import trio.testing

from tests.support.reactors import open_reactor
from tests.support.wires import tcp_pair
from trioedge.loop.reactor import Reactor


@attrs.define(eq=False)
class Starter:
    """Starts a task at each event, as a listener does for a session."""

    reactor: Reactor
    nursery: trio.Nursery
    order: list[str]

    def on_ready(self, fd: int, mask: int) -> None:
        self.nursery.start_soon(self._run)
        self.reactor.starting += 1

    def crashed(self, fault: BaseException) -> None:
        raise fault

    async def _run(self) -> None:
        self.reactor.starting -= 1
        self.order.append("task")


async def test_a_task_that_a_callback_starts_runs_before_the_processor_is_yielded(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    order: list[str] = []
    monkeypatch.setattr("trioedge.loop.reactor.sched_yield", lambda: order.append("yield"))
    async with open_reactor() as reactor, trio.open_nursery() as nursery:
        near, far = tcp_pair()
        reactor.add_reader(near.fileno(), Starter(reactor, nursery, order))
        for _ in range(20):  # the order in which Trio runs two tasks is random
            far.send(b"x")
            await trio.testing.wait_all_tasks_blocked(0.001)
            assert order[:2] == ["task", "yield"]
            order.clear()
        reactor.remove(near.fileno())
        near.close()
        far.close()
