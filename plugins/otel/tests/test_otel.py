"""An Otel in an edge, with an exporter in memory: which sessions it has, and what faults of it cost."""

import math
import subprocess
import sys

import pytest
import trio
import trioedge as te
from exporters import Fails, Hangs, Raises
from opentelemetry.sdk.trace.export import SpanExporter
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from sessions import served, talk
from structlog.testing import capture_logs
from trioedge.testing import check_observer

from trioedge_otel import Otel


async def test_each_session_of_a_sample_of_one_is_a_span() -> None:
    exporter = InMemorySpanExporter()
    async with served(Otel(1, exporter=exporter)) as (_, port):
        await talk(port)
        await talk(port, "127.0.0.2")
    spans = {str(span.attributes["trioedge.reason"]): span for span in exporter.get_finished_spans() if span.attributes}
    assert sorted(spans) == ["finished", "policy"]
    assert [event.name for event in spans["finished"].events] == ["only_ours", "upstream connected"]
    (refused,) = spans["policy"].events
    assert (refused.name, (refused.attributes or {})["trioedge.answer"]) == ("only_ours", "refuse")


async def test_an_upstream_that_refuses_is_an_error() -> None:
    exporter = InMemorySpanExporter()
    async with served(Otel(1, exporter=exporter), upstream=1) as (_, port):
        await talk(port)
    (span,) = exporter.get_finished_spans()
    assert not span.status.is_ok
    assert (span.attributes or {})["error.type"] == "upstream_refused"
    assert (span.attributes or {})["destination.port"] == 1


async def test_a_session_is_in_the_sample_by_its_id_and_in_that_of_the_access_log_too() -> None:
    from trioedge.telemetry.access_lines import sampled

    exporter = InMemorySpanExporter()
    async with served(Otel(0.3, exporter=exporter)) as (edge, port):
        for _ in range(50):
            await talk(port, "127.0.0.2")
        while edge.statistics().refused.get(te.Reason.POLICY) != 50:
            await trio.sleep(0.01)
    found = {(span.attributes or {})["trioedge.session"] for span in exporter.get_finished_spans()}
    assert found == {number for number in range(1, 51) if sampled(number, 0.3)}
    assert math.isclose(len(found), 15, abs_tol=3)


async def test_one_recipe_serves_again_after_its_edge_has_ended() -> None:
    exporter = InMemorySpanExporter()
    otel = Otel(1, exporter=exporter)
    for _ in range(2):
        async with served(otel) as (_, port):
            await talk(port)
    assert len(exporter.get_finished_spans()) == 2


@pytest.mark.parametrize("exporter", [Fails(), Raises()])
async def test_an_exporter_that_fails_costs_spans_and_the_log_says_so_once(exporter: SpanExporter) -> None:
    with capture_logs() as logs:
        async with served(Otel(1, exporter=exporter, seconds=0.1)) as (edge, port):
            for _ in range(3):
                await talk(port)
                await trio.sleep(0.25)
            while edge.statistics().ended.get(te.Reason.FINISHED) != 3:
                await trio.sleep(0.01)
    why = "no route to the collector" if isinstance(exporter, Fails) else "LookupError: a bug"
    lost = [(entry["count"], entry["why"]) for entry in logs if entry["event"] == "spans lost"]
    assert lost[0] == (1, why)
    assert len(lost) <= 2
    assert edge.statistics().observers_lost == 0


async def test_a_dead_collector_delays_no_session_and_the_end_of_the_edge_does_not_wait_for_it() -> None:
    with capture_logs() as logs:
        async with served(Otel(1, "http://127.0.0.1:1", seconds=0.1)) as (_, port):
            await talk(port)
            await trio.sleep(0.5)  # it tries again
            with trio.fail_after(5):  # it tries for 10 s
                await talk(port)
            ended_at = trio.current_time()
        assert trio.current_time() - ended_at < 8
    lost = [entry for entry in logs if entry["event"] == "spans lost"]
    assert 1 <= sum(entry["count"] for entry in lost) <= 2  # one said within a second of another is left out
    assert "Connection refused" in lost[0]["why"]


async def test_a_hanging_exporter_delays_no_session_and_has_one_thread() -> None:
    exporter = Hangs()
    with capture_logs():
        async with served(Otel(1, exporter=exporter, seconds=0.1)) as (_, port):
            for _ in range(3):
                with trio.fail_after(5):
                    await talk(port)
                await trio.sleep(0.2)
    assert exporter.most == 1
    exporter.shutdown()
    while exporter.running:
        await trio.sleep(0.01)


async def test_it_is_a_good_observer() -> None:
    exporter = InMemorySpanExporter()
    await check_observer(Otel(1, exporter=exporter, seconds=0.1))
    assert exporter.get_finished_spans()


def test_importing_it_starts_no_thread_and_opens_nothing() -> None:
    script = (
        "import os, threading\n"
        "import opentelemetry.sdk.trace.export, trioedge\n"
        "before = set(os.listdir('/proc/self/fd'))\n"
        "import trioedge_otel\n"
        "trioedge_otel.Otel(1)\n"
        "assert threading.active_count() == 1\n"
        "assert set(os.listdir('/proc/self/fd')) == before\n"
        "import sys\n"
        "assert 'requests' not in sys.modules\n"
    )
    subprocess.run([sys.executable, "-c", script], check=True)
