"""Spans over OTLP, to a collector of the tests."""

from pathlib import Path

import pytest
import trio
import trioedge as te
from collector import collecting, texts
from sessions import served, talk

from trioedge_otel import Otel


async def test_sessions_of_an_edge_arrive_in_a_collector() -> None:
    with collecting() as collector:
        async with served(Otel(1, collector.url, {"x-tenant": "shop"}, seconds=0.1)) as (_, port):
            await talk(port)
            await talk(port, "127.0.0.2")
            while len(collector.spans) < 2:
                await trio.sleep(0.01)
    refused, ran = sorted(collector.spans, key=lambda span: len(span.events))
    assert texts(ran)["trioedge.reason"] == "finished"
    assert [event.name for event in ran.events] == ["only_ours", "upstream connected"]
    assert texts(refused)["trioedge.detail"] == "not ours"
    assert ran.start_time_unix_nano < ran.end_time_unix_nano
    assert collector.paths[0] == "/v1/traces"
    assert collector.headers[0]["x-tenant"] == "shop"
    assert collector.resources[0]["service.name"] == "trioedge"


async def test_the_spans_of_the_last_sessions_arrive_at_the_end_of_the_edge() -> None:
    with collecting() as collector:
        async with served(Otel(1, collector.url, seconds=3600)) as (_, port):
            await talk(port)
    assert len(collector.spans) == 1


async def test_the_environment_says_where_spans_go(monkeypatch: pytest.MonkeyPatch) -> None:
    with collecting() as collector:
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", f"{collector.url}/otlp")
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_HEADERS", "x-tenant=cafe")
        async with served(Otel(1)) as (_, port):
            await talk(port)
    assert (collector.paths, collector.headers[0]["x-tenant"]) == (["/otlp/v1/traces"], "cafe")


async def test_a_token_is_read_for_each_request(tmp_path: Path) -> None:
    path = tmp_path / "token"
    path.write_text("first\n")
    with collecting() as collector:
        async with served(Otel(1, collector.url, token=te.Secret(file=path), seconds=0.1)) as (_, port):
            for text in ("first", "second"):
                path.write_text(f"{text}\n")
                await talk(port)
                while not collector.headers or collector.headers[-1]["authorization"] != f"Bearer {text}":
                    await trio.sleep(0.01)
