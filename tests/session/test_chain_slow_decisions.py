from structlog.testing import capture_logs
from structlog.typing import EventDict

import trioedge as te
from trioedge.session.chain import SLOW_NANOSECONDS, open_chain, warn_of_slow
from trioedge.session.outline import outline
from trioedge.testing import make_context, make_session

MS = 1_000_000
REFUSED = te.Reject(te.Reason.POLICY)


class Stage:
    """A decision that takes some time on a clock of its own, and answers."""

    def __init__(self, clock: list[int], milliseconds: float, verdict: te.Verdict = te.CONTINUE) -> None:
        self.clock, self.took, self.verdict = clock, int(milliseconds * 1e6), verdict

    def decide(self, session: te.Session) -> te.Verdict:
        self.clock[0] += self.took
        return self.verdict


class Slow(Stage): ...


class Slower(Stage): ...


class Unnamed(Stage):
    def decide(self, session: te.Session) -> te.Verdict:
        session.service = ""
        return super().decide(session)


async def end(session: te.Session) -> te.Outcome:
    return te.Completed()


async def warned(clock: list[int], *stages: object) -> list[EventDict]:
    """Run a session through a chain whose clock only its stages move, and give the warnings."""

    def now() -> int:
        return clock[0]

    chain = open_chain(outline(stages, end), make_context(), clock=now)
    with capture_logs() as logs:
        await chain(make_session())
    return logs


async def test_a_slow_decision_is_named_with_its_milliseconds() -> None:
    clock = [0]
    assert await warned(clock, Stage(clock, 50), Slow(clock, 50.6), Stage(clock, 1)) == [
        {"event": "a stage is slow, and every client waits for it", "stage": "Slow", "ms": 51, "log_level": "warning"}
    ]


async def test_each_slow_decision_is_named_also_where_it_or_a_later_one_refuses() -> None:
    clock = [0]
    lines = await warned(clock, Slow(clock, 100), Stage(clock, 1), Slower(clock, 2000, REFUSED), Stage(clock, 900))
    assert [(line["stage"], line["ms"]) for line in lines] == [("Slow", 100), ("Slower", 2000)]
    lines = await warned(clock, Slow(clock, 100), Stage(clock, 1, REFUSED))
    assert [line["stage"] for line in lines] == ["Slow"]


async def test_a_slow_decision_whose_service_is_refused_is_named() -> None:
    clock = [0]
    lines = await warned(clock, Unnamed(clock, 80), Slow(clock, 80))
    assert [line["stage"] for line in lines] == ["Unnamed"]


async def test_quick_decisions_that_are_slow_together_are_not_named() -> None:
    clock = [0]
    assert await warned(clock, *(Stage(clock, 20) for _ in range(10))) == []


async def test_behind_a_middleware_which_may_wait_each_decision_has_its_own_time() -> None:
    clock = [0]

    @te.middleware
    async def slow_itself(session: te.Session, call_next: te.Handler) -> te.Outcome:
        clock[0] += 500 * MS
        return await call_next(session)

    lines = await warned(clock, Stage(clock, 1), slow_itself, Slow(clock, 60), Stage(clock, 1))
    assert [line["stage"] for line in lines] == ["Slow"]


async def test_times_without_a_log_or_at_the_bound_are_nothing() -> None:
    warn_of_slow([Stage([0], 0)], [10 * SLOW_NANOSECONDS], None)
    with capture_logs() as logs:
        warn_of_slow([Stage([0], 0)] * 2, [SLOW_NANOSECONDS, ~SLOW_NANOSECONDS], make_context().log)
    assert logs == []
