"""Explain a session stage by stage, and give the times of each stage over all sessions.

Times are counted in buckets of powers of two, which costs at most 0.5 µs a stage. The trace of a session has the
nanoseconds of every stage that the session has passed. For a decision that refused the session it has the complement
(``~ns``, below 0). A middleware or an endpoint that refuses has no entry.
"""

from collections.abc import Sequence

import attrs

from ..session.outline import Outline
from ..session.session import Session
from ..structures.times import BUCKETS, TOTAL


@attrs.frozen(slots=True)
class StageTimes:
    """The times of one stage, over all sessions that reached it.

    Attributes:
        stage: its name.
        counts: ``counts[n]`` sessions took less than ``2 ** n`` nanoseconds and at least half of that.
        nanoseconds: that all of them took together.
    """

    stage: str
    counts: tuple[int, ...]
    nanoseconds: int = 0

    @property
    def sessions(self) -> int:
        """How many sessions reached the stage."""
        return sum(self.counts)

    def below(self, part: float) -> float:
        """Give a quantile of the times in microseconds, rounded up to a power of two of nanoseconds.

        Args:
            part: of the sessions, from 0 to 1; 0.5 gives the median.

        Returns:
            A time that `part` of the sessions took less than; 0 if no session reached the stage.
        """
        wanted, seen = part * self.sessions, 0
        for bucket, count in enumerate(self.counts):
            seen += count
            if count and seen >= wanted:
                return float(2**bucket) / 1e3
        return 0.0


@attrs.frozen(slots=True)
class Step:
    """One stage that a session reached.

    Attributes:
        stage: its name.
        answer: ``continue`` for a stage that the session passed; ``connected`` for an endpoint that connected it;
            otherwise, for the last stage, the session's phase or its outcome as ``reason: detail``.
        microseconds: the time that the stage took: for a middleware, until it called the rest of the chain; for the
            endpoint, from accept until the upstream was connected. None if the stage has not come so far.
    """

    stage: str
    answer: str
    microseconds: float | None

    @property
    def took(self) -> str:
        """The time as text, or empty if there is none."""
        return "" if self.microseconds is None else f"{self.microseconds:.1f} µs"


@attrs.frozen(slots=True)
class Explanation:
    """The way of one session through the chain.

    Attributes:
        session: the session's id.
        service: the name of its service.
        source: the client's address.
        steps: the stages that the session reached, in order.
        phase: as in :attr:`Session.phase`; ``ended`` for a session that has ended.
        pacing: as in :attr:`Session.pacing`.
        outcome: ``reason: detail``; empty while the session lives.
    """

    session: int
    service: str
    source: str
    steps: tuple[Step, ...]
    phase: str
    pacing: str
    outcome: str

    def __str__(self) -> str:
        """Write a heading, and a line for each step."""
        head = f"session {self.session} of {self.service} from {self.source}: {self.outcome or self.phase}"
        width = max((len(step.stage) for step in self.steps), default=0)
        return "\n".join([head, *(f"  {step.stage:<{width}}  {step.took:>10}  {step.answer}" for step in self.steps)])


def explain(session: Session, outline: Outline) -> Explanation:
    """Explain a session from its trace. A session that is not explained costs no more than its trace."""
    names = outline.names
    ended = session.outcome
    at_last = session.phase if ended is None else _words(ended.reason, ended.detail)
    steps: list[Step] = []
    if session.trace is not None:  # it reached the first stage
        for name, took in zip(names, session.trace, strict=False):
            steps.append(Step(name, "continue", took / 1e3) if took >= 0 else Step(name, at_last, ~took / 1e3))
        if len(steps) < len(names) and min(session.trace, default=0) >= 0:
            began = None if session.carrier is None else session.carrier.began_at
            waited = None if began is None else (began - session.started_at) * 1e6
            steps.append(Step(names[len(steps)], at_last if began is None else "connected", waited))
    return Explanation(
        session.id,
        session.service.name,
        session.source,
        tuple(steps),
        session.phase,
        session.pacing,
        "" if ended is None else at_last,
    )


def refusing_stage(trace: Sequence[int] | None, names: Sequence[str]) -> str:
    """Name the stage that refused a session; empty where the edge itself did, because it has too many sessions.

    Args:
        trace: of the session; None if it reached no stage.
        names: of the parts of its chain.
    """
    if trace is None:
        return ""
    place = len(trace) - 1 if trace and trace[-1] < 0 else len(trace)
    return names[place] if place < len(names) else ""


def _words(reason: str, detail: str) -> str:
    return f"{reason}: {detail}" if detail else str(reason)


def stage_times(outline: Outline, counts: Sequence[Sequence[int]]) -> Sequence[StageTimes]:
    """Give the times of every stage of a chain, in order; empty if the chain has no clock."""
    return [
        StageTimes(name, tuple(each[:BUCKETS]), each[TOTAL]) for name, each in zip(outline.names, counts, strict=False)
    ]
