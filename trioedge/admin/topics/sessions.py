"""The live sessions of an edge, page by page by their ids."""

from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from operator import attrgetter
from typing import Any, Final

from ...addresses.source_prefix import parse_span
from ...loop.slices import Stepwise
from ...services.registry import ids_of
from ...session.session import Session
from ..asking import Answers, Parameters
from ..local import Local
from ..shapes import COUNT, NUMBER, TEXT, or_null, page, table
from ..smallest import smallest

SESSION: Final = table(
    id=COUNT, worker=COUNT, service=TEXT, source=TEXT, peer=TEXT, device=or_null(TEXT), listener=TEXT,
    upstream=or_null(TEXT), phase=TEXT, age_seconds=NUMBER, idle_seconds=or_null(NUMBER), bytes_up=COUNT,
    bytes_down=COUNT,
)  # fmt: skip

SESSIONS: Final = page(SESSION, COUNT)

ITEMS_A_STEP: Final = 8
"""Items that are written in one step, 3 to 5 µs each."""

SKIPS: Final = 64
"""Sessions that a filter leaves out in one step."""


def session_item(session: Session, worker: int, now: float) -> dict[str, Any]:
    """Give one session as the API has it; an ended one too.

    Args:
        session: the session.
        worker: the number of its worker.
        now: the edge's clock; of an ended session, when it ended.
    """
    carrier = session.carrier
    active_at = getattr(carrier, "active_at", None)
    return {
        "id": session.id,
        "worker": worker,
        "service": session.service.name,
        "source": session.source,
        "peer": session.peer,
        "device": session.device,
        "listener": session.listener,
        "upstream": None if session.upstream is None else str(session.upstream),
        "phase": session.phase,
        "age_seconds": round(max(0.0, now - session.started_at), 3),
        "idle_seconds": None if active_at is None else round(max(0.0, now - active_at), 3),
        "bytes_up": session.bytes_up,
        "bytes_down": session.bytes_down,
    }


def sessions_here(local: Local, parameters: Parameters) -> Stepwise[dict[str, Any]]:
    """Give a page of the sessions of this process: those above a cursor that all filters match, by their ids.

    A session that lives for as long as all pages are read is in one of them, and none is in two.
    """
    after, limit = parameters["after"] or 0, parameters["limit"]
    service, source, device = parameters["service"], parameters["source"], parameters["device"]
    span = None if source is None else parse_span(source)

    def wanted(session: Session) -> bool:
        return (
            session.id > after
            and session.outcome is None
            and (service is None or session.service.name == service)
            and (device is None or session.device == device)
            and (span is None or is_within(session, span))
        )

    if service is None and span is None:
        found = yield from _in_order(local, after, limit + 1, wanted)
    else:
        candidates: Iterable[Session] = (
            _of_service(local, service) if span is None else (yield from _of_source(local, source))
        )
        found = yield from smallest(candidates, limit + 1, attrgetter("id"), wanted)
    items, now = [], local.now()
    for number, session in enumerate(found[:limit]):
        items.append(session_item(session, local.number, now))
        if not number % ITEMS_A_STEP:
            yield
    return {"items": items, "next": items[-1]["id"] if len(found) > limit else None}


def merge_sessions(answers: Answers, parameters: Parameters) -> dict[str, Any]:
    """Merge the pages of all processes by id."""
    if len(answers.given) == 1:
        whole: dict[str, Any] = answers.values[0]
        return whole
    limit = parameters["limit"]
    merged = sorted((item for each in answers.values for item in each["items"]), key=lambda item: int(item["id"]))
    more = len(merged) > limit or any(each["next"] is not None for each in answers.values)
    items = merged[:limit]
    return {"items": items, "next": items[-1]["id"] if more and items else None}


def _in_order(local: Local, after: int, limit: int, wanted: Callable[[Session], bool]) -> Stepwise[list[Session]]:
    """Give the first sessions above a cursor that a filter wants."""
    ids = ids_of(local.run.supervisor.live)
    yield
    found: list[Session] = []
    for number, each in enumerate(islice(ids, bisect_right(ids, after), None)):
        session = local.sessions.get(each)
        if session is not None and wanted(session):
            found.append(session)
            if len(found) == limit:
                break
        if not number % SKIPS:
            yield
    return found


def _of_service(local: Local, name: str) -> Iterator[Session]:
    for service in local.services.named(name):
        yield from local.sessions.of(service)


def _of_source(local: Local, source: str) -> Stepwise[list[Session]]:
    found: list[Session] = []
    for sessions in local.run.supervisor.live.search(source=source):
        found += sessions
        yield
    return found


def is_within(session: Session, span: tuple[bytes, bytes]) -> bool:
    """Whether the client of a session has one of a range of addresses, the first and the last of one family."""
    first, last = span
    packed = session.source_bytes
    return first <= packed <= last and len(packed) == len(first)
