"""GET /metrics: of one process and of several, beside sessions, and with the busiest services."""

import trio
from prometheus_client import Metric
from prometheus_client.parser import text_string_to_metric_families
from trio.testing import MockClock

import trioedge as te
from tests.support.admin import FakeAsker, FakeControl, admin_world, ask
from tests.support.cancels import cancel_at_every_step
from tests.support.edges import exchange, make_edge, services
from tests.support.steps import longest_step
from trioedge.admin.metrics.catalogue import ACCEPTED, LIVE
from trioedge.admin.metrics.collect import collect_meters, collect_process, control_families
from trioedge.admin.metrics.families import Collection, Families
from trioedge.admin.metrics.scrape import Scrape
from trioedge.admin.operations import LOCAL
from trioedge.loop.slices import Stepwise
from trioedge.loop.stall import LoopStall
from trioedge.telemetry.meters import Meters


async def never() -> dict[str, object]:
    raise AssertionError("a scrape has no body")


def read(text: bytes) -> dict[str, Metric]:
    return {each.name: each for each in text_string_to_metric_families(text.decode())}


def values(metric: Metric) -> dict[str, float]:
    return {",".join(each.labels.values()): each.value for each in metric.samples}


async def scraped(scrape: Scrape) -> dict[str, Metric]:
    response = await scrape.answer({}, never)
    return read(b"".join(response.body))  # type: ignore[arg-type]  # in parts


