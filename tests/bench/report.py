"""Tables for people: every metric of every peer, then the bars."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from rich.console import Console
from rich.table import Table

from tests.bench.bars import Verdict
from tests.bench.peers import PEERS
from tests.bench.plan import Plan
from tests.bench.results import Results
from tests.bench.run import Bench

BASELINE = {
    "haproxy-refuse": "haproxy-refuse",
    "trioedge-refuse": "haproxy-refuse",
    "trioedge-bare": "trioedge-bare",
    "trioedge-proxy": "trioedge-bare",
    "microsocks": "microsocks",
    "dante": "microsocks",
    "pproxy": "microsocks",
    "trioedge-socks": "microsocks",
    "tinyproxy": "tinyproxy",
    "trioedge-tunnel": "tinyproxy",
    "haproxy-sni": "haproxy-sni",
    "nginx-sni": "haproxy-sni",
    "trioedge-sni": "haproxy-sni",
    "haproxy-tls": "haproxy-tls",
    "trioedge-tls": "haproxy-tls",
    "hypercorn": "hypercorn",
    "trioedge-asgi": "hypercorn",
}
"""Who a peer's figures are divided by, in every measure that it takes part in; HAProxy without limits where nothing is
said. Bytes behind a handshake are divided by those of `trioedge-bare`."""


@dataclass(frozen=True)
class Column:
    """A metric and how it reads."""

    metric: str
    title: str
    digits: int = 1


METRICS = (
    Column("rtt_p50_us", "round trip p50, µs"),
    Column("rtt_p99_us", "round trip p99, µs"),
    Column("connect_reset_p50_us", "connect + first reply, client resets, p50, µs"),
    Column("connect_reset_p99_us", "connect + first reply, client resets, p99, µs"),
    Column("connect_close_p50_us", "the same, client closes in order, p50, µs"),
    Column("connect_close_p99_us", "the same, client closes in order, p99, µs"),
    Column("connect_paused_p50_us", "the same, client pauses 0.3 ms, p50, µs"),
    Column("connect_paused_p99_us", "the same, client pauses 0.3 ms, p99, µs"),
    Column("session_cpu_us", "processor time of a session, µs"),
    Column("sessions_per_s", "new sessions a second", 0),
    Column("refusals_per_s", "refusals a second", 0),
    Column("bulk_gbit_per_s", "bulk echo, Gbit/s", 2),
    Column("handshake_p50_us", "handshake + first reply p50, µs"),
    Column("handshake_p99_us", "handshake + first reply p99, µs"),
    Column("handshakes_alone_per_s", "sessions a second, one at a time", 0),
    Column("handshakes_per_s", "sessions a second, 16 at once", 0),
    Column("handshaken_rtt_p50_us", "round trip behind a handshake p50, µs"),
    Column("handshaken_rtt_p99_us", "round trip behind a handshake p99, µs"),
    Column("handshaken_bulk_gbit_per_s", "bulk echo behind a handshake, Gbit/s", 2),
    Column("socks_kib_per_session", "memory of a SOCKS session, KiB", 2),
    Column("half_kib_per_session", "memory of half a handshake, KiB", 2),
    Column("tls_handshakes_per_s", "full TLS handshakes a second", 0),
    Column("tls_connect_p50_us", "TLS: connect + first reply p50, µs"),
    Column("tls_connect_p99_us", "TLS: connect + first reply p99, µs"),
    Column("tls_rtt_p50_us", "TLS: round trip p50, µs"),
    Column("tls_rtt_p99_us", "TLS: round trip p99, µs"),
    Column("tls_bulk_gbit_per_s", "TLS: bulk echo, Gbit/s", 2),
    Column("tls_kib_per_session", "TLS: memory of a session, KiB", 2),
    Column("requests_per_s", "requests a second to an application", 0),
    Column("request_p50_us", "a request p50, µs"),
    Column("request_p99_us", "a request p99, µs"),
    Column("idle_kib_per_session", "memory of an idle session, KiB", 2),
    Column("idle_rtt_alone_p50_us", "round trip p50 alone, µs"),
    Column("idle_rtt_p50_us", "round trip p50 among idle sessions, µs"),
    Column("idle_rtt_ratio", "the two, as a ratio", 2),
    Column("evict_few_us", "evict 3 of few, µs"),
    Column("evict_many_us", "evict 3 of many, µs"),
    Column("evict_ratio", "the two, as a ratio", 2),
    Column("evict_few_seen_us", "evict 3 of few, until the clients saw it, µs"),
    Column("evict_many_seen_us", "evict 3 of many, until the clients saw it, µs"),
    Column("evict_seen_ratio", "the two, as a ratio", 2),
    Column("evict_connecting_few_us", "evict 3 of few, all connecting, µs"),
    Column("evict_connecting_many_us", "evict 3 of many, all connecting, µs"),
    Column("evict_connecting_ratio", "the two, as a ratio", 2),
    Column("evict_connecting_few_seen_us", "evict 3 of few, all connecting, until the clients saw it, µs"),
    Column("evict_connecting_many_seen_us", "evict 3 of many, all connecting, until the clients saw it, µs"),
    Column("evict_connecting_seen_ratio", "the two, as a ratio", 2),
    Column("decision_gate_ns", "decision: session gate, ns", 0),
    Column("decision_match_10_ns", "decision: source match, 10 prefixes, ns", 0),
    Column("decision_match_1000_ns", "decision: source match, 1,000 prefixes, ns", 0),
    Column("decision_match_100000_ns", "decision: source match, 100,000 prefixes, ns", 0),
    Column("decision_concurrency_ns", "decision: concurrency limit, ns", 0),
    Column("decision_chain_ns", "compiled chain of the three, ns", 0),
    Column("stages_bare_p50_us", "connect + first reply p50, no stage, µs"),
    Column("stages_all_p50_us", "connect + first reply p50, all stages, µs"),
    Column("stages_bare_cpu_us", "processor time of a session, no stage, µs"),
    Column("stages_all_cpu_us", "processor time of a session, all stages, µs"),
    Column("stages_decide_us", "compiled chain of all stages, µs"),
    Column("stages_timing_us", "of which to time them, µs"),
    Column("newcomer_idle_p50_us", "connect + first reply p50, service idle, µs"),
    Column("newcomer_busy_p50_us", "connect + first reply p50, service at its rate, µs"),
    Column("device_unchecked_p50_us", "unknown devices, no check: first reply p50, µs"),
    Column("device_checked_p50_us", "unknown devices, checked: first reply p50, µs"),
    Column("device_unchecked_p99_us", "unknown devices, no check: first reply p99, µs"),
    Column("device_checked_p99_us", "unknown devices, checked: first reply p99, µs"),
    Column("device_awaited_p50_us", "unknown devices, check awaited: first reply p50, µs"),
    Column("device_cut_p50_ms", "denial, until its clients see it, p50, ms", 2),
    Column("device_cut_p99_ms", "denial, until its clients see it, p99, ms", 2),
    *(
        Column(f"rate_{way}_{flows}_percent", f"rate {way}, {flows} sessions: error, %", 2)
        for way in ("down", "up")
        for flows in (1, 2, 8)
    ),
    Column("rate_faster_s", "rate made 3 times as high, until kept, s", 2),
    Column("rate_slower_s", "rate made a third, until kept, s", 2),
    Column("paced_cpu_s_per_gb", "processor time of a gigabyte, paced, s", 2),
    Column("slow_cpu_s_per_gb", "the same, not paced, as fast, s", 2),
    Column("full_cpu_s_per_gb", "the same, not paced, as fast as it goes, s", 2),
    Column("outbound_warm_us", "first reply, upstream in use, µs"),
    Column("outbound_first_us", "first reply, upstream just named, µs"),
    Column("report_few_us", "report of 100 services among 1,000, µs"),
    Column("report_many_us", "report of 100 services among 100,000, µs"),
    Column("snapshot_delta_ms", "one policy of 100,000, ms", 3),
    Column("snapshot_stall_ms", "whole snapshot: longest hold of the loop, ms", 2),
    Column("snapshot_seconds", "whole snapshot: until it holds, s", 2),
    Column("snapshot_rtt_quiet_p99_us", "round trip p99, no snapshot, µs"),
    Column("snapshot_rtt_p99_us", "round trip p99, snapshots, µs"),
    Column("snapshot_rtt_p50_ratio", "round trip p50, snapshots, to none", 2),
    Column("snapshot_all_stall_ms", "whole snapshot, all changed: longest hold of the loop, ms", 2),
    Column("snapshot_all_seconds", "whole snapshot, all changed: until it holds, s", 2),
    Column("urgent_rules_ms", "disable a service behind 25,000 rules, until its client sees it, ms"),
    Column("urgent_services_ms", "the same, behind 100,000 services that change, ms"),
    Column("crowd_stall_ms", "evict 8,000: longest hold of the loop, ms"),
    Column("crowd_call_ms", "evict 8,000: the call, ms"),
    Column("crowd_seconds", "evict 8,000: until none lives, s", 2),
    Column("listeners_stall_ms", "1,000 listeners opened by a snapshot: longest hold of the loop, ms", 2),
    Column("listeners_ms", "1,000 listeners opened by a snapshot: until it holds, ms"),
    Column("listeners_move_stall_ms", "1,000 listeners move: longest hold of the loop, ms", 2),
    Column("listeners_remove_stall_ms", "one service of them removed: longest hold of the loop, ms", 2),
    Column("listeners_remove_ms", "one service of them removed: until it holds, ms", 2),
    Column("listeners_close_stall_ms", "1,000 listeners closed at a drain: longest hold of the loop, ms", 2),
    *(
        Column(f"scaling_{peer}_{cores}_{what}", f"{title}, {name} with {cores}", digits)
        for what, title, digits in (("sessions", "new sessions a second", 0), ("bulk", "bulk echo, Gbit/s", 2))
        for peer, name in (("trioedge", "trioedge"), ("haproxy", "HAProxy"))
        for cores in (1, 2)
    ),
    Column("scaling_haproxy_sessions_ratio", "2 threads of HAProxy, to 1: sessions a second", 2),
    Column("scaling_haproxy_bulk_ratio", "2 threads of HAProxy, to 1: bulk", 2),
    *(
        Column(
            f"flood_{rate}_{sources}_{workers}_ratio",
            f"gate of {rate} a second, {sources:,} sources, {workers} workers: admitted, to allowed",
            4,
        )
        for workers in (2, 4)
        for rate in (1000, 2)
        for sources in (1, 100, 10_000)
    ),
    Column("flows_down_percent", "rate down over 8 addresses and 2 workers: error, %", 2),
    Column("flows_up_percent", "rate up over 8 addresses and 2 workers: error, %", 2),
    Column("restart_worst_ms", "10 restarts under load: longest wait for a first reply, ms"),
    Column("restart_seconds", "10 restarts under load: the longest of them, s", 2),
    Column("restart_sessions", "10 restarts under load: sessions", 0),
    Column("kill_own", "5 workers killed under load: sessions that they had", 0),
    Column("kill_worst_ms", "5 workers killed under load: longest wait for a first reply, ms"),
    Column("kill_sessions", "5 workers killed under load: sessions", 0),
    *(
        Column(f"fan_out_{change}_{name}", f"100,000 services to 4 workers, {said}: {title}", digits)
        for change, said in (("new", "all new"), ("all", "all changed"), ("one", "one changed"))
        for name, title, digits in (
            ("control_ms", "longest hold of the control process, ms", 2),
            ("worker_ms", "longest hold of a worker, ms", 2),
            ("seconds", "until the last one has it, s", 1),
        )
    ),
    Column("readers_quiet_p50_us", "2 workers, no reader: connect + first reply p50, µs"),
    Column("readers_p50_us", "2 workers, metrics, dashboard and top: the same, µs"),
    Column("readers_quiet_p999_us", "2 workers, no reader: connect + first reply p99.9, µs"),
    Column("readers_p999_us", "2 workers, metrics, dashboard and top: the same, µs"),
    Column("readers_quiet_worker_ms", "2 workers, no reader: longest hold of a worker, ms", 2),
    Column("memory_two_mib", "memory of 2 workers, their parent and the control process, MiB"),
    Column("memory_alone_mib", "memory of one process alone, MiB"),
    Column("check_ms", "trioedge check, wall time, ms", 0),
    Column("import_trio_ms", "import trio, wall time, ms", 0),
    Column("snapshot_http_stall_ms", "whole snapshot over HTTP: longest hold of the loop, ms", 2),
    Column("snapshot_http_seconds", "whole snapshot over HTTP: until it holds, s", 2),
    Column("snapshot_http_rtt_quiet_p99_us", "round trip p99, no snapshot over HTTP, µs"),
    Column("snapshot_http_rtt_p99_us", "round trip p99, snapshots over HTTP, µs"),
    Column("snapshot_http_rtt_p50_ratio", "round trip p50, snapshots over HTTP, to none", 2),
)


def metrics_table(results: Results, plan: Plan) -> Table:
    """Medians with their quartiles, and how many times those of the baseline they are."""
    table = Table(
        title=f"Medians of {plan.rounds} rounds of {plan.turns} turns, all on core {plan.core}", title_justify="left"
    )
    for heading in ("what", "peer"):
        table.add_column(heading, no_wrap=True)
    for heading in ("median", "middle half", "to baseline"):
        table.add_column(heading, justify="right", no_wrap=True)
    rows = 0
    for column in METRICS:
        what = column.title
        peers = results.raw.get(column.metric, {})
        if peers and max(rows, len(peers)) > 1:
            table.add_section()
        rows = len(peers) or rows
        for peer in (name for name in PEERS if name in peers):
            spread = results.spread(column.metric, peer)
            assert spread is not None
            against = "trioedge-bare" if column.metric.startswith("handshaken") else BASELINE.get(peer, "haproxy")
            times = results.ratio(column.metric, peer, against)
            compared = times is not None and "ratio" not in column.metric
            table.add_row(
                what,
                PEERS[peer].label,
                f"{spread.median:,.{column.digits}f}",
                f"{spread.low:,.{column.digits}f} - {spread.high:,.{column.digits}f}",
                f"{times.median:.2f}" if times and compared else "",
            )
            what = ""
    return table


def bars_table(verdicts: Sequence[Verdict]) -> Table:
    """The bars beside the figures."""
    table = Table(title="trioedge against its bars", title_justify="left")
    table.add_column("what", no_wrap=True)
    for heading in ("found", "middle half", "bar", "aim", "unit"):
        table.add_column(heading, justify="right", no_wrap=True)
    table.add_column("verdict", no_wrap=True)
    for verdict in verdicts:
        sign = "≤" if verdict.better == "lower" else "≥"
        said = f"[{'green' if verdict.reached else 'red'}]{verdict.said}[/]"
        table.add_row(
            verdict.title,
            f"{verdict.value.median:.2f}",
            f"{verdict.value.low:.2f} - {verdict.value.high:.2f}",
            f"{sign} {verdict.bar:g}",
            f"{sign} {verdict.aim:g}",
            verdict.unit,
            said,
        )
    return table


def remarks(bench: Bench, *, quick: bool) -> list[str]:
    """What else a reader of the tables must know."""
    plan = bench.plan
    how_much = (
        f"{bench.seconds:.0f} seconds; idle, evict, decisions and what follows {plan.slow_rounds} rounds; "
        f"{plan.idle_sessions:,} idle sessions; few is {plan.evict_few:,} sessions, "
        f"many {plan.evict_many:,}; {bench.stolen:.1%} of the core's time went to other machines"
    )
    said = [how_much]
    if quick:
        said.append("[yellow]a quick run: its figures are rough, and its bars are no verdict[/]")
    said += [f"[yellow]{name}: {why}, left out[/]" for name, why in bench.left_out.items()]
    said += [f"[red]failed[/]  {failure}" for failure in bench.failures]
    return said


def console() -> Console:
    """Colours on a terminal, plain lines of a fixed width in a pipe."""
    found = Console(highlight=False)
    return found if found.is_terminal else Console(highlight=False, width=160)
