"""The answer and the time of each stage, for one session and over all sessions.

Times are counted in buckets of powers of two, which costs half a microsecond a stage at most. A session's own trace
has the nanoseconds of every stage that it has passed, and the complement of those of a decision that refused it, which
is below 0. It has no entry for a middleware or an endpoint that refused it.
"""

from collections.abc import Sequence

import attrs

from ..session.chain import Outline
from ..session.session import Session


@attrs.frozen(slots=True)
class StageTimes:
    """How long a stage took, over all sessions that came to it.

    Attributes:
        stage: its name.
        counts: ``counts[n]`` sessions took from ``2 ** (n - 1)`` to less than ``2 ** n`` nanoseconds.
    """

    stage: str
    counts: tuple[int, ...]

    @property
    def sessions(self) -> int:
        """How many sessions reached it."""
        return sum(self.counts)

    def below(self, part: float) -> float:
        """Give an upper bound of the times of a part of the sessions, the fastest, to a factor of two.

        Args:
            part: 0 to 1; 0.99 for the 99th percentile.

        Returns:
            Microseconds; 0 without sessions.
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
        answer: ``continue`` of a stage that the session has passed, and ``connected`` of an endpoint that had its
            upstream. Of the last stage otherwise: the session's phase, or how it ended as ``reason: detail``.
        microseconds: its time. Of a middleware, until it called the rest of the chain; of the endpoint, from accept to
            the first byte that it could carry; None if that has not happened.
    """

    stage: str
    answer: str
    microseconds: float | None

    @property
    def took(self) -> str:
        """The time as text; empty if there is none."""
        return "" if self.microseconds is None else f"{self.microseconds:.1f} µs"


@attrs.frozen(slots=True)
class Explanation:
    """How a session came to be where it is.

    Attributes:
        session: its id.
        service: its service.
        source: its address.
        steps: the stages that it reached, in order.
        phase: as in :attr:`Session.phase`.
        pacing: as in :attr:`Session.pacing`.
        outcome: how it ended as ``reason: detail``; empty while it lives.
    """

    session: int
    service: str
    source: str
    steps: tuple[Step, ...]
    phase: str
    pacing: str
    outcome: str

    def __str__(self) -> str:
        """Write a line for each step."""
        head = f"session {self.session} of {self.service} from {self.source}: {self.outcome or self.phase}"
        width = max((len(step.stage) for step in self.steps), default=0)
        return "\n".join([head, *(f"  {step.stage:<{width}}  {step.took:>10}  {step.answer}" for step in self.steps)])


def explain(session: Session, outline: Outline) -> Explanation:
    """Explain a session by its trace; nothing is computed before this is called.

    Args:
        session: one that lives or has ended.
        outline: the chain that it went through.
    """
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


def _words(reason: str, detail: str) -> str:
    return f"{reason}: {detail}" if detail else str(reason)


def stage_times(outline: Outline, counts: Sequence[Sequence[int]]) -> Sequence[StageTimes]:
    """Give the times of every stage of a chain, in order; none for a chain without a clock.

    Args:
        outline: the chain.
        counts: as in :attr:`Chain.counts`.
    """
    return [StageTimes(name, tuple(each)) for name, each in zip(outline.names, counts, strict=False)]
