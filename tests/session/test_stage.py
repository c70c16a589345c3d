from functools import partial
from typing import Any

import attrs
import pytest
import trio

from trioedge.session.session import Session
from trioedge.session.stage import (
    Closing,
    Decision,
    Endpoint,
    Facts,
    Handler,
    Middleware,
    Recipe,
    Worker,
    decision,
    middleware,
)
from trioedge.session.verdict import CONTINUE, Completed, Outcome, Reason, Reject, Verdict
from trioedge.testing import make_session


def no_unix(session: Session) -> Verdict:
    return Reject(Reason.POLICY, "unix") if session.source == "unix" else CONTINUE


def not_from(banned: str, session: Session) -> Verdict:
    return Reject(Reason.POLICY, "banned") if session.source == banned else CONTINUE


async def never(session: Session, call_next: Handler) -> Outcome:
    return Reject(Reason.POLICY)


async def finish(session: Session) -> Outcome:
    return Completed()


class Working:
    async def run(self, *, task_status: trio.TaskStatus[None]) -> None:
        task_status.started()


class Opened:
    def open(self, context: object) -> "Opened":
        return self

    def close(self) -> None: ...


@attrs.frozen
class Hours:
    since: int = 0


def test_a_lifted_decision_is_tested_as_the_function_it_is() -> None:
    stage = decision(no_unix)
    assert stage(make_session()) is CONTINUE
    assert stage(make_session("unix")) == Reject(Reason.POLICY, "unix")
    assert stage.decide is no_unix


async def test_a_lifted_middleware_is_tested_as_the_function_it_is() -> None:
    stage = middleware(never)
    assert await stage(make_session(), finish) == Reject(Reason.POLICY)
    assert stage.handle is never


@pytest.mark.parametrize(("lift", "function"), [(decision, no_unix), (middleware, never)])
def test_a_function_says_what_it_requires_provides_and_reads_of_policies_or_nothing(lift: Any, function: Any) -> None:
    plain = lift(function)
    assert (plain.requires, plain.provides, plain.policy) == ((), (), None)
    said = lift(requires=("service",), provides=("destination",), policy=Hours)(function)
    assert (said.requires, said.provides, said.policy) == (("service",), ("destination",), Hours)
    assert lift()(function) == plain


def test_a_lifted_function_prints_as_it_is_written() -> None:
    assert repr([decision(no_unix), middleware(never)]) == "[decision(no_unix), middleware(never)]"


def test_a_function_with_arguments_bound_to_it_is_lifted_and_printed_too() -> None:
    stage = decision(partial(not_from, "192.0.2.66"))
    assert stage(make_session("192.0.2.66")) == Reject(Reason.POLICY, "banned")
    assert repr(stage).startswith("decision(functools.partial(<function not_from")


@pytest.mark.parametrize(
    ("part", "shapes"),
    [
        (decision(no_unix), {Decision}),
        (middleware(never), {Middleware, Endpoint}),  # a protocol compares names; the chain compares arguments
        (Working(), {Worker}),
        (Opened(), {Recipe, Closing}),
        (no_unix, set()),
    ],
)
def test_a_part_is_told_by_its_shape(part: object, shapes: set[type]) -> None:
    every = (Decision, Middleware, Endpoint, Recipe, Worker, Closing)
    assert {shape for shape in every if isinstance(part, shape)} == shapes


def test_a_part_that_says_nothing_asks_for_nothing() -> None:
    assert Facts() == Facts(
        kind="",
        requires=(),
        provides=(),
        enforces=(),
        rechecks=(),
        once=False,
        policy=None,
        needs_relay=False,
        relays=False,
        needs_control=False,
        listeners=(),
        descriptors=0,
    )
