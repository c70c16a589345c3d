"""One session, alive or ended lately, and its explanation; the sessions that ended lately, with theirs."""

from collections.abc import Callable
from typing import Any, Final

from ...addresses.source_prefix import parse_span
from ...loop.slices import Stepwise
from ...session.session import Session
from ...session.verdict import Outcome, Reason, Reject
from ...telemetry.records import CAPACITY
from ...telemetry.trace import Explanation, Step, explain, refusing_stage
from ..asking import Answers, Parameters
from ..local import Local
from ..refusals import not_found
from ..shapes import NUMBER, TEXT, or_null, several, table
from .sessions import SESSION, is_within, session_item

STEP: Final = table(stage=TEXT, verdict=TEXT, detail=TEXT, micros=or_null(NUMBER))

EXPLANATION: Final = table(session=SESSION, outcome=TEXT, steps=several(STEP), says=TEXT)

ENDED: Final = table(
    **SESSION["properties"], kind={"type": "string", "enum": ["ended", "refused"]}, reason=TEXT, detail=TEXT,
    stage=TEXT, ended_at=NUMBER, seconds=NUMBER, steps=several(STEP),
)  # fmt: skip

RECENT: Final = table(items=several(ENDED), next={"type": "null"})

SIDES: Final = frozenset({Reason.FINISHED, Reason.RESET})
"""The ends of sessions that their client or their upstream ended; the edge refused or cut all others, or found no
upstream."""

SKIPS: Final = 64
"""Records that a filter leaves out in one step."""


def _step(step: Step) -> dict[str, Any]:
    verdict, _, detail = step.answer.partition(": ")
    return {
        "stage": step.stage,
        "verdict": verdict,
        "detail": detail,
        "micros": None if step.microseconds is None else round(step.microseconds, 3),
    }


def explain_here(local: Local, parameters: Parameters) -> Stepwise[dict[str, Any] | None]:
    """Explain a session of this process; None for one that it does not know."""
    yield
    run, wanted = local.run, parameters["id"]
    session, now = local.sessions.get(wanted), local.now()
    if session is None and run.sessions is not None:
        session = next((each for each in run.sessions.recent if each.id == wanted), None)
    if session is None:
        return None
    if session.outcome is not None:
        ends = run.log.ends
        for number in range(max(0, ends.total - CAPACITY), ends.total):
            if ends.fields(number)[0] is session:
                now = ends.fields(number)[2]
    explanation = explain(session, local.description.outline)
    return {
        "session": session_item(session, local.number, now),
        "outcome": explanation.outcome,
        "steps": [_step(each) for each in explanation.steps],
        "says": str(explanation),
    }


def merge_explained(answers: Answers, parameters: Parameters) -> dict[str, Any]:
    """Give the explanation of the process that knows the session."""
    found: dict[str, Any] | None = next((each for each in answers.values if each is not None), None)
    if found is None:
        raise not_found(f"there is no session {parameters['id']}, neither live nor among the last that ended")
    return found


def ended_item(local: Local, session: Session, outcome: Outcome, ended_at: float) -> dict[str, Any]:
    """Give one session that has ended. Takes 10 µs."""
    explanation: Explanation = explain(session, local.description.outline)
    refused = type(outcome) is Reject
    return session_item(session, local.number, ended_at) | {
        "idle_seconds": None,
        "kind": "refused" if refused else "ended",
        "reason": str(outcome.reason),
        "detail": outcome.detail,
        "stage": refusing_stage(session.trace, local.description.outline.names) if refused else "",
        "ended_at": local.unix_time(ended_at),
        "seconds": round(ended_at - session.started_at, 3),
        "steps": [_step(each) for each in explanation.steps],
    }


def recent_here(local: Local, parameters: Parameters) -> Stepwise[list[dict[str, Any]]]:
    """Give the sessions of this process that ended last, the latest first, of those that all filters match."""
    wanted, ends, items = _filter(parameters), local.run.log.ends, list[dict[str, Any]]()
    last = ends.total
    for number in range(last - 1, -1, -1):
        if number < ends.total - CAPACITY or ends.total < last:  # dropped meanwhile
            break
        session, outcome, ended_at = ends.fields(number)
        if wanted(session, outcome):
            items.append(ended_item(local, session, outcome, ended_at))
            if len(items) == parameters["limit"]:
                break
            if not len(items) % 4:
                yield
        if not number % SKIPS:
            yield
    return items


def merge_recent(answers: Answers, parameters: Parameters) -> dict[str, Any]:
    """Merge the ends of all processes by their time."""
    items = [item for each in answers.values for item in each]
    if len(answers.given) > 1:
        items.sort(key=lambda item: -item["ended_at"])
    return {"items": items[: parameters["limit"]], "next": None}


def _filter(parameters: Parameters) -> Callable[[Session, Outcome], bool]:
    service, reason, kind, source = (parameters[name] for name in ("service", "reason", "kind", "source"))
    span = None if source is None else parse_span(source)

    def is_of_kind(outcome: Outcome) -> bool:
        if kind == "failed":
            return outcome.reason not in SIDES
        return (kind == "refused") is (type(outcome) is Reject)

    def wanted(session: Session, outcome: Outcome) -> bool:
        return (
            (service is None or session.service.name == service)
            and (reason is None or outcome.reason == reason)
            and (kind is None or is_of_kind(outcome))
            and (span is None or is_within(session, span))
        )

    return wanted
