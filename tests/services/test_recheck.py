"""Live sessions that are judged again when a policy changes, in a plan and when a snapshot is applied."""

from collections.abc import Callable
from typing import Any

import pytest
import trio
from structlog.testing import capture_logs
from trio.testing import MockClock

import trioedge as te
from tests.support.policies import STAGE_KEYS, DailyQuota, Hours
from tests.support.services import Governed, cut_reasons
from trioedge.services.applying.effects import Recheck
from trioedge.services.policy import Policy, Settings
from trioedge.services.snapshot import Plan, Snapshot
from trioedge.services.stage_keys import rechecked_keys
from trioedge.session.session import Session
from trioedge.session.verdict import CONTINUE, Completed, Reason, Reject, Verdict
from trioedge.stages.source_match import SourceMatch
from trioedge.testing import Client, open_edge

NOON = 12


class OpenHours:
    """A stage of a user's: it refuses sessions at noon if their service is closed then."""

    policy = Hours

    def __init__(self) -> None:
        self.asked: list[tuple[Session, Hours]] = []

    def decide(self, session: Session) -> Verdict:
        hours = session.policy[Hours]
        self.asked.append((session, hours))
        return CONTINUE if hours.since <= NOON < hours.until else Reject(Reason.POLICY, "closed")


def asking(*decides: Callable[[Session], Any]) -> Governed:
    """Services whose key ``hours.until`` has live sessions judged by these decisions."""
    rechecks = [Recheck(rechecked_keys(Hours), decide, stage) for stage, decide in enumerate(decides)]
    return Governed("enabled", stage_keys=STAGE_KEYS, rechecks=rechecks)


def shop(*stages: object) -> Snapshot:
    return Snapshot({"shop": Settings(Policy(stages=stages))}, full=False)


async def test_a_plan_judges_live_sessions_under_the_new_policy_and_changes_nothing() -> None:
    stage = OpenHours()
    world = asking(stage.decide)
    await world.applier.apply(shop(Hours(8, 18)))
    service, sessions = world.services.get("shop"), [world.carried("shop") for _ in range(3)]
    assert service is not None
    before = service.settings
    assert await world.applier.plan(shop(Hours(8, 10))) == Plan(changed={"shop": ("hours.until",)}, evicted=3)
    assert {session for session, _ in stage.asked} == set(sessions)
    assert [hours for _, hours in stage.asked] == [Hours(8, 10)] * 3
    assert service.settings is before
    assert service.policy[Hours] == Hours(8, 18)
    assert cut_reasons(*sessions) == [None] * 3
    assert (await world.applier.plan(shop(Hours(8, 20)))).evicted == 0


async def test_a_session_that_would_be_refused_now_is_cut_with_the_reason_of_the_decision() -> None:
    stage = OpenHours()
    world = asking(stage.decide)
    await world.applier.apply(shop(Hours(8, 18)))
    session = world.carried("shop")
    assert await world.applier.apply(shop(Hours(8, 20))) == Plan(changed={"shop": ("hours.until",)})
    assert cut_reasons(session) == [None]
    assert await world.applier.apply(shop(Hours(8, 10))) == Plan(changed={"shop": ("hours.until",)}, evicted=1)
    assert cut_reasons(session) == [Reason.POLICY]
    assert [hours.until for _, hours in stage.asked] == [20, 10]


async def test_only_sessions_of_the_service_that_changes_are_judged() -> None:
    stage = OpenHours()
    world = asking(stage.decide)
    await world.applier.apply(shop(Hours(8, 18)))
    await world.let("cafe")
    session, other = world.carried("shop"), world.carried("cafe")
    await world.applier.apply(shop(Hours(8, 10)))
    assert [asked for asked, _ in stage.asked] == [session]
    assert cut_reasons(session, other) == [Reason.POLICY, None]


async def test_a_key_whose_fate_is_keep_has_no_session_judged() -> None:
    stage = OpenHours()
    world = asking(stage.decide)
    await world.applier.apply(shop(Hours(8, 18)))
    session = world.carried("shop")
    assert (await world.applier.apply(shop(Hours(13, 18)))).evicted == 0
    assert stage.asked == []
    assert cut_reasons(session) == [None]


async def test_a_key_that_goes_back_to_its_default_has_sessions_judged_too() -> None:
    stage = OpenHours()
    world = asking(stage.decide)
    await world.applier.apply(shop(Hours(13, 18)))
    session = world.carried("shop")
    assert (await world.applier.apply(shop())).evicted == 0
    assert [hours for _, hours in stage.asked] == [Hours()]
    assert (await world.applier.apply(shop(Hours(0, 3)))).evicted == 1
    assert cut_reasons(session) == [Reason.POLICY]


async def test_a_key_whose_fate_is_evict_cuts_sessions_and_asks_no_decision() -> None:
    stage = OpenHours()
    world = asking(stage.decide)
    await world.applier.apply(shop(Hours(8, 18), DailyQuota(3)))
    session = world.carried("shop")
    snapshot = shop(Hours(8, 10), DailyQuota(4))
    assert (await world.applier.plan(snapshot)).evicted == 1
    assert cut_reasons(session) == [None]
    assert (await world.applier.apply(snapshot)).evicted == 1
    assert cut_reasons(session) == [Reason.EVICTED]
    assert stage.asked == []


