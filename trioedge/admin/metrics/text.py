"""Families as Prometheus reads them: the text format, version 0.0.4, written in steps."""

from collections.abc import Iterator, Mapping
from typing import Any, Final

from ...loop.slices import Stepwise
from ...telemetry.histogram import SECOND
from .families import HISTOGRAM, SAMPLES_A_STEP, Families

CONTENT_TYPE: Final = b"text/plain; version=0.0.4; charset=utf-8"


def text_of(families: Families) -> Stepwise[list[bytes]]:
    """Write families, by name, in steps of some lines; give the parts of the text."""
    parts: list[bytes] = []
    lines: list[str] = []
    for name in sorted(families):
        family = families[name]
        lines += (f"# HELP {name} {_escaped(family['help'])}", f"# TYPE {name} {family['type']}")
        for line in _lines(name, family):
            lines.append(line)
            if len(lines) >= SAMPLES_A_STEP:
                parts.append(_bytes(lines))
                lines = []
                yield
    parts.append(_bytes(lines))
    return parts


def _bytes(lines: list[str]) -> bytes:
    return "".join(f"{line}\n" for line in lines).encode(errors="backslashreplace")  # surrogates out of a path, say


def _lines(name: str, family: Mapping[str, Any]) -> Iterator[str]:
    if family["type"] != HISTOGRAM:
        for labels, value in family["samples"].items():
            yield f"{name}{{{labels}}} {value!r}" if labels else f"{name} {value!r}"
        return
    first, last = family["buckets"]
    bounds = [f"{2.0**place / SECOND!r}" for place in range(first, last + 1)]
    for labels, value in family["samples"].items():
        counts, before, braces = value["counts"], f"{labels}," if labels else "", f"{{{labels}}}" if labels else ""
        seen = sum(counts[:first])
        for place, bound in enumerate(bounds, first):
            seen += counts[place] if place < len(counts) else 0
            yield f'{name}_bucket{{{before}le="{bound}"}} {seen}'
        count = sum(counts)
        yield f'{name}_bucket{{{before}le="+Inf"}} {count}'
        yield f"{name}_sum{braces} {value['nanoseconds'] / SECOND!r}"
        yield f"{name}_count{braces} {count}"


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace("\n", "\\n")
