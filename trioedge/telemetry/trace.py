"""What each stage decided, and how long it took: for one session, and over all of them.

Times are counted in buckets of powers of two, which costs a stage half a microsecond at most. A session's own
trace has the nanoseconds of every stage that it has passed, and of a decision that refused it their complement, which
is below 0: a middleware or an endpoint that refuses has not been passed.
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
        counts: ``counts[n]`` sessions took less than ``2 ** n`` nanoseconds, and not less than half of that.
    """

    stage: str
    counts: tuple[int, ...]

    @property
    def sessions(self) -> int:
        """How many sessions came to it."""
        return sum(self.counts)

    def below(self, part: float) -> float:
        """Give the microseconds that `part` of the sessions, 0 to 1, took less than; to a factor of two. 0 for none."""
        wanted, seen = part * self.sessions, 0
        for bucket, count in enumerate(self.counts):
            seen += count
            if count and seen >= wanted:
                return float(2**bucket) / 1e3
        return 0.0


@attrs.frozen(slots=True)
class Step:
    """One stage that a session came to.

    Attributes:
        stage: its name.
        answer: ``continue``; or of the stage that the session came to last what it is doing there, or how it ended as
            ``reason: detail``; ``connected`` of an endpoint that carries it, or did.
        microseconds: how long it took. For a middleware until it called the rest of the chain; for the endpoint from
            accept to the first byte it could carry; None where it is still at it, or never came so far.
    """

    stage: str
    answer: str
    microseconds: float | None

    @property
    def took(self) -> str:
        """Write the time, or nothing where there is none."""
        return "" if self.microseconds is None else f"{self.microseconds:.1f} µs"


@attrs.frozen(slots=True)
class Explanation:
    """How a session came to be where it is.

    Attributes:
        session: its id.
        service: its service.
        source: its address.
        steps: the stages that it came to, in order.
        phase: what it is doing, or ``ended``.
        pacing: who keeps its rates, as in :attr:`Session.pacing`.
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
    """Put together what a session's trace says. Costs nothing before it is asked."""
    names = outline.names
    ended = session.outcome
    at_last = session.phase if ended is None else _words(ended.reason, ended.detail)
    steps: list[Step] = []
    if session.trace is not None:  # it came to the first stage
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
    """Give the times of every stage of a chain, in order."""
    return [StageTimes(name, tuple(each)) for name, each in zip(outline.names, counts, strict=False)]
