"""The examination of snapshots: faults by path, source rules, and short steps."""

from typing import Any

import pytest
from structlog.testing import capture_logs
from trio.testing import MockClock

import trioedge as te
from tests.support.policies import STAGE_KEYS, Hours
from tests.support.services import Governed, Tenants
from tests.support.steps import STEP_SECONDS, best_of_three, longest_step
from trioedge.addresses.open_ports import parse_open_ports
from trioedge.errors import MAX_FAULTS
from trioedge.services.changes import ENTRIES_PER_STEP
from trioedge.services.control_plane import SnapshotError
from trioedge.services.credentials import Credentials
from trioedge.services.examine import Examiner, Found, PolicyWarnings
from trioedge.services.listening.ports import Ports
from trioedge.services.policy import FATES, Policy, Settings
from trioedge.services.snapshot import Change, Snapshot
from trioedge.services.stage_keys import NO_KEYS
from trioedge.testing import open_edge

LONG_LIST = [f"10.{number >> 16}.{number >> 8 & 255}.{number & 255}" for number in range(20_000)]


def many(number: int, **said: Any) -> dict[str, Settings]:
    return {f"{each}": Settings(Policy(**said)) for each in range(number)}


def examine(tenants: Tenants, snapshot: Snapshot) -> tuple[int, float, Found, list[str]]:
    """Return the number of steps, the longest of them in seconds, the changes and the faults."""
    examiner = Examiner(tenants.services, NO_KEYS)
    steps, longest, (found, wrong) = longest_step(examiner.examine(snapshot, PolicyWarnings(())))
    return steps, longest, found, list(wrong)


# Faults.


async def test_every_fault_is_listed_by_its_path() -> None:
    tenants = Tenants()
    tenants.apply(Snapshot({"a": Settings(), "b": Settings()}))
    bad = Snapshot(
        {
            "a": Settings(Policy(session_rate=0, max_sessions=0, accept=("10.0.0.0/8", "nobody", 7))),  # type: ignore[arg-type]
            "b": Settings(Policy(enabled=False)),
            "c": Settings(Policy(preconnect=3, session_burst=3), Credentials("plain")),
            "d": Settings(Policy(accept=["10.0.0.1"], reject="unix")),  # type: ignore[arg-type]
            "e": Settings(Policy(accept=("10.0.0.1",), reject=("10.0.0.1",))),
            "f": Settings(Policy(accept=(["10.0.0.1"],))),  # type: ignore[arg-type]
            "": Settings(),
            "x" * 256: Settings(),
        }
    )
    address = "is not an address, a prefix (10.0.0.0/8) or a range (10.0.0.1-10.0.0.9)"
    letters = "a service's name is printable text of 1 to 255 letters"
    _, _, found, faults = examine(tenants, bad)
    assert faults == [
        "services.a.session_rate = 0 must be a number above 0",
        "services.a.max_sessions = 0 must be a whole number of at least 1, or 'unlimited'",
        f"services.a.accept[1] = 'nobody' {address}",
        f"services.a.accept[2] = 7 {address}",
        "services.c.session_burst = 3 needs a session_rate",
        "services.c.preconnect = 3 needs a destination to connect to",
        "services.c.password_hash is not what `trioedge.hash_password` gives",
        "services.d.accept = ['10.0.0.1'] must be a tuple of addresses, prefixes or ranges",
        "services.d.reject = 'unix' must be a tuple of addresses, prefixes or ranges",
        "services.e.reject[0] = '10.0.0.1' is both accepted and rejected (as '10.0.0.1')",
        f"services.f.accept[0] = ['10.0.0.1'] {address}",
        f"services.'': {letters}",
        f"services.'{'x' * 99}...: {letters}",
    ]
    assert not found


async def test_a_name_that_is_no_text_is_a_fault() -> None:
    tenants = Tenants()
    assert examine(tenants, Snapshot({7: Settings()}))[3] == [  # type: ignore[dict-item]
        "services.7: a service's name is printable text of 1 to 255 letters"
    ]


def test_a_name_that_cannot_be_printed_is_a_fault_as_it_is_in_a_file() -> None:
    assert examine(Tenants(), Snapshot({"a\n": Settings()}))[3] == [
        "services.'a\\n': a service's name is printable text of 1 to 255 letters"
    ]


@pytest.mark.parametrize("before", [[], ["a", "b", "c"]])
def test_settings_that_are_something_else_are_a_fault(before: list[str]) -> None:
    tenants = Tenants()
    tenants.apply(Snapshot({name: Settings() for name in before}))
    bad: dict[str, Any] = {"a": None, "b": Policy(), "c": Settings(None), "d": Settings()}  # type: ignore[arg-type]
    _, _, found, faults = examine(tenants, Snapshot(bad))
    assert [fault.partition(" = ")[0] for fault in faults] == ["services.a", "services.b", "services.c"]
    assert faults[0] == "services.a = None must be Settings, as in Settings(Policy(session_rate=20))"
    assert not found


