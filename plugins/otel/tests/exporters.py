"""Exporters of the tests."""

import logging
import threading
from collections.abc import Sequence

from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult

LOGGER = logging.getLogger(__name__)


class Fails(SpanExporter):
    """Says why in its log, as that of OTLP does, and fails."""

    def __init__(self) -> None:
        self.asked = 0

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        self.asked += 1
        LOGGER.warning("no route to the collector")
        return SpanExportResult.FAILURE


class Raises(SpanExporter):
    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        raise LookupError("a bug")


class Hangs(SpanExporter):
    """Waits until it is released."""

    def __init__(self) -> None:
        self.released = threading.Event()
        self.running = self.most = 0
        self.spans = 0

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        self.running += 1
        self.most = max(self.most, self.running)
        self.released.wait(20)
        self.running -= 1
        self.spans += len(spans)
        return SpanExportResult.SUCCESS

    def shutdown(self) -> None:
        self.released.set()