async def test_a_removed_service_has_its_sessions_cut_and_asks_no_decision() -> None:
    stage = OpenHours()
    world = asking(stage.decide)
    await world.applier.apply(shop(Hours(8, 18)))
    session = world.carried("shop")
    assert (await world.applier.apply(Snapshot({}, allow_removal=True))).evicted == 1
    assert cut_reasons(session) == [Reason.EVICTED]
    assert stage.asked == []


async def test_every_decision_is_asked_until_one_rejects() -> None:
    asked = []

    def decision(name: str, verdict: Verdict) -> Callable[[Session], Verdict]:
        def decide(session: Session) -> Verdict:
            asked.append(name)
            return verdict

        return decide

    world = asking(
        decision("first", CONTINUE),
        decision("second", Reject(Reason.DEVICE)),
        decision("third", Reject(Reason.SOURCE)),
    )
    await world.applier.apply(shop())
    session = world.carried("shop")
    await world.applier.apply(shop(Hours(8, 18)))
    assert asked == ["first", "second"]
    assert cut_reasons(session) == [Reason.DEVICE]


async def test_a_session_that_is_being_cut_already_is_not_counted() -> None:
    world = asking(OpenHours().decide)
    await world.applier.apply(shop(Hours(8, 18)))
    dying, session = world.carried("shop", slow=True), world.carried("shop")
    dying.cut(Reason.IDLE)
    snapshot = shop(Hours(8, 10))
    assert (await world.applier.plan(snapshot)).evicted == 1
    assert (await world.applier.apply(snapshot)).evicted == 1
    assert cut_reasons(dying, session) == [Reason.IDLE, Reason.POLICY]


def raises(session: Session) -> Verdict:
    if session.source == "192.0.2.2":
        raise ZeroDivisionError("as asked")
    return CONTINUE


class WordlessError(BaseException):
    """No Exception, and without a text."""

    def __repr__(self) -> str:
        raise LookupError


def raises_no_exception(session: Session) -> Verdict:
    if session.source == "192.0.2.2":
        raise WordlessError
    return CONTINUE


def returns_nothing(session: Session) -> Any:
    return None if session.source == "192.0.2.2" else CONTINUE


@pytest.mark.parametrize("decide", [raises, raises_no_exception, returns_nothing])
async def test_a_decision_that_fails_costs_that_session_and_no_other(
    decide: Callable[[Session], Any], autojump_clock: MockClock
) -> None:
    world = asking(decide)
    await world.applier.apply(shop(Hours(8, 18)))
    sessions = [world.carried("shop", f"192.0.2.{number}") for number in range(1, 4)]
    service = sessions[0].service
    before, snapshot = service.settings, shop(Hours(8, 20))
    with capture_logs() as logs:
        assert (await world.applier.plan(snapshot)).evicted == 1
        assert service.settings is before, "also after the exception"
        assert cut_reasons(*sessions) == [None] * 3
        assert (await world.applier.apply(snapshot)).evicted == 1
    assert cut_reasons(*sessions) == [None, Reason.FAULT, None]
    assert service.settings == snapshot.services["shop"]
    fault = next(entry for entry in logs if entry["event"] == "recheck failed")
    assert (fault["session"], fault["service"], fault["log_level"]) == (sessions[1].id, "shop", "error")


# Sources.


@pytest.mark.parametrize(
    ("said", "cut"),
    [
        ({}, [None, None]),
        ({"accept": ("192.0.2.0/24",)}, [None, Reason.SOURCE]),
        ({"reject": ("192.0.2.1",)}, [Reason.SOURCE, None]),
        ({"accept": ("10.0.0.0/8",)}, [Reason.SOURCE, Reason.SOURCE]),
        ({"accept": ("10.0.0.0/8", "192.0.2.1"), "reject": ("198.51.100.1",)}, [None, Reason.SOURCE]),
    ],
)
async def test_new_source_rules_of_a_policy_judge_live_sessions(said: dict[str, Any], cut: list[Reason | None]) -> None:
    world = Governed()
    await world.let(accept=("192.0.2.1", "198.51.100.1"))
    sessions = [world.carried(source=source) for source in ("192.0.2.1", "198.51.100.1")]
    snapshot = Snapshot({"a": Settings(Policy(**said))})
    service = sessions[0].service
    rules = service.rules
    planned = await world.applier.plan(snapshot)
    assert planned.evicted == sum(reason is not None for reason in cut)
    assert service.rules is rules
    assert cut_reasons(*sessions) == [None, None]
    assert await world.applier.apply(snapshot) == planned
    assert cut_reasons(*sessions) == cut


# On an edge.


def by_source(session: te.Session) -> str:
    return "shop" if session.source.startswith("192.0.2.") else "cafe"


