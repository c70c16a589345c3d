"""The exporter that arguments or the environment ask for."""

import os
from collections.abc import Mapping
from importlib.metadata import entry_points
from typing import Any, Final

import trioedge as te
from opentelemetry.sdk.trace.export import SpanExporter

HTTP: Final = "otlp_proto_http"
GRPC: Final = "otlp_proto_grpc"

PACKAGES: Final = {
    HTTP: "opentelemetry-exporter-otlp-proto-http",
    GRPC: "opentelemetry-exporter-otlp-proto-grpc",
}
"""The packages of the exporters that the environment may ask for, by their names as entry points."""

_GROUP: Final = "opentelemetry_traces_exporter"


def is_off(environment: Mapping[str, str] = os.environ) -> bool:
    """Tell whether the environment switches traces off."""
    return (
        environment.get("OTEL_SDK_DISABLED", "").strip().lower() == "true"
        or environment.get("OTEL_TRACES_EXPORTER", "").strip() == "none"
    )


def wanted(environment: Mapping[str, str] = os.environ) -> str:
    """Give the name of the exporter that the environment asks for: that of OTLP over HTTP unless told otherwise."""
    name = environment.get("OTEL_TRACES_EXPORTER", "").strip() or "otlp"
    if name != "otlp":
        return name
    protocol = environment.get("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL") or environment.get("OTEL_EXPORTER_OTLP_PROTOCOL")
    return GRPC if protocol == "grpc" else HTTP


def make_exporter(endpoint: str, headers: Mapping[str, str], token: te.Secret | None) -> SpanExporter:
    """Make the exporter.

    Args:
        endpoint: where spans go over HTTP; "" for the place that the environment names.
        headers: of each request.
        token: of each request, as ``Authorization: Bearer …``.

    Raises:
        ConfigurationError: the exporter is not installed, or refuses its environment.
    """
    name = HTTP if endpoint or headers or token is not None else wanted()
    found = list(entry_points(group=_GROUP, name=name))
    if not found:
        package = PACKAGES.get(name)
        mend = "OTEL_TRACES_EXPORTER names no exporter" if package is None else f"pip install {package}"
        raise te.ConfigurationError(f"Otel has no exporter {name!r}: {mend}, or give Otel(exporter=…)")
    arguments: dict[str, Any] = {}
    if endpoint:
        arguments["endpoint"] = endpoint
    if headers:
        arguments["headers"] = dict(headers)
    try:
        if token is not None:
            arguments["session"] = _session(token)
        exporter: SpanExporter = found[0].load()(**arguments)
    except te.ConfigurationError:
        raise
    except Exception as fault:
        raise te.ConfigurationError(f"Otel: the exporter {name!r} refuses its settings: {fault}") from None
    return exporter


def _read(token: te.Secret) -> str:
    """Read the token, without blanks and line ends around it.

    Raises:
        ConfigurationError: there is none, or no header can have it; the message has no part of it.
    """
    text = token.read().strip()
    if text and text.isascii() and text.isprintable() and " " not in text:
        return text
    raise te.ConfigurationError(f"Otel(token={token!r}) must be printable ASCII without blanks")  # else it is quoted


def _session(token: te.Secret) -> Any:
    """Make a session of requests that reads the token for each request."""
    import requests

    def authorise(request: Any) -> Any:
        request.headers["Authorization"] = f"Bearer {_read(token)}"
        return request

    _read(token)  # so that a missing one keeps the edge from starting
    session = requests.Session()
    session.auth = authorise
    return session