def worker(number: int, accepted: int) -> Families:
    found = Collection()
    found.add(ACCEPTED, accepted)
    found.add(LIVE, accepted // 2, str(number))
    return found.families


async def test_a_scrape_is_prometheus_text_and_adds_no_session(autojump_clock: MockClock) -> None:
    async with admin_world(make_edge(services(a=te.Policy()))) as world:
        await exchange(await world.edge.connect("192.0.2.1"))
        before = await world.get("/v1/sessions")
        for _ in range(10):
            answered = await ask(world.api, "GET", "/metrics")
            assert answered.headers[b"content-type"] == b"text/plain; version=0.0.4; charset=utf-8"
        after = await world.get("/v1/sessions")
        assert [each["id"] for each in before["items"]] == [each["id"] for each in after["items"]]
        found = read(answered.body)
        assert values(found["trioedge_sessions_accepted"]) == {"": 1}
        assert values(found["trioedge_workers"]) == {"ready": 1, "missing": 0}


async def test_the_counts_of_workers_are_one_sum() -> None:
    asker = FakeAsker({"metrics": [worker(0, 10), worker(1, 20), None]})
    found = await scraped(Scrape(asker, FakeControl()))
    assert asker.asked == [("metrics", {"services": None})]
    assert values(found["trioedge_sessions_accepted"]) == {"": 30}
    assert values(found["trioedge_sessions_live"]) == {"0": 5, "1": 10}
    assert values(found["trioedge_workers"]) == {"ready": 2, "missing": 1}


async def test_a_worker_that_does_not_answer_takes_nothing_off_a_sum() -> None:
    asker = FakeAsker({"metrics": [worker(0, 10), worker(1, 20)]})
    scrape = Scrape(asker, FakeControl())
    await scraped(scrape)
    asker.table["metrics"] = [worker(0, 11), None]
    found = await scraped(scrape)
    assert values(found["trioedge_sessions_accepted"]) == {"": 31}
    assert values(found["trioedge_sessions_live"]) == {"0": 5}


async def test_the_process_that_answers_has_its_own_metrics_where_it_serves_no_client() -> None:
    def beside() -> Stepwise[Families]:
        found = Collection()
        yield from collect_process(found, LoopStall(), "control")
        return found.families

    found = await scraped(Scrape(FakeAsker({"metrics": [worker(0, 10)]}), FakeControl(), beside=beside))
    assert [*values(found["trioedge_descriptors_limit"])] == ["control"]


async def test_device_checks_of_workers_are_those_of_the_control_process_and_graces_are_those_of_workers() -> None:
    meters, of_worker = Meters(), Collection()
    meters.devices.asked, meters.graces = 5, 7
    longest_step(collect_meters(of_worker, meters, "0"))
    asker = FakeAsker({"metrics": [of_worker.families]})

    def beside() -> Stepwise[Families]:
        return control_families(meters, LoopStall(), 3, 60.0)

    found = await scraped(Scrape(asker, FakeControl(), beside=beside))
    assert values(found["trioedge_device_checks"]) == {"": 5}
    assert values(found["trioedge_grace_sessions"]) == {"": 7}
    assert values(found["trioedge_worker_deaths"]) == {"": 3}
    assert values(found["trioedge_uptime_seconds"]) == {"": 60.0}


async def test_errors_of_the_api_are_counted_by_their_status(autojump_clock: MockClock) -> None:
    async with admin_world(make_edge(services())) as world:
        for target in ("/nowhere", "/elsewhere", "/v1/sessions?limit=0"):
            await ask(world.api, "GET", target)
        found = read((await ask(world.api, "GET", "/metrics")).body)
    assert values(found["trioedge_admin_errors"]) == {"404": 2, "422": 1}


async def test_the_services_with_most_sessions_and_most_bytes_have_samples(autojump_clock: MockClock) -> None:
    control = services(**{name: te.Policy() for name in "abc"})
    async with admin_world(make_edge(control), metrics_services=2) as world:
        for _ in range(3):
            await world.edge.connect("192.0.2.1")
        client = await world.edge.connect("192.0.2.3")
        for _ in range(100):
            await exchange(client)
        await world.edge.connect("192.0.2.2")
        found = read((await ask(world.api, "GET", "/metrics")).body)
    assert values(found["trioedge_service_sessions"]) == {"a": 3, "c": 1, "other": 1}
    assert values(found["trioedge_service_bytes"])["c,up"] == 400


async def test_of_several_workers_the_busiest_services_are_those_of_all() -> None:
    def item(name: str, live: int) -> dict[str, object]:
        return {
            "name": name, "live": live, "opened": 0, "bytes_up": 0, "bytes_down": 0, "sources": 0, "quota_used": None,
            "refusal": None, "listen_errors": [],
        }  # fmt: skip

    asker = FakeAsker({
        "services-busiest": [["a", "b"], ["c", "b"]],
        "services-named": [[item("a", 5), item("b", 4)], [item("c", 5), item("b", 4)]],
        "metrics": [{}, {}],
    })  # fmt: skip
    await scraped(Scrape(asker, FakeControl(), services=2))
    assert asker.asked[-1] == ("metrics", {"services": ["b", "a"]})


async def test_before_the_first_snapshot_there_is_no_age_of_one() -> None:
    class Fresh(FakeControl):
        def state(self) -> te.ControlState:
            return te.ControlState("", None, 0, "no answer", trio.current_time() - 9, "", 0, 0, report_lag=4.0)

    found = await scraped(Scrape(FakeAsker({"metrics": [worker(0, 1)]}), Fresh()))
    assert "trioedge_snapshot_age_seconds" not in found
    assert round(values(found["trioedge_control_failing_seconds"])[""]) == 9
    assert values(found["trioedge_report_lag_seconds"]) == {"": 4.0}


async def test_the_question_of_a_scrape_is_one_that_workers_answer(autojump_clock: MockClock) -> None:
    async with admin_world(make_edge(services())) as world:
        families = longest_step(LOCAL["metrics"](world.local, {"services": None}))[2]
    assert families["trioedge_uptime_seconds"]["type"] == "gauge"


async def test_wherever_a_scrape_is_cancelled_the_next_one_gives_every_count(autojump_clock: MockClock) -> None:
    asker = FakeAsker({"metrics": [worker(0, 10), worker(1, 20)]})
    scrape = Scrape(asker, FakeControl())
    await scraped(scrape)
    asker.table["metrics"] = [worker(0, 10)]

    async def act() -> None:
        await scrape.answer({}, never)

    assert await cancel_at_every_step(act, lambda: None) > 1
    assert values((await scraped(scrape))["trioedge_sessions_accepted"]) == {"": 30}
