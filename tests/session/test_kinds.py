"""What an object in a chain is, and what is refused when the chain is compiled, each with the mend."""

import inspect
from collections.abc import Awaitable, Iterator
from typing import Any, cast

import attrs
import pytest

from trioedge.errors import ConfigurationError
from trioedge.session.chain import compile_chain
from trioedge.session.kinds import check_endpoint, close_parts, each_once, facts_of, kind_of, name_of
from trioedge.session.session import Session
from trioedge.session.stage import Facts, Handler, decision, middleware
from trioedge.session.verdict import CONTINUE, Completed, Outcome, Verdict
from trioedge.testing import make_session


@decision
def yes(session: Session) -> Verdict:
    return CONTINUE


@middleware
async def around(session: Session, call_next: Handler) -> Outcome:
    return await call_next(session)


async def finish(session: Session) -> Outcome:
    return Completed()


class Decides:
    def decide(self, session: Session) -> Verdict:
        return CONTINUE


class Wraps:
    async def handle(self, session: Session, call_next: Handler) -> Outcome:
        return await call_next(session)


class Ends:
    async def handle(self, session: Session) -> Outcome:
        return Completed()


class Both(Decides):
    async def handle(self, session: Session, call_next: Handler) -> Outcome:
        return await call_next(session)


class Neither:
    pass


NEITHER = "neither decide(session) nor converse(session) nor handle(session, call_next): give it one of them"


class AsyncDecide:
    async def decide(self, session: Session) -> Verdict:
        return CONTINUE


class TwoArguments:
    def decide(self, session: Session, now: float) -> Verdict:
        return CONTINUE


class KeywordArgument:
    def decide(self, session: Session, *, now: float) -> Verdict:
        return CONTINUE


class SyncHandle:
    def handle(self, session: Session, call_next: Handler) -> Awaitable[Outcome]:
        return call_next(session)


class ThreeArguments:
    async def handle(self, session: Session, call_next: Handler, now: float) -> Outcome:
        return await call_next(session)


class SyncEndpoint:
    def handle(self, session: Session) -> Outcome:
        return Completed()


class DecideIsANumber:
    decide = 5


def unlifted(session: Session) -> Verdict:
    return CONTINUE


def talks(session: Session) -> Iterator[object]:
    yield session


async def async_decision(session: Session) -> Verdict:
    return CONTINUE


async def no_arguments() -> Outcome:
    return Completed()


async def finish_late(session: Session, call_next: Handler, now: float) -> Outcome:
    return Completed()


class Gate:
    """A recipe."""

    kind = "decision"

    def open(self, context: object) -> Decides:
        return Decides()


class Kindless:
    def open(self, context: object) -> Decides:
        return Decides()


class OtherKind(Kindless):
    kind = "endpoint"


class AsyncOpen(Gate):
    async def open(self, context: object) -> Decides:  # type: ignore[override]
        return Decides()


class OpenWithoutContext(Gate):
    def open(self) -> Decides:  # type: ignore[override]
        return Decides()


class OpenIsAFlag(Decides):
    """A circuit breaker, say."""

    open = False


# Which kind it is, and its name.


@pytest.mark.parametrize(
    ("stage", "kind"),
    [
        (yes, "decision"),
        (Decides(), "decision"),
        (Gate(), "decision"),
        (around, "middleware"),
        (Wraps(), "middleware"),
    ],
)
def test_a_stage_is_told_by_its_methods_and_a_recipe_by_what_it_says(stage: object, kind: str) -> None:
    assert kind_of(stage, "stage 1") == kind


@pytest.mark.parametrize(
    ("part", "name"),
    [
        (yes, "yes"),
        (around, "around"),
        (finish, "finish"),
        (Decides(), "Decides"),
        (Decides, "Decides"),
        (Gate(), "Gate"),
        (None, "NoneType"),
        (5, "int"),
    ],
)
def test_a_part_is_named_as_its_user_wrote_it(part: object, name: str) -> None:
    assert name_of(part) == name


# Stages that are refused.


A_DECISION_CANNOT_WAIT = "decide() is async, and a decision cannot wait: make it a plain def"