def make_edge(control: te.ControlPlane, *stages: object) -> te.Edge:
    endpoint = te.Forward("tcp://192.0.2.9:80")
    return te.Edge("tcp://127.0.0.1:6380", [te.Identify(by_source), *stages], endpoint, control=control)


async def answers(client: Client) -> bool:
    await client.send(b"ping")
    return await client.receive(4) == b"ping"


async def test_an_edge_asks_a_stage_again_whose_keys_have_the_fate_recheck(autojump_clock: MockClock) -> None:
    control = te.MemoryControl({name: te.Policy(stages=(Hours(8, 18),)) for name in ("shop", "cafe")})
    stage = OpenHours()
    async with open_edge(make_edge(control, stage)) as world:
        clients = [await world.connect(source) for source in ("192.0.2.1", "192.0.2.2", "198.51.100.1")]
        assert [await answers(client) for client in clients] == [True] * 3
        asked = len(stage.asked)
        snapshot = te.Snapshot({"shop": te.Settings(te.Policy(stages=(Hours(8, 10),)))}, full=False)
        assert (await world.edge.plan(snapshot)).evicted == 2
        assert len(stage.asked) == asked + 2
        assert [await answers(client) for client in clients] == [True] * 3
        assert (await control.apply(snapshot)).evicted == 2
        assert [await client.ended() for client in clients[:2]] == [Completed(Reason.POLICY, "closed")] * 2
        assert await answers(clients[2])


async def test_an_edge_asks_a_source_match_by_policy_again_and_one_with_rules_of_its_own_not(
    autojump_clock: MockClock,
) -> None:
    for match, cut in ((SourceMatch(), 1), (SourceMatch(accept=["0.0.0.0/0"]), 0)):
        control = te.MemoryControl({"shop": te.Policy()})
        async with open_edge(make_edge(control, match)) as world:
            clients = [await world.connect(source) for source in ("192.0.2.1", "192.0.2.2")]
            policy = te.Policy(reject=("192.0.2.1",))
            assert (await world.edge.plan(te.Snapshot({"shop": te.Settings(policy)}))).evicted == cut
            assert (await control.put("shop", policy)).evicted == cut
            if cut:
                assert await clients[0].ended() == Completed(Reason.SOURCE, "192.0.2.1")
            assert [await answers(client) for client in clients[cut:]] == [True] * (2 - cut)


async def test_a_stage_without_keys_to_recheck_is_not_asked_again(autojump_clock: MockClock) -> None:
    asked = 0

    @te.decision
    def count(session: te.Session) -> te.Verdict:
        nonlocal asked
        asked += 1
        return te.CONTINUE

    control = te.MemoryControl({"shop": te.Policy(stages=(Hours(8, 18),))})
    async with open_edge(make_edge(control, count, OpenHours())) as world:
        await world.connect()
        await control.put("shop", te.Policy(stages=(Hours(8, 10),), max_sessions=3))
    assert asked == 1


async def test_a_session_that_has_not_passed_the_stage_is_judged_when_it_arrives_there(
    autojump_clock: MockClock,
) -> None:
    """Its source is still that of the balancer, which the new policy would refuse."""
    moved_on = trio.Event()

    @te.middleware(provides=("source",))
    async def from_balancer(session: te.Session, call_next: te.Handler) -> te.Outcome:
        if session.source == "192.0.2.2":
            await moved_on.wait()
        session.set_source("192.0.2.100")
        return await call_next(session)

    control = te.MemoryControl({"shop": te.Policy()})
    async with open_edge(make_edge(control, from_balancer, SourceMatch())) as world:
        passed, waiting = await world.connect("192.0.2.1"), await world.connect("192.0.2.2")
        assert await answers(passed)
        assert (await control.put("shop", te.Policy(accept=("192.0.2.100",)))).evicted == 0
        moved_on.set()
        assert await answers(waiting)
        assert (await control.put("shop", te.Policy(reject=("192.0.2.100",)))).evicted == 2


@pytest.mark.parametrize(
    ("after", "outcome"),
    [
        (te.Policy(reject=("192.0.2.0/24",)), (Reason.SOURCE, "192.0.2.0/24")),
        (te.Policy(enabled=False), (Reason.EVICTED, "")),
        (None, (Reason.EVICTED, "")),
    ],
)
async def test_a_session_that_a_change_cuts_says_in_detail_why(
    after: te.Policy | None, outcome: tuple[Reason, str], autojump_clock: MockClock
) -> None:
    control = te.MemoryControl({"shop": te.Policy(), "other": te.Policy()})
    edge = te.Edge("tcp://127.0.0.1:1", [te.Identify(lambda _: "shop"), te.SourceMatch()],
                   te.Forward("tcp://192.0.2.9:1"), control=control)  # fmt: skip
    async with open_edge(edge) as world:
        client = await world.connect("192.0.2.7")
        await client.send(b"ping")
        assert await client.receive(4) == b"ping"
        await (control.remove("shop") if after is None else control.put("shop", after))
        ended = await client.ended()
        assert (ended.reason, ended.detail) == outcome
