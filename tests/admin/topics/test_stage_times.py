"""The times of stages."""

import trioedge as te
from tests.support.admin import admin_world, answers
from tests.support.edges import make_edge, services
from trioedge.admin.topics.stage_times import merge_stage_times


async def test_each_stage_has_its_kind_its_calls_and_its_share(autojump_clock: object) -> None:
    async with admin_world(make_edge(services(a=te.Policy()))) as world:
        for _ in range(3):
            await world.edge.connect("192.0.2.1")
        items = (await world.get("/v1/stage-times"))["items"]
    assert [(each["stage"], each["kind"], each["calls"]) for each in items[:2]] == [
        ("Identify", "decision", 3), ("SessionGate", "decision", 3),
    ]  # fmt: skip
    assert abs(sum(each["share"] for each in items) - 1) < 0.01
    assert all(0 < each["p50_micros"] <= each["p99_micros"] for each in items if each["calls"])


def test_counts_of_workers_add_up() -> None:
    fast = {"stage": "A", "kind": "decision", "counts": [0] * 10 + [2], "nanoseconds": 1_600}
    slow = {"stage": "A", "kind": "decision", "counts": [0] * 11 + [2, 0], "nanoseconds": 2_400}
    idle = {"stage": "B", "kind": "endpoint", "counts": [], "nanoseconds": 0}
    (one, other) = merge_stage_times(answers([fast, idle], [slow, idle], []), {})["items"]
    assert (one["calls"], one["total_micros"], one["mean_micros"], one["share"]) == (4, 4.0, 1.0, 1.0)
    assert (one["p50_micros"], one["p99_micros"]) == (1.024, 2.048)
    assert (other["calls"], other["mean_micros"], other["p50_micros"], other["share"]) == (0, None, None, 0.0)


def test_without_an_answer_there_is_no_stage() -> None:
    assert merge_stage_times(answers(None, []), {})["items"] == []