@pytest.mark.parametrize(
    ("stage", "where", "why_and_mend"),
    [
        (Decides, "stage 2 (Decides)", "is a class, not a stage: call it, Decides(...)"),
        (Gate, "stage 2 (Gate)", "is a class, not a stage: call it, Gate(...)"),
        (
            Both(),
            "stage 2 (Both)",
            "has decide() and handle(): a stage is a decision, a handshake or a middleware; make several",
        ),
        (
            Neither(),
            "stage 2 (Neither)",
            "neither decide(session) nor converse(session) nor handle(session, call_next): give it",
        ),
        (
            None,
            "stage 2 (NoneType)",
            "neither decide(session) nor converse(session) nor handle(session, call_next): give it",
        ),
        (
            "yes",
            "stage 2 (str)",
            "neither decide(session) nor converse(session) nor handle(session, call_next): give it",
        ),
        (unlifted, "stage 2 (unlifted)", "lift a function with @decision, @handshake or @middleware"),
        (finish, "stage 2 (finish)", "lift a function with @decision, @handshake or @middleware"),
        (AsyncDecide(), "stage 2 (AsyncDecide)", A_DECISION_CANNOT_WAIT),
        (decision(cast(Any, async_decision)), "stage 2 (async_decision)", A_DECISION_CANNOT_WAIT),
        (decision(cast(Any, talks)), "stage 2 (talks)", "decide() has a yield, as a handshake has: lift it with @hand"),
        (TwoArguments(), "stage 2 (TwoArguments)", "decide() must take the session and nothing else"),
        (KeywordArgument(), "stage 2 (KeywordArgument)", "decide() must take the session and nothing else"),
        (DecideIsANumber(), "stage 2 (DecideIsANumber)", "decide() must take the session and nothing else"),
        (
            decision(cast(Any, lambda: CONTINUE)),
            "stage 2 (<lambda>)",
            "decide() must take the session and nothing else",
        ),
        (SyncHandle(), "stage 2 (SyncHandle)", "handle() is not async: write async def"),
        (ThreeArguments(), "stage 2 (ThreeArguments)", "handle() must take the session and call_next"),
        (middleware(cast(Any, no_arguments)), "stage 2 (no_arguments)", "handle() must take the session and call_next"),
        (Ends(), "stage 2 (Ends)", "is an endpoint among the stages: pass it as endpoint="),
        (SyncEndpoint(), "stage 2 (SyncEndpoint)", "is an endpoint among the stages: pass it as endpoint="),
        (Kindless(), "stage 2 (Kindless)", "has open() and must say what it opens: write kind = 'decision', 'hand"),
        (OtherKind(), "stage 2 (OtherKind)", "has open() and must say what it opens: write kind = 'decision', 'hand"),
        (AsyncOpen(), "stage 2 (AsyncOpen)", "open() is async; make it a plain def, and wait in run()"),
        (OpenWithoutContext(), "stage 2 (OpenWithoutContext)", "open() must take the context and nothing else"),
        (OpenIsAFlag(), "stage 2 (OpenIsAFlag)", "open=False is no method, and open() makes the live stage"),
    ],
)
def test_a_stage_that_cannot_be_is_named_with_why_and_the_mend(stage: object, where: str, why_and_mend: str) -> None:
    with pytest.raises(ConfigurationError) as refusal:
        compile_chain([yes, stage, around], finish)
    assert str(refusal.value).startswith(where)
    assert why_and_mend in str(refusal.value)
    assert "\n" not in str(refusal.value)


@pytest.mark.parametrize(
    ("endpoint", "why_and_mend"),
    [
        (None, "no endpoint: say where sessions go, for example endpoint=Forward("),
        (Ends, "endpoint (Ends) is a class, not an endpoint: call it, Ends(...)"),
        (Gate, "endpoint (Gate) is a class, not an endpoint: call it, Gate(...)"),
        (around, "endpoint (around) is a middleware: move it into stages and name an endpoint behind it"),
        (Wraps(), "endpoint (Wraps) is a middleware: move it into stages and name an endpoint behind it"),
        (yes, "endpoint (yes) cannot end a chain: it needs async handle(session)"),
        (Decides(), "endpoint (Decides) cannot end a chain: it needs async handle(session)"),
        (Both(), "endpoint (Both) cannot end a chain: it needs async handle(session)"),
        (Neither(), "endpoint (Neither) cannot end a chain: it needs async handle(session)"),
        ("tcp://127.0.0.1:1", "endpoint='tcp://127.0.0.1:1' is text: write endpoint=Forward('tcp://127.0.0.1:1')"),
        (SyncEndpoint(), "endpoint (SyncEndpoint) is not async: write async def"),
        (unlifted, "endpoint (unlifted) is not async: write async def"),
        (no_arguments, "endpoint (no_arguments) must take the session and nothing else"),
        (finish_late, "endpoint (finish_late) must take the session and nothing else"),
        (Gate(), "endpoint (Gate) is a decision: move it into stages and name an endpoint behind it"),
        (AsyncOpen(), "endpoint (AsyncOpen): open() is async; make it a plain def, and wait in run()"),
        (OpenWithoutContext(), "endpoint (OpenWithoutContext): open() must take the context and nothing else"),
    ],
)
def test_an_endpoint_that_cannot_be_is_named_with_why_and_the_mend(endpoint: object, why_and_mend: str) -> None:
    with pytest.raises(ConfigurationError) as refusal:
        check_endpoint(endpoint)
    assert str(refusal.value).startswith(why_and_mend)
    with pytest.raises(ConfigurationError) as compiled:
        compile_chain([yes], endpoint)
    assert str(compiled.value) == str(refusal.value)


