"""The edges under test, as a user would write them: `python -m tests.bench.edges KIND LISTEN UPSTREAM`.

- `forward`: gate, 1,001-prefix source match and concurrency limit in front of a `Forward`, with limits that
  never fire. It answers every measure, so that no figure is of an edge without a use.
- `preconnect`: the same with idle upstream connections held ready.
- `middleware`: the same as `forward` with a middleware that reads the client's first bytes and gives them back.
- `wrapped`: the same with a middleware that puts another stream around the client's.
- `observed`: the same as `forward` with an observer that does not return.
- `from-toml`: the same as `forward`, out of an edge.toml.
- `refuse`: a source match that refuses loopback, and so every client.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import trio

import trioedge as te
from tests.bench.prefixes import LOOPBACK, PREFIXES, prefixes
from tests.support.middlewares import read_ahead, wrap
from trioedge.config.edge_file import edges_of

PRECONNECT = 8


def limits() -> list[te.SessionGate | te.SourceMatch | te.ConcurrencyLimit]:
    """The decisions every session passes, fresh ones for each edge."""
    return [
        te.SessionGate(rate=1e6, burst=1_000_000, per="service"),
        te.SourceMatch(accept=prefixes(PREFIXES)),
        te.ConcurrencyLimit(20_000, per="source"),
    ]


def forward(listen: str, upstream: str) -> te.Edge:
    """Relay with limits."""
    return te.Edge(listen=listen, stages=limits(), endpoint=te.Forward(upstream))


def preconnect(listen: str, upstream: str) -> te.Edge:
    """Relay with limits, over connections made before the client came."""
    return te.Edge(listen=listen, stages=limits(), endpoint=te.Forward(upstream, preconnect=PRECONNECT))


def middleware(listen: str, upstream: str) -> te.Edge:
    """Relay with limits, behind a middleware that gives back what it read."""
    return te.Edge(listen=listen, stages=[*limits(), read_ahead], endpoint=te.Forward(upstream))


def wrapped(listen: str, upstream: str) -> te.Edge:
    """Relay with limits, over a stream that is no bare socket."""
    return te.Edge(listen=listen, stages=[*limits(), wrap], endpoint=te.Forward(upstream))


class Sleeper:
    """An observer that does not return, so the edge records every session and loses most of the records."""

    async def observe(self, _: te.Batch) -> None:
        await trio.sleep_forever()


def observed(listen: str, upstream: str) -> te.Edge:
    """Relay with limits, and tell an observer that sleeps."""
    return te.Edge(listen=listen, stages=limits(), endpoint=te.Forward(upstream), observers=[Sleeper()])


def from_toml(listen: str, upstream: str) -> te.Edge:
    """Relay with limits, as an edge.toml says it."""
    accept = ", ".join(f'"{prefix}"' for prefix in prefixes(PREFIXES))
    text = f"""
    [edge.bench]
    listen = "{listen}"
    stages = [
      {{ use = "session-gate", rate = 1e6, burst = 1_000_000, per = "service" }},
      {{ use = "source-match", accept = [{accept}] }},
      {{ use = "concurrency-limit", sessions = 20_000, per = "source" }},
    ]
    endpoint = {{ use = "forward", to = "{upstream}" }}
    """
    return edges_of(text, Path("edge.toml"), "edge.toml").edges["bench"]


def refuse(listen: str, upstream: str) -> te.Edge:
    """Refuse every client on this machine."""
    return te.Edge(listen=listen, stages=[te.SourceMatch(reject=[LOOPBACK])], endpoint=te.Forward(upstream))


KINDS: dict[str, Callable[[str, str], te.Edge]] = {
    "forward": forward,
    "preconnect": preconnect,
    "middleware": middleware,
    "wrapped": wrapped,
    "observed": observed,
    "from-toml": from_toml,
    "refuse": refuse,
}

if __name__ == "__main__":
    te.run(KINDS[sys.argv[1]](*sys.argv[2:4]))