def test_keys_of_stages_are_checked_with_those_of_the_chain() -> None:
    snapshot = Snapshot({"a": Settings(Policy(stages=(Hours(),)))})
    tenants = Tenants()
    for keys, faults in ((STAGE_KEYS, 0), (NO_KEYS, 1)):
        _, _, (found, wrong) = longest_step(Examiner(tenants.services, keys).examine(snapshot, PolicyWarnings(())))
        assert (len(found), len(list(wrong))) == (1 - faults, faults)


@pytest.mark.parametrize("before", [[], ["a"]])
@pytest.mark.parametrize("changes", [False, True])
async def test_a_service_cannot_be_both_there_and_removed(before: list[str], changes: bool) -> None:
    world = Governed()
    await world.applier.apply(Snapshot({name: Settings() for name in before}))
    settings = Settings(Policy(max_sessions=1 if changes else None))
    with pytest.raises(SnapshotError) as refusal:
        await world.applier.apply(Snapshot({"a": settings}, frozenset("a"), full=False))
    assert refusal.value.faults == ("services.a is both there and removed",)
    assert world.settings() == {name: Settings() for name in before}


def test_a_service_that_is_removed_and_was_never_there_is_no_fault() -> None:
    _, _, found, faults = examine(Tenants(), Snapshot({}, frozenset("a"), full=False))
    assert (list(found), faults) == ([], [])


def test_an_examination_gives_the_changes_and_changes_nothing() -> None:
    tenants = Tenants()
    tenants.apply(Snapshot({"a": Settings(), "b": Settings()}))
    before = {service.name: service.settings for service in tenants.services}
    after = Settings(Policy(accept=("10.0.0.1",)))
    _, _, found, faults = examine(tenants, Snapshot({"a": after, "c": Settings()}))
    assert faults == []
    assert [change for change, _ in found] == [
        Change("a", Settings(), after, ("accept",)),
        Change("c", None, Settings()),
        Change("b", Settings(), None),
    ]
    assert [rules is None for _, rules in found] == [False, True, True]
    assert {service.name: service.settings for service in tenants.services} == before


# Source rules.


async def test_equal_rules_are_compiled_once_and_kept_while_other_fields_change() -> None:
    world, entries = Governed(), ("192.0.2.0/24", "10.0.0.0/8")
    await world.applier.apply(
        Snapshot({name: Settings(Policy(accept=tuple(iter(entries)), reject=("unix",))) for name in "ab"})
    )
    one, other = world.services.get("a"), world.services.get("b")
    assert one is not None
    assert other is not None
    rules = one.rules
    assert rules is not None
    assert other.rules is rules
    await world.let(accept=entries, reject=("unix",), down_rate=5)
    assert one.rules is rules
    await world.let(accept=("unix",), reject=entries)
    assert one.rules is not rules
    await world.let(accept=entries, reject=("unix",))
    assert one.rules is rules, "while another service has them"


@pytest.mark.parametrize("place", [0, 700, 1400])
async def test_long_lists_that_differ_in_one_entry_are_other_rules(place: int) -> None:
    entries = LONG_LIST[:1401]
    other = [*entries[:place], "192.0.2.1", *entries[place + 1 :]]
    world = Governed()
    await world.let(accept=tuple(entries))
    session = world.carried()  # without the decision, which would have refused it
    await world.let("b", accept=tuple(other))
    assert session.cut_reason is None
    assert (await world.let(accept=tuple(other))).evicted == 0
    assert (await world.let(accept=tuple(entries))).evicted == 1


async def test_rules_that_stay_are_not_hashed_again() -> None:
    world = Governed()
    await world.let(accept=tuple(LONG_LIST))
    snapshot = Snapshot({"a": Settings(Policy(accept=tuple(LONG_LIST), down_rate=1))})
    steps, _, found, _ = examine(world, snapshot)
    assert steps < 1.5 * len(LONG_LIST) / ENTRIES_PER_STEP, "the lists were compared, and nothing else was done"
    service = world.services.get("a")
    assert service is not None
    assert [rules for _, rules in found] == [service.rules]


# Steps.


