from typing import Any

import pytest
import trio

from tests.strategies import make_session
from trioedge.session.session import Session
from trioedge.session.stage import Decision, Endpoint, Handler, Middleware, Worker, decision, middleware
from trioedge.session.verdict import CONTINUE, Completed, Outcome, Reason, Reject, Verdict


def no_unix(session: Session) -> Verdict:
    return Reject(Reason.POLICY, "unix") if session.source == "unix" else CONTINUE


async def never(session: Session, call_next: Handler) -> Outcome:
    return Reject(Reason.POLICY)


async def finish(session: Session) -> Outcome:
    return Completed()


class Working:
    async def run(self, *, task_status: trio.TaskStatus[None]) -> None:
        task_status.started()


def test_a_lifted_decision_is_tested_as_the_function_it_is() -> None:
    stage = decision(no_unix)
    assert stage(make_session()) is CONTINUE
    assert stage(make_session(source="unix")) == Reject(Reason.POLICY, "unix")
    assert stage.decide is no_unix


async def test_a_lifted_middleware_is_tested_as_the_function_it_is() -> None:
    stage = middleware(never)
    assert await stage(make_session(), finish) == Reject(Reason.POLICY)
    assert stage.handle is never


@pytest.mark.parametrize(("lift", "function"), [(decision, no_unix), (middleware, never)])
def test_a_function_says_what_it_needs_and_names_or_neither(lift: Any, function: Any) -> None:
    plain, said = lift(function), lift(requires=("service",), provides=("destination",))(function)
    assert (plain.requires, plain.provides) == ((), ())
    assert (said.requires, said.provides) == (("service",), ("destination",))
    assert lift()(function) == plain


def test_a_lifted_function_prints_as_it_is_written() -> None:
    assert repr([decision(no_unix), middleware(never)]) == "[decision(no_unix), middleware(never)]"


@pytest.mark.parametrize(
    ("part", "shapes"),
    [
        (decision(no_unix), {Decision}),
        (middleware(never), {Middleware, Endpoint}),  # a protocol compares names; the chain compares arguments
        (Working(), {Worker}),
        (no_unix, set()),
    ],
)
def test_a_part_is_told_by_its_shape(part: object, shapes: set[type]) -> None:
    assert {shape for shape in (Decision, Middleware, Endpoint, Worker) if isinstance(part, shape)} == shapes