@pytest.mark.parametrize(
    ("place", "where"), [("stages", "stage 1 (coroutine) is"), ("endpoint", "endpoint (coroutine) is")]
)
def test_a_coroutine_in_place_of_its_function_is_refused_and_closed(place: str, where: str) -> None:
    coroutine = finish(make_session())
    try:
        with pytest.raises(ConfigurationError) as refusal:
            compile_chain(*(([coroutine], finish) if place == "stages" else ([], coroutine)))
        assert inspect.getcoroutinestate(coroutine) == inspect.CORO_CLOSED, "else Python warns that it was not awaited"
        assert f"{where} a coroutine, already called: pass the function, without ()" in str(refusal.value)
    finally:
        coroutine.close()


@pytest.mark.parametrize(
    ("stages", "what"),
    [
        ("yes", "str"),
        (b"yes", "bytes"),
        (None, "NoneType"),
        (yes, "yes"),
        ({yes}, "set"),
        (iter([yes]), "list_iterator"),
    ],
)
def test_stages_that_are_no_list_are_refused(stages: Any, what: str) -> None:
    with pytest.raises(ConfigurationError) as refusal:
        compile_chain(stages, finish)
    assert str(refusal.value) == f"stages must be a list of stages, not {what}: write stages=[...]"


# What a part says of itself.


@attrs.frozen
class Keys:
    since: int = 0


class Says(Decides):
    def __init__(self, **said: object) -> None:
        self.__dict__.update(said)


def test_facts_are_read_from_attributes_and_tuples_are_made_of_lists() -> None:
    stage = Says(
        requires=["service"],
        provides=frozenset({"device"}),
        enforces=("down_rate",),
        once=True,
        policy=Keys,
        descriptors=3,
        relays=True,
        other="its own",
    )
    assert facts_of(stage, "stage 1") == Facts(
        requires=("service",),
        provides=("device",),
        enforces=("down_rate",),
        once=True,
        policy=Keys,
        descriptors=3,
        relays=True,
    )


@pytest.mark.parametrize("word", ["requires", "provides", "enforces", "rechecks", "listeners"])
@pytest.mark.parametrize(
    ("value", "mend"),
    [
        ("service", "='service' is text: write {0}=('service',)"),
        (None, "=None must be a tuple of names"),
        (5, "=5 must be a tuple of names"),
        ([5], "=[5] must be a tuple of names"),
        ({"a": 1}, "={{'a': 1}} must be a tuple of names"),
    ],
)
def test_facts_that_are_no_tuple_of_names_are_refused_with_the_mend(word: str, value: object, mend: str) -> None:
    """Text would be read letter by letter and name nothing, and so switch the check off."""
    with pytest.raises(ConfigurationError) as refusal:
        compile_chain([yes, Says(**{word: value})], finish)
    assert str(refusal.value) == f"stage 2 (Says): {word}{mend.format(word)}"


@pytest.mark.parametrize("word", ["once", "needs_relay", "relays", "needs_control", "taskless"])
@pytest.mark.parametrize("value", [None, 1, "yes", []])
def test_a_fact_that_is_true_or_false_is_nothing_else(word: str, value: object) -> None:
    with pytest.raises(ConfigurationError) as refusal:
        facts_of(Says(**{word: value}), "stage 2 (Says)")
    assert str(refusal.value) == f"stage 2 (Says): {word}={value!r} must be true or false"


