"""The measures, their peers, and the time that they take."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

Measure = Literal[
    "rtt", "connect", "sessions", "refusals", "bulk", "idle", "evict", "decisions",
    "handshakes", "handshaken", "tls", "requests", "socks", "half", "tls_memory",
    "startup", "stages", "devices", "rates", "outbounds", "reports", "snapshots", "urgent", "crowds",
    "listeners",
    "scaling", "floods", "flows", "restarts", "fan_out", "readers", "footprint",
]  # fmt: skip
"""In the order they run. `idle` gives memory and the round trip among idle sessions."""

PROBES: tuple[Measure, ...] = (
    "stages", "devices", "rates", "outbounds", "reports", "snapshots", "urgent", "crowds", "listeners",
)  # fmt: skip
"""Measures of what trioedge alone does; each is a module of its own, see `probe`."""

WORKERS: tuple[Measure, ...] = ("scaling", "floods", "flows", "restarts", "fan_out", "readers", "footprint")
"""Measures of several workers, on two cores; each is a module of `workers`."""

PROTOCOLS: tuple[Measure, ...] = ("handshakes", "handshaken", "tls", "requests")
"""Measures of protocols that clients speak first; `handshaken` is of bytes that flow behind one."""

MEMORY: tuple[Measure, ...] = ("socks", "half", "tls_memory")
"""Memory of a session behind its handshake, and `half` of one in the middle of it."""

MEASURES: tuple[Measure, ...] = (
    "rtt",
    "connect",
    "sessions",
    "refusals",
    "bulk",
    *PROTOCOLS,
    "idle",
    *MEMORY,
    "evict",
    "decisions",
    "startup",
    *PROBES,
    *WORKERS,
)

PLAIN = ("direct", "floor", "haproxy", "nginx", "uvloop", "asyncio", "trio", "trioedge")
WITH_LIMITS = (*PLAIN, "haproxy-limits", "trioedge-preconnect")

HANDSHAKES = (
    "trioedge-bare", "trioedge-proxy",
    "microsocks", "dante", "pproxy", "trioedge-socks",
    "tinyproxy", "trioedge-tunnel",
    "haproxy-sni", "nginx-sni", "trioedge-sni",
)  # fmt: skip
HANDSHAKEN = ("trioedge-bare", "trioedge-proxy", "trioedge-socks", "trioedge-tunnel", "trioedge-sni")
TLS = ("haproxy-tls", "trioedge-tls")

CONTESTANTS: dict[Measure, tuple[str, ...]] = {
    "rtt": (*PLAIN, "trioedge-wrapped"),
    "connect": (*WITH_LIMITS, "trioedge-middleware", "trioedge-observed", "trioedge-toml"),
    "sessions": WITH_LIMITS,
    "refusals": ("haproxy-refuse", "trioedge-refuse"),
    "bulk": PLAIN,
    "idle": (*PLAIN[1:], "trioedge-wrapped"),
    "handshakes": HANDSHAKES,
    "handshaken": HANDSHAKEN,
    "tls": TLS,
    "requests": ("hypercorn", "trioedge-asgi"),
    "socks": ("microsocks", "dante", "trioedge-socks"),
    "half": ("trioedge-half",),
    "tls_memory": TLS,
    "evict": ("trioedge",),
    "decisions": ("trioedge",),
    "startup": ("trioedge",),
    **dict.fromkeys(PROBES, ("trioedge",)),
    **dict.fromkeys(WORKERS, ("trioedge",)),
}

HEADLINE: dict[Measure, str] = {
    "rtt": "rtt_p50_us",
    "connect": "connect_reset_p50_us",
    "sessions": "sessions_per_s",
    "refusals": "refusals_per_s",
    "bulk": "bulk_gbit_per_s",
    "idle": "idle_kib_per_session",
    "handshakes": "handshakes_alone_per_s",
    "handshaken": "handshaken_rtt_p50_us",
    "tls": "tls_handshakes_per_s",
    "requests": "requests_per_s",
    "socks": "socks_kib_per_session",
    "half": "half_kib_per_session",
    "tls_memory": "tls_kib_per_session",
    "evict": "evict_ratio",
    "decisions": "decision_chain_ns",
    "stages": "stages_cost_us",
    "devices": "device_p99_ratio",
    "rates": "rate_error_percent",
    "outbounds": "outbound_first_ratio",
    "reports": "report_ratio",
    "snapshots": "snapshot_stall_ms",
    "startup": "check_ratio",
    "urgent": "urgent_rules_ms",
    "crowds": "crowd_stall_ms",
    "listeners": "listeners_stall_ms",
    "scaling": "scaling_trioedge_sessions_ratio",
    "floods": "flood_most_ratio",
    "flows": "flows_percent",
    "restarts": "restart_failed",
    "fan_out": "fan_out_all_ms",
    "readers": "readers_p50_ratio",
    "footprint": "memory_control_mib",
}
"""The metric that the progress line of a measure shows."""

FAST: tuple[Measure, ...] = ("rtt", "connect", "sessions", "refusals", "bulk", *PROTOCOLS)
"""Measures of a second or so, which share their running peers and are repeated turn by turn."""


@dataclass(frozen=True)
class Plan:
    """How much of everything. Seconds are of measuring, after `warmup` seconds that are not counted.

    Turns are short and many, because a neighbour on the same physical core slows this one down by half for
    seconds at a time: a comparison must measure both peers within the same seconds, and often.
    """

    core: int = 0
    rounds: int = 7
    """How often the peers are started afresh."""
    turns: int = 2
    """How often each peer gets its turn at each fast measure within a round."""
    seconds: float = 0.2
    warmup: float = 0.05
    pause: float = 300e-6
    """Seconds between sessions where a quiet proxy is measured."""
    concurrency: int = 16
    """Connections at a time where sessions or refusals a second are counted."""
    slow_rounds: int = 3
    """Rounds of everything that wants a process of its own, takes longer and varies less."""
    workers_rounds: int = 2
    """Rounds of several workers, three minutes each."""
    warm_sessions: float = 0.2
    """Seconds of sessions that a peer serves before its memory is read."""
    idle_turns: int = 12
    """How often the round trip is measured alone, and as often among idle sessions."""
    idle_sessions: int = 9_000
    talking_sessions: int = 8_000
    tls_sessions: int = 2_000
    evict_few: int = 100
    evict_many: int = 5_000
    evict_turns: int = 10
    startup_turns: int = 7
    probe_turns: int = 10
    """How often a probe repeats what it measures; rates are watched for so many seconds."""

    def rounds_of(self, measure: Measure) -> int:
        """How often a measure that wants a process of its own is taken."""
        return self.workers_rounds if measure in WORKERS else self.slow_rounds


def smoke(plan: Plan) -> Plan:
    """Turn a plan into a smoke run, whose figures are only rough: of a minute, and of several workers three minutes."""
    return replace(
        plan,
        rounds=1,
        turns=2,
        slow_rounds=1,
        workers_rounds=1,
        idle_turns=5,
        idle_sessions=2_000,
        talking_sessions=2_000,
        tls_sessions=500,
        evict_many=2_000,
        evict_turns=3,
        startup_turns=3,
        probe_turns=4,
    )
