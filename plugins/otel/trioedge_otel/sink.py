"""Makes spans and exports them; everything here blocks and runs in a thread."""

import logging
from collections.abc import Sequence

from opentelemetry.sdk.resources import SERVICE_NAME, Resource
from opentelemetry.sdk.trace import ReadableSpan, SpanProcessor, TracerProvider
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult
from opentelemetry.sdk.trace.sampling import ALWAYS_ON
from opentelemetry.trace import SpanKind, Status, StatusCode
from opentelemetry.trace import TracerProvider as AnyProvider

from .outline import NAME, Outline
from .words import Words


class Sink:
    """Makes spans with a provider, which does with them what it has been set up for."""

    def __init__(self, provider: AnyProvider) -> None:
        """Start nothing.

        Args:
            provider: makes the tracer.
        """
        self._tracer = provider.get_tracer("trioedge")

    def send(self, outlines: Sequence[Outline]) -> str:
        """Make the spans; give why they are lost, or "" if they are not."""
        try:
            self._make(outlines)
        except Exception as fault:
            return f"{type(fault).__name__}: {fault}"
        return ""

    @property
    def said(self) -> str:
        """What is known of an export that has not ended."""
        return ""

    def close(self) -> None:
        """Leave the provider as it is, because it is the program's."""

    def _make(self, outlines: Sequence[Outline]) -> None:
        for outline in outlines:
            span = self._tracer.start_span(
                NAME, kind=SpanKind.SERVER, attributes=outline.attributes, start_time=outline.starts_at
            )
            for name, at, attributes in outline.events:
                span.add_event(name, attributes, at)
            if outline.error is not None:
                span.set_status(Status(StatusCode.ERROR, outline.error))
            span.end(outline.ends_at)


class ExporterSink(Sink):
    """Makes spans with a provider of its own, and gives them to an exporter in one call.

    The provider samples nothing, because the sessions are sampled already.
    """

    def __init__(self, exporter: SpanExporter, name: str, *, ours: bool) -> None:
        """Start nothing.

        Args:
            exporter: gets the spans.
            name: the ``service.name`` of the spans, unless the environment has one.
            ours: whether :meth:`close` shuts the exporter down.
        """
        self._exporter, self._ours = exporter, ours
        self._gathered = _Gathered()
        resource = Resource.create({})
        if str(resource.attributes.get(SERVICE_NAME, "")).startswith("unknown_service"):
            resource = resource.merge(Resource({SERVICE_NAME: name}))
        provider = TracerProvider(sampler=ALWAYS_ON, resource=resource, shutdown_on_exit=False)
        provider.add_span_processor(self._gathered)
        super().__init__(provider)
        self._words = Words(logging.getLogger(type(exporter).__module__))

    def send(self, outlines: Sequence[Outline]) -> str:
        """Make the spans and export them; give why they are lost, or "" if they are not."""
        with self._words:
            return super().send(outlines) or self._exported(self._gathered.take())

    def _exported(self, spans: Sequence[ReadableSpan]) -> str:
        try:
            result = self._exporter.export(spans)
        except Exception as fault:
            return f"{type(fault).__name__}: {fault}"
        return "" if result is SpanExportResult.SUCCESS else self._words.said or "the exporter has failed"

    @property
    def said(self) -> str:
        """The first words of the exporter about an export that has not ended."""
        return self._words.said

    def close(self) -> None:
        """Shut the exporter down if it is ours, also while a thread waits in it for the collector."""
        self._words.close()
        if self._ours:
            self._exporter.shutdown()


class _Gathered(SpanProcessor):
    """Keeps the spans that have ended, until they are taken."""

    def __init__(self) -> None:
        self._spans: list[ReadableSpan] = []

    def on_end(self, span: ReadableSpan) -> None:
        self._spans.append(span)

    def take(self) -> list[ReadableSpan]:
        """Take the spans."""
        spans, self._spans = self._spans, []
        return spans