@pytest.mark.parametrize("value", [None, -1, 2.5, "many", True])
def test_descriptors_are_a_whole_number(value: object) -> None:
    with pytest.raises(ConfigurationError) as refusal:
        facts_of(Says(descriptors=value), "stage 2 (Says)")
    assert str(refusal.value) == f"stage 2 (Says): descriptors={value!r} must be a whole number of at least 0"


@pytest.mark.parametrize("value", ["strict", 5, Keys()])
def test_the_keys_of_policies_are_a_class(value: object) -> None:
    with pytest.raises(ConfigurationError) as refusal:
        facts_of(Says(policy=value), "stage 2 (Says)")
    assert str(refusal.value) == f"stage 2 (Says): policy={value!r} must be a class, of keys in every policy"


# Closing.


class Closes:
    def __init__(self, log: list[str], name: str, fault: str = "") -> None:
        self.log, self.name, self.fault_text = log, name, fault

    def close(self) -> None:
        self.log.append(self.name)
        if self.fault_text:
            raise LookupError(self.fault_text)


class FaultList:
    def __init__(self) -> None:
        self.faults: list[tuple[str, str, object]] = []

    def fault(self, event: str, fault: BaseException, **facts: object) -> None:
        self.faults.append((event, str(fault), facts["stage"]))


def test_parts_are_closed_last_first_each_object_once_and_a_fault_keeps_no_other_open() -> None:
    log: list[str] = []
    first, second, third = Closes(log, "first"), Closes(log, "second", "bug"), Closes(log, "third")
    faults = FaultList()
    close_parts([first, second, Neither(), first, third], faults)
    assert log == ["third", "second", "first"]
    assert faults.faults == [("close failed", "bug", "Closes")]


def test_equal_objects_are_two_and_the_same_object_is_one() -> None:
    one, other = Keys(), Keys()
    parts = each_once([one, other, one])
    assert len(parts) == 2
    assert parts[0] is one
    assert parts[1] is other


async def works(*, task_status: object) -> None: ...


async def works_alone() -> None: ...


async def closes_late() -> None: ...


async def begins_late(session: object, down: object, prefetched: object, ended: object) -> bool:
    return True


RUN = "write async def run(self, *, task_status), or rename it"
LIFE = [
    ("run", 5, f"run=5 is no method, and run() works in the background: {RUN}"),
    ("run", lambda *, task_status: None, "run() is not async: write async def"),
    ("run", works_alone, f"run() must take task_status and nothing else: {RUN}"),
    ("close", True, "close=True is no method, and close() frees it: rename it"),
    ("close", closes_late, "close() is async, and is called without a wait: make it a plain def"),
    ("close", lambda late: None, "close() must take no arguments"),
]
BEGIN = "begin() carries a plain socket without a task: give it that method's arguments, or rename it"


def with_member(kind: type, name: str, value: object) -> object:
    part = kind()
    setattr(part, name, value)
    return part


@pytest.mark.parametrize(("name", "value", "why_and_mend"), LIFE)
@pytest.mark.parametrize("kind", [Decides, Wraps])
def test_a_stage_whose_life_cannot_be_is_named_with_the_mend(
    kind: type, name: str, value: object, why_and_mend: str
) -> None:
    with pytest.raises(ConfigurationError) as refusal:
        compile_chain([yes, with_member(kind, name, value)], finish)
    assert str(refusal.value) == f"stage 2 ({kind.__name__}): {why_and_mend}"


@pytest.mark.parametrize(
    ("name", "value", "why_and_mend"),
    [
        *LIFE,
        ("begin", 3, f"begin=3 is no method, and {BEGIN}"),
        ("begin", lambda: None, f"{BEGIN}, as in def begin(self, session, down, prefetched, ended)"),
        ("begin", begins_late, f"{BEGIN}, as in def begin(self, session, down, prefetched, ended)"),
    ],
)
def test_an_endpoint_whose_life_cannot_be_is_named_with_the_mend(name: str, value: object, why_and_mend: str) -> None:
    with pytest.raises(ConfigurationError) as refusal:
        check_endpoint(with_member(Ends, name, value))
    assert str(refusal.value) == f"endpoint (Ends): {why_and_mend}"


@pytest.mark.parametrize(("name", "value"), [("run", works), ("close", lambda: None), ("begin", lambda *_: True)])
def test_an_endpoint_may_have_a_life(name: str, value: object) -> None:
    check_endpoint(with_member(Ends, name, value))
