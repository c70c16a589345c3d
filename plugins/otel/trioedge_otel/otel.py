"""Otel: an observer that makes a span of each session of a sample."""

from collections.abc import Mapping

import trioedge as te
from opentelemetry.sdk.trace.export import SpanExporter
from opentelemetry.trace import TracerProvider

from .arguments import check_endpoint, check_headers, check_token, refuse
from .exporter import is_off, make_exporter
from .live import LiveOtel
from .sink import ExporterSink, Sink

MIN_SECONDS, MAX_SECONDS = 0.1, 86_400.0
"""Between two exports."""


class Otel:
    """A span for each session of a sample, exported over OTLP: which stages, how long, to which upstream, and its end.

    Without other arguments than `sample`, spans go where the variables ``OTEL_…`` of the environment say, and to a
    collector on this machine, port 4318, if these say nothing. With ``sample=0``, ``OTEL_SDK_DISABLED=true`` or
    ``OTEL_TRACES_EXPORTER=none`` it is off, and costs nothing.

    A session is in the sample, or not, by its id: `te.AccessLog` with the same `sample` has the same sessions.
    """

    def __init__(
        self,
        sample: float = 0.01,
        endpoint: str = "",
        headers: Mapping[str, str] | None = None,
        token: te.Secret | None = None,
        name: str = "trioedge",
        seconds: float = 5.0,
        *,
        exporter: SpanExporter | None = None,
        provider: TracerProvider | None = None,
    ) -> None:
        """Check the arguments; nothing is opened before an edge serves.

        Args:
            sample: the part of the sessions that get a span, from 0 to 1; 0.01 is one in a hundred.
            endpoint: the URL of a collector of OTLP over HTTP, such as ``http://127.0.0.1:4318``. If empty, the one
                that the environment names.
            headers: sent with each request to the collector.
            token: sent with each request as ``Authorization: Bearer …``, and read each time.
            name: the ``service.name`` of the spans; ``OTEL_SERVICE_NAME`` goes before it.
            seconds: between two exports, at least 0.1 and at most 86,400. At most 512 spans are exported at a time.
            exporter: gets the spans, in a thread. The program shuts it down.
            provider: makes the spans, in a thread, and does with them what it is set up for. The program shuts it down.

        Raises:
            ConfigurationError: an argument is wrong.
        """
        te.check_number("Otel", "sample", sample, maximum=1)
        te.check_number("Otel", "seconds", seconds, minimum=MIN_SECONDS, maximum=MAX_SECONDS)
        self.sample, self.seconds = float(sample), float(seconds)
        self.endpoint = check_endpoint(endpoint)
        self.headers = check_headers(headers)
        self.token = check_token(token, self.endpoint)
        if not isinstance(name, str) or not name or not name.isprintable():
            refuse("name", name, "must be printable text, as in 'edge'")
        self.name = name
        if exporter is not None and not isinstance(exporter, SpanExporter):
            refuse("exporter", exporter, "must be a SpanExporter of opentelemetry.sdk.trace.export")
        if provider is not None and not isinstance(provider, TracerProvider):
            refuse("provider", provider, "must be a TracerProvider")
        given = [
            argument
            for argument, value in (("endpoint", self.endpoint), ("headers", self.headers), ("token", token))
            if value
        ]
        if exporter is not None and provider is not None:
            given.insert(0, "exporter")
        if given and (exporter is not None or provider is not None):
            other = "provider" if provider is not None else "exporter"
            raise te.ConfigurationError(f"Otel({given[0]}=…, {other}=…): give one of the two")
        self.exporter, self.provider = exporter, provider

    def __repr__(self) -> str:
        shown = [f"sample={self.sample:g}"]
        if self.endpoint:
            shown.append(f"endpoint={self.endpoint!r}")
        if self.headers:
            shown.append(f"headers={sorted(self.headers)}")
        for name, value in (("token", self.token), ("exporter", self.exporter), ("provider", self.provider)):
            if value is not None:
                shown.append(f"{name}={value if name == 'token' else type(value).__name__}")
        return f"Otel({', '.join(shown)})"

    def open(self, context: te.EdgeContext) -> LiveOtel | None:
        """Make the exporter; the edge calls this when it serves.

        Returns:
            The live observer; None if it is off.

        Raises:
            ConfigurationError: the exporter is not installed, or the token cannot be read.
        """
        if self.sample == 0 or is_off():
            return None
        sink: Sink
        if self.provider is not None:
            sink = Sink(self.provider)
        elif self.exporter is not None:
            sink = ExporterSink(self.exporter, self.name, ours=False)
        else:
            sink = ExporterSink(make_exporter(self.endpoint, self.headers, self.token), self.name, ours=True)
        return LiveOtel(sink, self.sample, self.seconds, context.log)
