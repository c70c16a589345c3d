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

BASELINE = {"haproxy-refuse": "haproxy-refuse", "trioedge-refuse": "haproxy-refuse"}
"""Who a peer's figures are divided by; HAProxy without limits where nothing is said."""


@dataclass(frozen=True)
class Column:
    """A metric and how it reads."""

    metric: str
    title: str
    digits: int = 1


METRICS = (
    Column("rtt_p50_us", "round trip p50, µs"),
    Column("rtt_p99_us", "round trip p99, µs"),
    Column("connect_p50_us", "connect + first reply p50, µs"),
    Column("connect_p99_us", "connect + first reply p99, µs"),
    Column("connect_quiet_p50_us", "the same with pauses, p50, µs"),
    Column("connect_quiet_p99_us", "the same with pauses, p99, µs"),
    Column("sessions_per_s", "new sessions a second", 0),
    Column("refusals_per_s", "refusals a second", 0),
    Column("bulk_gbit_per_s", "bulk echo, Gbit/s", 2),
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
)


def metrics_table(results: Results, plan: Plan) -> Table:
    """Medians with their quartiles, and how many times HAProxy's they are."""
    table = Table(
        title=f"Medians of {plan.rounds} rounds of {plan.turns} turns, all on core {plan.core}", title_justify="left"
    )
    for heading in ("what", "peer"):
        table.add_column(heading, no_wrap=True)
    for heading in ("median", "middle half", "to HAProxy"):
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
            times = results.ratio(column.metric, peer, BASELINE.get(peer, "haproxy"))
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
    """What was promised beside what was found."""
    table = Table(title="trioedge against its bars", title_justify="left")
    table.add_column("what", no_wrap=True)
    for heading in ("found", "middle half", "bar", "aim", "unit"):
        table.add_column(heading, justify="right", no_wrap=True)
    table.add_column("verdict", no_wrap=True)
    for verdict in verdicts:
        sign = "≤" if verdict.better == "lower" else "≥"
        if verdict.reached:
            said = "[green]reached, and the aim[/]" if verdict.aim_reached else "[green]reached[/]"
        else:
            said = "[red]missed[/]"
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
        f"{bench.seconds:.0f} seconds; idle, evict and decisions {plan.slow_rounds} rounds; "
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
    return found if found.is_terminal else Console(highlight=False, width=140)
