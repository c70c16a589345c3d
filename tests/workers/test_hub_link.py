"""The link of a control plane in the control process: snapshots, evictions and devices over all workers."""

import pytest
import trio
import trio.testing
from structlog.testing import capture_logs

import trioedge as te
from tests.support.worker_edges import Kept, by_source, make_control, talk
from tests.support.workers import open_workers


async def silent(*_: object) -> None:
    """Answer nothing."""
    await trio.sleep_forever()


async def test_a_worker_that_does_not_answer_is_named_and_delays_no_other(
    autojump_clock: trio.testing.MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    control = make_control()
    async with open_workers(by_source, control) as world:
        stopped = world.workers[0].part.control
        assert stopped is not None
        monkeypatch.setattr(stopped, "take", silent)
        with capture_logs() as lines:
            began = trio.current_time()
            await control.put("shop", te.Policy(enabled=False))
            assert trio.current_time() - began == pytest.approx(2)
        assert not world.workers[1].edge.services["shop"].policy.enabled
        assert [line["workers"] for line in lines if line["event"] == "workers lag behind the services"] == [[0]]
        assert world.hub is not None
        assert [each.lags for each in world.hub.states()["edge"].workers] == [True, False]


@pytest.mark.parametrize(
    ("what", "known", "cut"),
    [
        ({"service": "shop"}, 3, [0, 1, 2]),
        ({"service": "shop", "source": "192.0.2.1"}, 1, [0]),
        ({"source": "192.0.2.0/24"}, 0, [0, 1, 2]),
        ({"source": "203.0.113.1"}, 0, [3]),
    ],
)
async def test_evict_cuts_in_every_worker(
    what: dict[str, str], known: int, cut: list[int], autojump_clock: trio.testing.MockClock
) -> None:
    control = Kept({"shop": te.Policy(), "bank": te.Policy()})
    async with open_workers(by_source, control) as world:
        where = [(0, "192.0.2.1"), (1, "192.0.2.2"), (1, "192.0.2.3"), (0, "203.0.113.1")]
        clients = [await talk(world, worker, source) for worker, source in where]
        await trio.sleep(1.5)
        assert sorted(control.link.online("shop")) == ["192.0.2.1", "192.0.2.2", "192.0.2.3"]
        assert control.link.evict(**what) == known
        await trio.sleep(0.5)
        assert [number for number, client in enumerate(clients) if client.outcome is not None] == cut