@pytest.mark.parametrize(
    ("before", "after", "min_steps", "changes"),
    [
        ({}, many(2000), 2000, 2000),
        (many(2000), many(2000, session_rate=1.0), 2000, 2000),
        (many(2000), {}, 2000, 2000),
        ({}, {"a": Settings(Policy(accept=tuple(LONG_LIST)))}, 1000, 1),
        ({"a": Settings(Policy(accept=tuple(LONG_LIST)))}, {"a": Settings(Policy(accept=tuple(LONG_LIST)))}, 30, 0),
        (
            {"a": Settings(Policy(accept=tuple(LONG_LIST)))},
            {"a": Settings(Policy(accept=tuple(LONG_LIST), max_sessions=1))},
            30,
            1,
        ),
    ],
    ids=["added", "changed", "removed", "a long list is added", "unchanged", "another field is changed"],
)
async def test_no_step_of_an_examination_is_long(
    before: dict[str, Settings], after: dict[str, Settings], min_steps: int, changes: int
) -> None:
    async def attempt() -> float:
        world = Governed()
        await world.applier.apply(Snapshot(before))
        steps, longest, found, _ = examine(world, Snapshot(after))
        assert steps >= min_steps
        assert len(found) == changes
        return longest

    assert await best_of_three(attempt) < STEP_SECONDS


async def test_no_step_is_long_if_2_000_services_are_wrong() -> None:
    tenants = Tenants()
    tenants.apply(Snapshot(many(2000)))

    async def attempt() -> float:
        steps, longest, found, faults = examine(tenants, Snapshot(many(2000, session_rate=0)))
        assert len(faults) == MAX_FAULTS + 1
        assert faults[-1] == f"and {2000 - MAX_FAULTS:,} more"
        assert not found
        assert steps >= 6000, "the changes that come to nothing are freed one in each step"
        return longest

    assert await best_of_three(attempt) < STEP_SECONDS


async def test_no_step_is_long_if_15_000_source_entries_are_wrong() -> None:
    nowhere = tuple(f"nowhere {number}" for number in range(5000))

    async def attempt() -> float:
        _, longest, _, faults = examine(Tenants(), Snapshot(many(3, accept=nowhere)))
        assert len(faults) == MAX_FAULTS + 1
        assert faults[0].startswith("services.0.accept[0] = 'nowhere 0' is not an address")
        assert faults[-1] == f"and {15_000 - MAX_FAULTS:,} more"
        return longest

    assert await best_of_three(attempt) < STEP_SECONDS


NO_OUTBOUND = "policy names no destination: its sessions will be refused"


@pytest.mark.parametrize(
    ("policy", "keys"),
    [
        (Policy(), []),
        (Policy(session_rate=1), []),
        (Policy(down_rate=1), ["down_rate"]),
        (Policy(max_sessions=1, down_rate=1, session_rate=1), ["down_rate", "max_sessions"]),
        (Policy(enabled=False), ["enabled"]),
        (Policy(accept=("::/0",)), ["accept"]),
        (Policy(stages=(Hours(8),)), []),
    ],
)
def test_a_field_that_is_set_and_that_no_stage_reads_is_named(policy: Policy, keys: list[str]) -> None:
    warnings = PolicyWarnings({"session_rate"})
    warnings.note("shop", policy)
    assert (warnings.keys, warnings.services) == (keys, ["shop"] if keys else [])
    assert warnings.without_destination == []


def test_the_first_services_that_set_such_a_field_are_named_once_each() -> None:
    warnings = PolicyWarnings(())
    for name in "abcd":
        warnings.note(name, Policy(down_rate=1, up_rate=1))
    assert (warnings.keys, warnings.services) == (["down_rate", "up_rate"], ["a", "b", "c"])


def test_the_first_services_without_an_outbound_are_named_where_sessions_need_one() -> None:
    warnings = PolicyWarnings(FATES, needs_destination=True)
    warnings.note("known", Policy(outbound="tcp://192.0.2.9:80"))
    warnings.note("disabled", Policy(enabled=False))
    assert warnings.without_destination == []
    for name in "abcd":
        warnings.note(name, Policy())
    assert warnings.without_destination == ["a", "b", "c"]
    assert (warnings.keys, warnings.services) == ([], [])


def test_a_service_without_an_outbound_is_fine_where_sessions_need_none() -> None:
    warnings = PolicyWarnings(FATES)
    warnings.note("shop", Policy())
    assert warnings.without_destination == []


def test_a_policy_may_earn_both_warnings() -> None:
    warnings = PolicyWarnings(FATES.keys() - {"max_sessions"}, needs_destination=True)
    warnings.note("shop", Policy(max_sessions=1))
    assert (warnings.keys, warnings.services, warnings.without_destination) == (["max_sessions"], ["shop"], ["shop"])


# On an edge.


