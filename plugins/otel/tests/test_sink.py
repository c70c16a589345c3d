"""Spans as an exporter and a provider get them."""

import logging

import pytest
import trioedge as te
from exporters import Fails, Hangs, Raises
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind, StatusCode
from sessions import batch_of, ended

from trioedge_otel.outline import Outline, outline_of
from trioedge_otel.sink import ExporterSink, Sink


def outlines(*ends: te.SessionEnd) -> list[Outline]:
    return [outline_of(end, batch_of(*ends)) for end in ends]


FAULT = te.Completed(te.Reason.UPSTREAM_REFUSED, "tcp://10.0.0.9:6379: Connection refused")


def test_an_exporter_gets_the_spans_in_one_call_with_times_events_status_and_resource() -> None:
    exporter = InMemorySpanExporter()
    sink = ExporterSink(exporter, "edge", ours=False)
    first, second = outlines(ended(1), ended(2, outcome=FAULT))
    assert sink.send([first, second]) == ""
    one, other = exporter.get_finished_spans()
    assert (one.name, one.kind, one.parent) == ("session", SpanKind.SERVER, None)
    assert (one.start_time, one.end_time) == (first.starts_at, first.ends_at)
    assert dict(one.attributes or {}) == first.attributes
    assert [(each.name, each.timestamp, dict(each.attributes or {})) for each in one.events] == [*first.events]
    assert one.status.status_code is StatusCode.UNSET
    assert (other.status.status_code, other.status.description) == (StatusCode.ERROR, FAULT.detail)
    assert one.context is not None
    assert other.context is not None
    assert one.context.trace_id != other.context.trace_id
    assert one.resource.attributes["service.name"] == "edge"
    sink.close()
    assert sink.send(outlines(ended(3))) == ""  # it is the program's, and was not shut down


def test_the_environment_names_the_service_and_its_sampler_does_not_sample_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("OTEL_SERVICE_NAME", "shop-edge")
    monkeypatch.setenv("OTEL_RESOURCE_ATTRIBUTES", "host.name=one")
    monkeypatch.setenv("OTEL_TRACES_SAMPLER", "always_off")
    exporter = InMemorySpanExporter()
    sink = ExporterSink(exporter, "edge", ours=True)
    sink.send(outlines(ended()))
    (span,) = exporter.get_finished_spans()
    assert (span.resource.attributes["service.name"], span.resource.attributes["host.name"]) == ("shop-edge", "one")
    sink.close()


def test_a_provider_makes_the_spans_and_does_with_them_what_it_is_set_up_for() -> None:
    exporter, provider = InMemorySpanExporter(), TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    sink = Sink(provider)
    assert sink.send(outlines(ended(5))) == ""
    sink.close()
    (span,) = exporter.get_finished_spans()
    assert (span.attributes or {})["trioedge.session"] == 5
    assert span.resource is provider.resource
    provider.shutdown()


def test_an_exporter_that_fails_says_why_once_and_its_own_log_says_nothing(caplog: pytest.LogCaptureFixture) -> None:
    sink = ExporterSink(Fails(), "edge", ours=True)
    assert sink.send(outlines(ended())) == "no route to the collector"
    assert caplog.messages == []
    sink.close()
    logging.getLogger("exporters").warning("another use of it")
    assert caplog.messages == ["another use of it"]


def test_an_exporter_that_raises_is_a_reason_and_no_exception() -> None:
    sink = ExporterSink(Raises(), "edge", ours=True)
    assert sink.send(outlines(ended())) == "LookupError: a bug"
    sink.close()


class FailsWithoutWords(Fails):
    """Its log is that of another module."""


FailsWithoutWords.__module__ = "another"


def test_an_exporter_that_fails_without_a_word_has_failed() -> None:
    sink = ExporterSink(FailsWithoutWords(), "edge", ours=True)
    assert sink.send(outlines(ended())) == "the exporter has failed"
    sink.close()


def test_a_provider_that_raises_is_a_reason_and_no_exception() -> None:
    class Odd:
        def get_tracer(self, *_: object) -> "Odd":
            return self

        def start_span(self, *_: object, **__: object) -> None:
            raise LookupError("no span")

    assert Sink(Odd()).send(outlines(ended())) == "LookupError: no span"  # type: ignore[arg-type]


def test_its_own_exporter_is_shut_down() -> None:
    exporter = Hangs()
    ExporterSink(exporter, "edge", ours=True).close()
    assert exporter.released.is_set()
