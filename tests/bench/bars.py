"""The bars: what trioedge must reach, and what it aims for. Change them here and nowhere else."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from typing import Any, Literal

from tests.bench.results import Results, Spread


@dataclass(frozen=True)
class Bar:
    """One promise. The value is the metric itself, or its ratio to the same metric of `against`."""

    title: str
    metric: str
    bar: float
    aim: float
    unit: str = "times"
    peer: str = "trioedge"
    against: str | None = None
    better: Literal["lower", "higher"] = "lower"
    scale: float = 1.0
    """Multiplies the metric into `unit`."""
    of_workers: bool = False
    """Whether it is a promise of several workers, which have a table of their own."""


LIMITED = "haproxy-limits"
"""HAProxy with the same limits, which connects are compared with."""

BARE, SOCKS, TLS = "trioedge-bare", "trioedge-socks", "trioedge-tls"

HANDSHAKEN = {
    "PROXY": "trioedge-proxy",
    "SOCKS": SOCKS,
    "CONNECT": "trioedge-tunnel",
    "an SNI route": "trioedge-sni",
}
"""Stages whose bytes flow, once their handshake is over, as they do without one."""

BARS = (
    Bar("round trip p50, to HAProxy", "rtt_p50_us", 1.0, 0.95, against="haproxy"),
    Bar("round trip p99, to HAProxy", "rtt_p99_us", 1.05, 1.0, against="haproxy"),
    Bar("connect + first reply p50, client resets, to HAProxy", "connect_reset_p50_us", 1.5, 1.35, against=LIMITED),
    Bar("the same, client closes in order", "connect_close_p50_us", 1.1, 0.97, against=LIMITED),
    Bar("the same, client pauses 0.3 ms", "connect_paused_p50_us", 1.25, 1.1, against=LIMITED),
    Bar("preconnected, client pauses, p50, to HAProxy", "connect_paused_p50_us", 1.0, 0.95,
        peer="trioedge-preconnect", against=LIMITED),
    Bar("the same, p99", "connect_paused_p99_us", 1.0, 0.95, peer="trioedge-preconnect", against=LIMITED),
    Bar("preconnected, client resets back to back, p99, to HAProxy", "connect_reset_p99_us", 1.2, 1.0,
        peer="trioedge-preconnect", against=LIMITED),
    Bar("processor time of a session, to HAProxy", "session_cpu_us", 1.45, 1.25, against=LIMITED),
    Bar("new sessions a second, 16 at once, to HAProxy", "sessions_per_s", 0.88, 1.0, against=LIMITED,
        better="higher"),
    Bar("a middleware that reads and gives back: connect, to HAProxy", "connect_reset_p50_us", 1.9, 1.75,
        peer="trioedge-middleware", against=LIMITED),
    Bar("an observer that sleeps: connect + first reply p50, to no observer", "connect_reset_p50_us", 1.02, 1.01,
        peer="trioedge-observed", against="trioedge"),
    Bar("the same, processor time of a session", "session_cpu_us", 1.02, 1.01,
        peer="trioedge-observed", against="trioedge"),
    Bar("an edge from an edge.toml: connect + first reply p50, to the same in Python", "connect_reset_p50_us", 1.0, 1.0,
        peer="trioedge-toml", against="trioedge"),
    Bar("a wrapped stream: round trip p50, to HAProxy", "rtt_p50_us", 1.9, 1.7,
        peer="trioedge-wrapped", against="haproxy"),
    Bar("the same: memory of an idle session", "idle_kib_per_session", 12, 10, unit="KiB", peer="trioedge-wrapped"),
    Bar("bulk echo, to HAProxy", "bulk_gbit_per_s", 1.3, 1.4, against="haproxy", better="higher"),
    Bar("refusals a second, to HAProxy", "refusals_per_s", 0.95, 1.0, peer="trioedge-refuse",
        against="haproxy-refuse", better="higher"),
    Bar("memory of an idle session", "idle_kib_per_session", 2.0, 1.5, unit="KiB"),
    Bar("disable a service, behind 25,000 rules of another", "urgent_rules_ms", 100, 20, unit="ms"),
    Bar("the same, behind 100,000 services", "urgent_services_ms", 100, 20, unit="ms"),
    Bar("snapshot of 100,000 services, one changed, until it holds", "snapshot_seconds", 2, 1, unit="s"),
    Bar("the same, all changed", "snapshot_all_seconds", 12, 6, unit="s"),
    Bar("the same, all changed, longest hold of the loop", "snapshot_all_stall_ms", 5, 2, unit="ms"),
    Bar("evict 8,000 sessions, longest hold of the loop", "crowd_stall_ms", 5, 2, unit="ms"),
    Bar("`trioedge check`, to an import of trio", "check_ratio", 2.0, 1.5),
    Bar("`trioedge check edge.toml`, 400 distributions installed, to an import of trio", "check_file_ratio", 2.0, 1.6),
    Bar("round trip p50 among idle sessions, to alone", "idle_rtt_ratio", 1.3, 1.05),
    Bar("evict 3 of many, to 3 of few", "evict_ratio", 1.5, 1.1),
    Bar("the same, sessions still connecting", "evict_connecting_ratio", 1.5, 1.1),
    Bar("session gate", "decision_gate_ns", 1.0, 0.4, unit="µs", scale=1e-3),
    Bar("source match, 100,000 prefixes", "decision_match_100000_ns", 2.0, 0.8, unit="µs", scale=1e-3),
    Bar("all stages, added to connect + first reply p50", "stages_cost_us", 60, 40, unit="µs"),
    Bar("the same, added to its processor time", "stages_cpu_us", 60, 40, unit="µs"),
    Bar("timing all stages, of a session's processor time", "stages_timing_percent", 2, 1, unit="%"),
    Bar("new session of a service at its rate, to an idle one's", "newcomer_ratio", 1.3, 1.05),
    Bar("unknown devices, check of 300 ms, first reply p99, to none", "device_p99_ratio", 1.1, 1.02),
    Bar("the check awaited, first reply p50, to ours", "device_awaited_ratio", 50, 500, better="higher"),
    Bar("device denied, until its clients see it, p99", "device_cut_p99_ms", 20, 2, unit="ms"),
    Bar("other devices' sessions that this ends", "device_lost", 0, 0, unit="sessions"),
    Bar("checks of a device with 16 sessions at once", "device_checks", 1, 1, unit="checks"),
    Bar("rate over 1, 2 and 8 sessions, up and down, worst error", "rate_error_percent", 5, 2, unit="%"),
    Bar("new rate, until running sessions keep it", "rate_change_s", 0.5, 0.15, unit="s"),
    Bar("processor time of a byte, paced, to as fast unpaced", "paced_cpu_ratio", 1.2, 1.05),
    Bar("the same, to unpaced as fast as it goes", "paced_cpu_to_full_ratio", 1.2, 1.05),
    Bar("first session to an upstream just named, to one in use", "outbound_first_ratio", 1.2, 1.05),
    Bar("queries for a name that 50 sessions want at once", "outbound_queries", 1, 1, unit="queries"),
    Bar("report of 100 services among 100,000, to among 1,000", "report_ratio", 1.2, 1.05),
    Bar("policy of one service of 100,000, until it holds", "snapshot_delta_ms", 1, 0.1, unit="ms"),
    Bar("other services that this makes anew", "snapshot_remade", 0, 0, unit="services"),
    Bar("snapshot of 100,000, longest hold of the loop", "snapshot_stall_ms", 5, 1, unit="ms"),
    Bar("the same, round trip p99 meanwhile, to without", "snapshot_rtt_p99_ratio", 1.5, 1.1),
    Bar("snapshot over HTTP, longest hold of the loop", "snapshot_http_stall_ms", 5, 1, unit="ms"),
    Bar("the same, round trip p99 meanwhile, to without", "snapshot_http_rtt_p99_ratio", 1.5, 1.1),
    Bar("1,000 listeners opened by a snapshot, longest hold of the loop", "listeners_stall_ms", 5, 1, unit="ms"),
    Bar("one of these services removed, longest hold", "listeners_remove_stall_ms", 5, 1, unit="ms"),
    Bar("sessions of other services that this ends", "listeners_lost", 0, 0, unit="sessions"),
    Bar("PROXY v1: connect + first reply p50, to no header", "handshake_p50_us", 1.2, 1.05,
        peer="trioedge-proxy", against=BARE),
    Bar("SOCKS 5: sessions a second, one at a time, to microsocks", "handshakes_alone_per_s", 0.75, 1.0,
        peer=SOCKS, against="microsocks", better="higher"),
    Bar("the same, 16 at once", "handshakes_per_s", 0.85, 1.0, peer=SOCKS, against="microsocks", better="higher"),
    Bar("the same, one at a time, to dante", "handshakes_alone_per_s", 1.3, 1.5, peer=SOCKS, against="dante",
        better="higher"),
    Bar("the same, 16 at once, to dante", "handshakes_per_s", 1.3, 1.5, peer=SOCKS, against="dante", better="higher"),
    Bar("the same, one at a time, to pproxy", "handshakes_alone_per_s", 2.2, 2.5, peer=SOCKS, against="pproxy",
        better="higher"),
    Bar("the same, 16 at once, to pproxy", "handshakes_per_s", 2.2, 2.5, peer=SOCKS, against="pproxy",
        better="higher"),
    Bar("CONNECT: sessions a second, one at a time, to tinyproxy", "handshakes_alone_per_s", 1.1, 1.3,
        peer="trioedge-tunnel", against="tinyproxy", better="higher"),
    Bar("the same, 16 at once", "handshakes_per_s", 1.1, 1.3, peer="trioedge-tunnel", against="tinyproxy",
        better="higher"),
    Bar("SNI: sessions a second, one at a time, to HAProxy", "handshakes_alone_per_s", 0.75, 1.0,
        peer="trioedge-sni", against="haproxy-sni", better="higher"),
    Bar("the same, 16 at once", "handshakes_per_s", 0.75, 1.0, peer="trioedge-sni", against="haproxy-sni",
        better="higher"),
    *(
        bar
        for name, peer in HANDSHAKEN.items()
        for bar in (
            Bar(f"behind {name}: round trip p50, to no stage", "handshaken_rtt_p50_us", 1.05, 1.0, peer=peer,
                against=BARE),
            Bar("the same, bulk", "handshaken_bulk_gbit_per_s", 0.97, 1.0, peer=peer, against=BARE, better="higher"),
        )
    ),
    Bar("memory of a SOCKS session", "socks_kib_per_session", 2.2, 1.8, unit="KiB", peer=SOCKS),
    Bar("memory of half a handshake", "half_kib_per_session", 1.8, 1.5, unit="KiB", peer="trioedge-half"),
    Bar("TLS: full handshakes a second, to HAProxy", "tls_handshakes_per_s", 0.85, 0.95, peer=TLS,
        against="haproxy-tls", better="higher"),
    Bar("the same, round trip p50", "tls_rtt_p50_us", 1.3, 1.15, peer=TLS, against="haproxy-tls"),
    Bar("the same, bulk", "tls_bulk_gbit_per_s", 0.95, 1.05, peer=TLS, against="haproxy-tls", better="higher"),
    Bar("the same, memory of a session", "tls_kib_per_session", 1.2, 1.1, peer=TLS, against="haproxy-tls"),
    Bar("an application: requests a second, to hypercorn", "requests_per_s", 0.95, 1.0, peer="trioedge-asgi",
        against="hypercorn", better="higher"),
    *(
        replace(bar, of_workers=True)
        for bar in (
            Bar("2 workers on 2 cores, to 1 on 1: sessions a second", "scaling_trioedge_sessions_ratio", 1.7, 1.9,
                better="higher"),
            Bar("the same, bulk", "scaling_trioedge_bulk_ratio", 1.9, 2.0, better="higher"),
            Bar("2 workers, to HAProxy with 2 threads: sessions a second", "scaling_to_haproxy_ratio", 0.9, 1.0,
                better="higher"),
            Bar("gates of services under 12 floods, least admitted, to allowed", "flood_least_ratio", 0.98, 0.995,
                better="higher"),
            Bar("the same, most admitted", "flood_most_ratio", 1.02, 1.005),
            Bar("rate of a service over 8 addresses and 2 workers, worst error", "flows_percent", 5, 2, unit="%"),
            Bar("the same, its first two seconds", "flows_first_percent", 5, 2, unit="%"),
            Bar("10 restarts under load: tries that fail", "restart_failed", 0, 0, unit="tries"),
            Bar("5 workers killed under load: tries that fail, but those that they had", "kill_failed", 0, 0,
                unit="tries"),
            Bar("100,000 new services to 4 workers: longest hold of any loop", "fan_out_new_ms", 5, 2, unit="ms"),
            Bar("the same, all changed", "fan_out_all_ms", 5, 2, unit="ms"),
            Bar("the same, one changed", "fan_out_one_ms", 5, 2, unit="ms"),
            Bar("metrics, dashboard and top: connect + first reply p50, to none", "readers_p50_ratio", 1.03, 1.0),
            Bar("the same, p99.9", "readers_p999_ratio", 1.1, 1.0),
            Bar("the same, longest hold of a worker's loop", "readers_worker_ms", 2, 1, unit="ms"),
            Bar("the same, of the control process's", "readers_control_ms", 2, 1, unit="ms"),
            Bar("memory of the control process", "memory_control_mib", 60, 30, unit="MiB"),
            Bar("memory of a further worker", "memory_worker_mib", 35, 20, unit="MiB"),
        )
    ),
)  # fmt: skip


@dataclass(frozen=True)
class Verdict:
    """A bar and what was found."""

    title: str
    unit: str
    value: Spread
    bar: float
    aim: float
    better: Literal["lower", "higher"]
    of_workers: bool = False

    @property
    def reached(self) -> bool:
        """Whether the median meets the bar."""
        return self._meets(self.bar)

    @property
    def aim_reached(self) -> bool:
        """Whether it meets the aim, too."""
        return self._meets(self.aim)

    @property
    def said(self) -> str:
        """The verdict in words, and by how much a bar is missed."""
        if self.reached:
            return "reached, and the aim" if self.aim_reached else "reached"
        away = self.value.median / self.bar - 1 if self.bar else self.value.median
        return f"missed by {abs(away):.0%}"

    def as_json(self) -> dict[str, Any]:
        """The verdict as the results file holds it."""
        return {**asdict(self), "reached": self.reached, "aim_reached": self.aim_reached, "said": self.said}

    def _meets(self, limit: float) -> bool:
        median = round(self.value.median, 2)  # as printed: what reads as equal is equal
        return median <= limit if self.better == "lower" else median >= limit


def verdicts(results: Results) -> list[Verdict]:
    """Judge every bar whose figures were measured."""
    judged = []
    for bar in BARS:
        value = (
            results.ratio(bar.metric, bar.peer, bar.against) if bar.against else results.spread(bar.metric, bar.peer)
        )
        if value:
            scaled = Spread(value.median * bar.scale, value.low * bar.scale, value.high * bar.scale)
            judged.append(Verdict(bar.title, bar.unit, scaled, bar.bar, bar.aim, bar.better, bar.of_workers))
    return judged