@te.decision(provides=("destination",))
def elsewhere(session: te.Session) -> te.Verdict:
    session.destination = "tcp://192.0.2.8:80"
    return te.CONTINUE


class Anywhere:
    """An endpoint of a user's that reads the `outbound` and works without one."""

    enforces = ("outbound",)

    async def handle(self, session: te.Session) -> te.Outcome:
        return te.Completed()


def to(session: te.Session) -> str:
    return "tcp://192.0.2.9:80"


@pytest.mark.parametrize(
    ("stages", "endpoint", "needed"),
    [
        ([], te.Forward(), True),
        ([te.SessionGate(5)], te.Forward(allow="private"), True),
        ([elsewhere], te.Forward(), False),
        ([], te.Forward("tcp://192.0.2.9:80"), False),
        ([], te.Forward(to), False),
        ([], Anywhere(), False),
    ],
)
async def test_an_edge_warns_of_policies_without_an_outbound_if_nothing_else_names_a_destination(
    stages: list[Any], endpoint: object, needed: bool, autojump_clock: MockClock
) -> None:
    control = te.MemoryControl({"default": Policy(), "off": Policy(enabled=False)})
    edge = te.Edge("tcp://127.0.0.1:6380", stages, endpoint, control=control)
    assert edge.outline.needs_destination is needed
    with capture_logs() as logs:
        async with open_edge(edge):
            pass
    warnings = [entry["services"] for entry in logs if entry["event"] == NO_OUTBOUND]
    assert warnings == ([["default"]] if needed else [])


async def test_the_warning_is_logged_after_a_snapshot_is_applied_and_not_for_a_plan() -> None:
    world = Governed()
    world.applier.needs_destination = True
    snapshot = Snapshot({f"{number}": Settings() for number in range(5)})
    with capture_logs() as logs:
        await world.applier.plan(snapshot)
        assert logs == []
        await world.applier.apply(snapshot)
    assert [entry["services"] for entry in logs if entry["event"] == NO_OUTBOUND] == [["0", "1", "2"]]
    with capture_logs() as logs:
        await world.applier.apply(snapshot)
    assert logs == [], "nothing has changed"


# Listeners; test_ports.py has the rules.


def listening(*names: str, port: int = 20_001, **said: Any) -> dict[str, Settings]:
    return {name: Settings(Policy(listen=(f"tcp://0.0.0.0:{port}",), **said)) for name in names}


def opened(**services: Settings) -> Tenants:
    tenants = Tenants()
    tenants.services.ports = Ports(parse_open_ports("tcp://0.0.0.0:20000-29999"))
    tenants.apply(Snapshot(services))
    return tenants


def test_a_listener_has_one_fault_at_a_time() -> None:
    """A value that is no listener is not compared with others, and neither is a policy with another fault."""
    tenants = opened()
    for services, faults in (
        (
            listening("a", port=0),
            ["services.a.listen[0] = 'tcp://0.0.0.0:0' is no listener: port 0 is another"],
        ),
        (listening("a", port=80), ["services.a.listen[0] = 'tcp://0.0.0.0:80' is outside of open_ports"]),
        (listening("a", "b", session_rate=0), ["services.a.session_rate = 0 must", "services.b.session_rate = 0 must"]),
        (listening("a", "b"), ["services.b.listen[0] = 'tcp://0.0.0.0:20001' is taken: services.a has the listener"]),
    ):
        _, _, found, wrong = examine(tenants, Snapshot(services))
        assert not found
        assert [fault[: len(says)] for fault, says in zip(wrong, faults, strict=True)] == faults


def test_a_listener_of_a_service_that_stays_is_taken_for_a_delta_and_free_in_full() -> None:
    tenants = opened(**listening("shop"))
    (fault,) = examine(tenants, Snapshot(listening("cafe"), full=False))[3]
    assert fault.startswith("services.cafe.listen[0] = 'tcp://0.0.0.0:20001' is taken: services.shop has the listener")
    assert examine(tenants, Snapshot(listening("cafe"), frozenset({"shop"}), full=False))[3] == []
    assert examine(tenants, Snapshot(listening("cafe")))[3] == []


async def test_ten_thousand_listeners_are_compared_in_short_steps() -> None:
    services = {
        f"s{number}": Settings(Policy(listen=(f"tcp://0.0.0.0:{20_000 + number}",), destination="tcp://192.0.2.9:80"))
        for number in range(9_999)
    }
    tenants = opened()
    snapshot = Snapshot(services)

    async def longest() -> float:
        steps, seconds, found, wrong = examine(tenants, snapshot)
        assert (len(found), wrong) == (9_999, [])
        assert steps > 3 * 9_999
        return seconds

    assert await best_of_three(longest) < STEP_SECONDS
