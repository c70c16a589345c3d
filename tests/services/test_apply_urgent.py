"""What a snapshot takes away is applied at once: before anything is compiled, and past the snapshots before it."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
import trio
import trio.testing
from structlog.testing import capture_logs
from trio.testing import MockClock

from tests.support.policies import HASHES
from tests.support.services import Governed, cut_reasons
from trioedge.services.control_plane import SnapshotError
from trioedge.services.credentials import Credentials
from trioedge.services.policy import Policy, Settings
from trioedge.services.service import DISABLED_SERVICE, UNKNOWN_SERVICE, Service
from trioedge.services.snapshot import Change, Plan, Snapshot
from trioedge.session.verdict import Reason

DISABLED = Settings(Policy(enabled=False))
FAULTY = Settings(Policy(session_rate=0))
RULES = tuple(f"10.{number >> 8}.{number & 255}.0/25" for number in range(25_000))


def secret(number: int, **said: Any) -> Settings:
    return Settings(Policy(**said), Credentials(HASHES[number]))


async def until(true: Callable[[], object]) -> None:
    """Give way to other tasks until something is true."""
    with trio.fail_after(10):
        while not true():
            await trio.lowlevel.checkpoint()


@asynccontextmanager
async def applying(world: Governed, snapshot: Snapshot) -> AsyncIterator[list[Plan]]:
    """Begin to apply a snapshot that takes long; its plan is there after the block."""
    plans: list[Plan] = []

    async def apply() -> None:
        plans.append(await world.applier.apply(snapshot))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(apply)
        for _ in range(20):  # it is being examined
            await trio.lowlevel.checkpoint()
        assert not plans
        yield plans


LONG = {
    "the rules of one service": {"x": Settings(Policy(accept=RULES))},
    "very many services": {f"x{number}": Settings(Policy(session_rate=5)) for number in range(20_000)},
}


@pytest.mark.parametrize("long", LONG.values(), ids=LONG)
@pytest.mark.parametrize(
    ("snapshot", "refusal", "taken"),
    [
        (Snapshot({"b": DISABLED}, full=False), DISABLED_SERVICE, Plan(changed={"b": ("enabled",)}, evicted=1)),
        (Snapshot({}, frozenset("b"), full=False), UNKNOWN_SERVICE, Plan(removed=("b",), evicted=1)),
        (
            Snapshot({"b": DISABLED, "c": Settings(Policy(accept=RULES))}, full=False),
            DISABLED_SERVICE,
            Plan(changed={"b": ("enabled",)}, added=("c",), evicted=1),
        ),
    ],
    ids=["disabled", "removed", "disabled beside rules of its own"],
)
async def test_a_service_is_closed_within_some_turns_while_an_earlier_snapshot_is_applied(
    long: dict[str, Settings], snapshot: Snapshot, refusal: object, taken: Plan
) -> None:
    world, plans = Governed(), list[Plan]()
    await world.let("b")
    session = world.carried("b")

    async def take() -> None:
        plans.append(await world.applier.apply(snapshot))

    async with applying(world, Snapshot(long, full=False)) as first, trio.open_nursery() as nursery:
        nursery.start_soon(take)
        await until(lambda: world.services.find("b") == refusal)
        await until(lambda: cut_reasons(session) == [Reason.EVICTED])
        assert first == [], "the earlier snapshot is still being applied"
        assert plans == [], "the rest of the later one waits for its turn"
    assert world.services.find("b") == refusal
    assert first == [Plan(added=tuple(long))]
    assert plans == [taken]


async def test_a_former_password_is_taken_at_once_and_the_new_one_comes_in_its_turn() -> None:
    world = Governed()
    await world.applier.apply(Snapshot({"b": secret(1, session_rate=1)}))
    session, service = world.carried("b"), world.services.get("b")
    assert service is not None
    new = secret(2, session_rate=2)
    async with applying(world, Snapshot(LONG["the rules of one service"], full=False)):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(world.applier.apply, Snapshot({"b": new}, full=False))
            await until(lambda: service.settings == Settings(Policy(session_rate=1)))
            await until(lambda: cut_reasons(session) == [Reason.EVICTED])
            assert world.services.find("b") is service
    assert service.settings == new


async def test_a_later_disable_wins_over_an_earlier_grant_whose_compiling_ends_later() -> None:
    world = Governed()
    await world.let("b")
    service = world.services.get("b")
    assert service is not None
    grant = {"b": Settings(Policy(session_rate=7, accept=RULES))}
    refusals = set()

    class Following:
        def changed(self, service: Service, change: Change) -> None:
            refusals.add(service.refusal)

    world.services.watch(Following())
    async with applying(world, Snapshot(grant, full=False, version="7")) as first:
        await world.applier.apply(Snapshot({"b": DISABLED}, full=False, version="8"))
    assert first == [Plan(changed={"b": ("session_rate", "accept")})]
    assert refusals == {DISABLED_SERVICE}, "it is never open again"
    assert (service.settings, world.applier.version) == (DISABLED, "8")


async def test_a_later_removal_wins_over_an_earlier_snapshot_that_adds_the_service() -> None:
    world = Governed()
    await world.let("a")
    added = {"x": Settings(Policy(accept=RULES)), "b": Settings()}
    async with applying(world, Snapshot(added, full=False)) as first:
        later = await world.applier.apply(Snapshot({}, frozenset("b"), full=False))
    assert first == [Plan(added=("x",))]
    assert later == Plan()
    assert world.settings().keys() == {"a", "x"}


async def test_a_later_full_snapshot_wins_over_an_earlier_one_that_adds_a_service() -> None:
    world = Governed()
    await world.let("a")
    added = {"x": Settings(Policy(accept=RULES)), "b": Settings()}
    async with applying(world, Snapshot(added, full=False)) as first:
        await world.applier.apply(Snapshot({"a": Settings(), "x": Settings()}))
    assert first == [Plan(added=("x",))]
    assert world.settings() == {"a": Settings(), "x": Settings()}


async def test_a_later_grant_comes_after_an_earlier_disable_and_is_not_taken_by_it() -> None:
    world = Governed()
    await world.let("b")
    disable = {"b": DISABLED, "x": Settings(Policy(accept=RULES))}
    async with applying(world, Snapshot(disable, full=False)):
        assert world.services.find("b") == DISABLED_SERVICE
        await world.let("b", session_rate=3)
    assert world.settings()["b"] == Settings(Policy(session_rate=3))


# The rest of the snapshot has a fault.


@pytest.mark.parametrize(
    ("taking", "after", "applied", "says"),
    [
        (
            {"b": secret(1, enabled=False)},
            secret(1, enabled=False),
            Plan(changed={"b": ("enabled",)}, evicted=1),
            "changes 1 service",
        ),
        ({"b": Settings()}, Settings(), Plan(changed={"b": ("password_hash",)}, evicted=1), "changes 1 service"),
        ({"b": secret(2)}, Settings(), Plan(changed={"b": ("password_hash",)}, evicted=1), "changes 1 service"),
        ({}, None, Plan(removed=("b",), evicted=1), "removes 1 service"),
        (
            {"b": Settings(Policy(enabled=False, down_rate=5))},
            DISABLED,
            Plan(changed={"b": ("enabled", "password_hash")}, evicted=1),
            "changes 1 service",
        ),
    ],
    ids=["disabled", "no password", "another password", "removed", "disabled, without password, another rate"],
)
async def test_what_a_faulty_snapshot_takes_away_stays_away_and_nothing_is_granted(
    taking: dict[str, Settings], after: Settings | None, applied: Plan, says: str
) -> None:
    world = Governed()
    before = {"a": Settings(), "b": secret(1)}
    await world.applier.apply(Snapshot(before, version="7"))
    session, other = world.carried("b"), world.carried("a")
    bad = Snapshot({"a": Settings(Policy(session_rate=9)), "c": FAULTY, **taking}, version="8")
    with capture_logs() as logs, pytest.raises(SnapshotError) as refusal:
        await world.applier.apply(bad)
    fault = "services.c.session_rate = 0 must be a number above 0"
    assert refusal.value.faults == (fault,)
    assert refusal.value.applied == applied
    assert str(refusal.value) == f"{fault}; applied is only what it takes away: {says}; evicts 1 session"
    assert world.settings() == {"a": Settings(), **({} if after is None else {"b": after})}
    assert cut_reasons(session, other) == [Reason.EVICTED, None]
    assert world.applier.version == "7"
    assert [(entry["event"], entry["does"], entry["version"]) for entry in logs] == [
        ("snapshot not applied, but for what it takes away", f"{says}; evicts 1 session", "8")
    ]


@pytest.mark.parametrize(
    "faulty",
    [
        secret(1, enabled="no"),
        secret(1, enabled=0),
        Settings(Policy(), Credentials("no hash")),
        Settings(Policy(), Credentials(5)),  # type: ignore[arg-type]
        None,
        5,
        Settings(None),  # type: ignore[arg-type]
    ],
    ids=["enabled no", "enabled 0", "no hash", "a number as hash", "None", "a number", "no policy"],
)
async def test_a_value_that_is_a_fault_takes_nothing_away(faulty: Any) -> None:
    world = Governed()
    await world.applier.apply(Snapshot({"b": secret(1)}))
    session = world.carried("b")
    with pytest.raises(SnapshotError) as refusal:
        await world.applier.apply(Snapshot({"b": faulty}))
    assert not refusal.value.applied
    assert world.settings() == {"b": secret(1)}
    assert cut_reasons(session) == [None]


async def test_a_service_that_is_both_there_and_removed_is_a_fault_and_stays() -> None:
    world = Governed()
    await world.let("b")
    with pytest.raises(SnapshotError) as refusal:
        await world.applier.apply(Snapshot({"b": Settings()}, frozenset("b"), full=False))
    assert not refusal.value.applied
    assert world.settings() == {"b": Settings()}


# Removal of many services.


def many(number: int) -> dict[str, Settings]:
    return {f"{each}": Settings() for each in range(number)}


@pytest.mark.parametrize(
    ("before", "after", "refused"),
    [
        (1, 0, "it would remove the only service"),
        (3, 0, "it would remove 3 of 3 services"),
        (11, 1, None),
        (12, 1, "it would remove 11 of 12 services"),
        (100, 0, "it would remove 100 of 100 services"),
        (100, 49, "it would remove 51 of 100 services"),
        (100, 50, None),
        (4000, 1, "it would remove 3,999 of 4,000 services"),
    ],
)
async def test_a_full_snapshot_that_leaves_out_more_than_half_must_say_that_it_may(
    before: int, after: int, refused: str | None
) -> None:
    world = Governed()
    await world.applier.apply(Snapshot(many(before)))
    session = world.carried(f"{before - 1}")
    snapshot = Snapshot(many(after))
    if refused is None:
        assert (await world.applier.apply(snapshot)).evicted == 1
        return
    for call in (world.applier.plan, world.applier.apply):
        with pytest.raises(SnapshotError) as refusal:
            await call(snapshot)
        assert refusal.value.faults == (
            f"{refused}: if that is meant, write allow_removal = true at its head, above all services",
        )
        assert not refusal.value.applied
    assert (len(world.services), cut_reasons(session)) == (before, [None])
    assert (await world.applier.apply(Snapshot(many(after), allow_removal=True))).evicted == 1
    assert len(world.services) == after


async def test_a_snapshot_whose_removals_are_refused_still_disables() -> None:
    world = Governed()
    await world.applier.apply(Snapshot(many(50)))
    with pytest.raises(SnapshotError, match="remove 49 of 50") as refusal:
        await world.applier.apply(Snapshot({"7": DISABLED}))
    assert refusal.value.applied == Plan(changed={"7": ("enabled",)})
    assert world.settings() == {**many(50), "7": DISABLED}


async def test_changes_that_name_what_they_remove_may_remove_everything_unless_they_say_otherwise() -> None:
    world = Governed()
    await world.applier.apply(Snapshot(many(50)))
    with pytest.raises(SnapshotError, match="remove 50 of 50"):
        await world.applier.apply(Snapshot({}, frozenset(many(50)), full=False, allow_removal=False))
    assert len((await world.applier.apply(Snapshot({}, frozenset(many(50)), full=False))).removed) == 50


async def test_another_name_for_the_only_service_is_no_removal_of_all() -> None:
    world = Governed()
    await world.let("a")
    assert await world.applier.apply(Snapshot({"b": Settings()})) == Plan(added=("b",), removed=("a",))


@pytest.mark.parametrize("refused", [True, False])
async def test_the_snapshots_before_it_count_as_applied_when_a_removal_is_judged(refused: bool) -> None:
    world = Governed()
    await world.applier.apply(Snapshot(many(20)))
    growing = {"x": Settings(Policy(accept=RULES)), **{f"new{number}": Settings() for number in range(30)}}
    named = many(20) if refused else {**many(20), **{f"new{number}": Settings() for number in range(10)}}
    async with applying(world, Snapshot(growing, full=False)):
        if refused:
            with pytest.raises(SnapshotError, match="remove 31 of 51"):
                await world.applier.apply(Snapshot(named))
        else:
            await world.applier.apply(Snapshot(named))
    assert len(world.services) == (51 if refused else 30)


# Cancels, and the log.


async def test_a_snapshot_that_is_cancelled_in_its_wait_has_taken_away_and_is_logged() -> None:
    world = Governed()
    await world.let("b")
    async with applying(world, Snapshot(LONG["the rules of one service"], full=False)):
        with capture_logs() as logs, trio.CancelScope() as scope:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(world.applier.apply, Snapshot({"b": DISABLED, "c": Settings()}, full=False))
                await until(lambda: world.services.find("b") == DISABLED_SERVICE)
                await trio.lowlevel.checkpoint()
                scope.cancel()
    assert world.settings().keys() == {"b", "x"}
    assert world.settings()["b"] == DISABLED
    assert [entry["event"] for entry in logs] == [
        "snapshot takes away, and waits for its turn",
        "snapshot not applied, but for what it takes away",
    ]


async def test_the_log_says_what_a_snapshot_did_and_how_long_it_took(autojump_clock: MockClock) -> None:
    world = Governed()
    with capture_logs() as logs:
        await world.applier.apply(Snapshot({"b": Settings()}, version="7"))
    assert logs == [
        {
            "event": "snapshot applied",
            "log_level": "info",
            "version": "7",
            "does": "adds 1 service; touches no session",
            "seconds": 0.0,
        }
    ]


async def test_upstreams_are_settled_after_a_snapshot_that_only_took_away() -> None:
    world, settled = Governed(), list[str]()

    class Settling:
        def changed(self, service: Service, change: Change) -> None:
            settled.append(change.name)

        def settle(self) -> list[None]:
            settled.append("settle")
            return []

    await world.let("b")
    world.services.watch(Settling())
    with pytest.raises(SnapshotError):
        await world.applier.apply(Snapshot({"b": DISABLED, "c": FAULTY}))
    assert settled == ["b", "settle"]
