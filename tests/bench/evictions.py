"""Time to evict three sessions out of few and out of many, asked of two edges in turn."""

from __future__ import annotations

import socket
import statistics
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from tests.bench.measures import Client, Values
from tests.bench.plan import Plan
from tests.bench.processes import pinned, python

NAMES = {"relaying": "evict", "connecting": "evict_connecting"}
"""What sessions do while they are evicted, and how its metrics begin."""


def evict(echo: Path, plan: Plan) -> Values:
    """Microseconds of an eviction, of three sessions of few and of many, relaying and still connecting."""
    with answering(echo, plan) as echoing, silent() as mute:
        return _pair("relaying", echoing, plan) | _pair("connecting", mute, plan)


def _pair(kind: str, upstream: int, plan: Plan) -> Values:
    """Medians over the turns; the ratio is of turns that followed each other at once."""
    name, answers = NAMES[kind], []
    with ExitStack() as stack:
        edges = []
        for count in (plan.evict_few, plan.evict_many):
            command = python("tests.bench.evict", str(upstream), str(count), kind)
            edges.append(Client(stack.enter_context(pinned(command, plan.core, talks=True))))
            edges[-1].read("held")
        for turn in range(1 + plan.evict_turns):
            few, many = (edge.ask("evict") for edge in edges)
            if turn:  # the first runs code that the interpreter has not specialised yet
                answers.append((few["call_us"], many["call_us"], few["seen_us"], many["seen_us"]))
    few_us, many_us, few_seen, many_seen = zip(*answers, strict=True)
    return {
        f"{name}_few_us": statistics.median(few_us),
        f"{name}_many_us": statistics.median(many_us),
        f"{name}_ratio": _ratio(many_us, few_us),
        f"{name}_few_seen_us": statistics.median(few_seen),
        f"{name}_many_seen_us": statistics.median(many_seen),
        f"{name}_seen_ratio": _ratio(many_seen, few_seen),
    }


def _ratio(values: tuple[float, ...], others: tuple[float, ...]) -> float:
    return statistics.median(value / other for value, other in zip(values, others, strict=True))


@contextmanager
def answering(echo: Path, plan: Plan) -> Iterator[int]:
    """The port of an upstream that echoes."""
    with pinned([str(echo)], plan.core, talks=True) as server:
        assert server.stdout is not None
        yield int(server.stdout.readline())


@contextmanager
def silent() -> Iterator[int]:
    """The port of an upstream whose backlog is full: Linux drops each SYN, without an answer."""
    with ExitStack() as stack:
        listener = stack.enter_context(socket.socket())
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        for _ in range(3):
            filler = stack.enter_context(socket.socket())
            filler.setblocking(False)
            filler.connect_ex(listener.getsockname())
        yield int(listener.getsockname()[1])
