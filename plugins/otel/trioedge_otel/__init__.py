"""trioedge-otel: OpenTelemetry spans of the sessions of a trioedge edge."""

from .otel import Otel as Otel

__all__ = ["Otel"]
