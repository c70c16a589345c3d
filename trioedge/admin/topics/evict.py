"""Evictions: live sessions that are cut."""

from typing import Any, Final

from ...loop.slices import Stepwise
from ...session.verdict import Reason
from ..asking import Answers, Parameters
from ..local import Local
from ..refusals import not_found
from ..shapes import COUNT, table

EVICTED: Final = table(evicted=COUNT)


def evict_here(local: Local, parameters: Parameters) -> Stepwise[int]:
    """Cut the sessions of this process that match all that is named, and count those that were marked at once."""
    yield
    live = local.run.supervisor.live
    named = {name: parameters.get(name) for name in ("service", "source", "device", "session")}
    return live.evictions.search(live.search(**named), Reason.EVICTED)


def merge_evicted(answers: Answers, parameters: Parameters) -> dict[str, Any]:
    """Add the counts up."""
    return {"evicted": sum(answers.values)}


def evict_one_here(local: Local, parameters: Parameters) -> Stepwise[int]:
    """Cut the session of an id."""
    return (yield from evict_here(local, {"session": parameters["id"]}))


def merge_evicted_one(answers: Answers, parameters: Parameters) -> dict[str, Any]:
    """Give the count, which must not be 0."""
    if not sum(answers.values):
        raise not_found(f"there is no live session {parameters['id']}")
    return {"evicted": 1}
