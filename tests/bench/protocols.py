"""What handshakes cost: sessions a second through each protocol, bytes behind it, memory, TLS, and requests."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from tests.bench.measures import SETTLE_SECONDS, Client, Values, answer, percentiles
from tests.bench.plan import Measure, Plan
from tests.bench.processes import pinned
from tests.bench.programs import Running


def fast(measure: Measure, load: Path, peer: Running, plan: Plan) -> Values:
    """One measurement that needs nothing but a running peer."""

    def ask(program: str, command: str, *more: float, plan: Plan = plan) -> Mapping[str, Any]:
        arguments = [str(peer.port), str(plan.seconds), str(plan.warmup), *map(str, more)]
        return answer([str(load.with_name(program)), command, *arguments], plan, env=peer.talk)

    match measure:
        case "handshakes":
            return {
                **percentiles("handshake", ask("load", "connect")),
                "handshakes_alone_per_s": ask("load", "sessions", 1)["per_second"],
                "handshakes_per_s": ask("load", "sessions", plan.concurrency)["per_second"],
            }
        case "handshaken":
            return {
                **percentiles("handshaken_rtt", ask("load", "rtt")),
                "handshaken_bulk_gbit_per_s": ask("load", "bulk")["gbit_per_second"],
            }
        case "tls":
            connects = ask("tls", "connect")
            return {
                **percentiles("tls_connect", connects),
                "tls_handshakes_per_s": connects["count"] / plan.seconds,
                **percentiles("tls_rtt", ask("tls", "rtt")),
                "tls_bulk_gbit_per_s": ask("tls", "bulk")["gbit_per_second"],
            }
        case "requests":
            brief = replace(plan, seconds=plan.seconds / 2, warmup=plan.warmup / 2)  # hypercorn closes after 1,000
            requests = ask("load", "rtt", plan=brief)
            return {**percentiles("request", requests), "requests_per_s": requests["count"] / brief.seconds}
        case _:
            raise AssertionError(f"{measure} is none of these")


def memory(measure: Measure, load: Path, peer: Running, plan: Plan) -> Values:
    """Memory of a session behind its handshake, or in the middle of it."""
    if measure == "tls_memory":
        return {"tls_kib_per_session": _kib(load.with_name("tls"), peer, "open", plan.tls_sessions, plan)}
    line = "half" if measure == "half" else "open"
    return {f"{measure}_kib_per_session": _kib(load, peer, line, plan.talking_sessions, plan)}


def _kib(program: Path, peer: Running, line: str, count: int, plan: Plan) -> float:
    """KiB of a client, of `count`. The first ones are not counted, because what is allocated once is no client's."""
    with pinned([str(program), "idle", str(peer.port)], plan.core, env=peer.talk, talks=True) as child:
        client = Client(child)
        first = count // 10
        client.ask(f"{line} {first}")
        time.sleep(SETTLE_SECONDS)
        before = peer.kib()
        client.ask(f"{line} {count - first}")
        time.sleep(SETTLE_SECONDS)
        after = peer.kib()
        if line == "open":
            client.ask("check")
    return (after - before) / (count - first)
