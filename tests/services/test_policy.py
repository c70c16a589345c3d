from collections.abc import Generator
from typing import Any, TypeVar

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.policies import FIELDS, HASHES, any_policies, policies, some_settings
from tests.strategies import examples
from trioedge.services.credentials import Credentials
from trioedge.services.device_rules import DeviceRules, Handover, Unchecked
from trioedge.services.policy import (
    ENTRIES_PER_STEP,
    FATES,
    LARGEST,
    Fate,
    Policy,
    Settings,
    changed_fields,
    faults,
)
from trioedge.structures.gcra import RateSpec

T = TypeVar("T")


def steps_of(generator: Generator[None, None, T]) -> tuple[int, T]:
    """Run a generator to its end: how often it stopped, and what it returned."""
    steps = 0
    while True:
        try:
            next(generator)
        except StopIteration as end:
            return steps, end.value
        steps += 1


def with_policy(settings: Settings, **said: Any) -> Settings:
    return attrs.evolve(settings, policy=attrs.evolve(settings.policy, **said))


def changed(before: Settings, after: Settings) -> tuple[str, ...]:
    return steps_of(changed_fields(before, after))[1]


def test_each_field_says_what_becomes_of_live_sessions() -> None:
    assert FATES == {
        "enabled": Fate.EVICT,
        "session_rate": Fate.KEEP,
        "session_burst": Fate.KEEP,
        "max_sessions": Fate.KEEP,
        "down_rate": Fate.RETUNE,
        "up_rate": Fate.RETUNE,
        "device_limit": Fate.RECHECK,
        "device_handover": Fate.RECHECK,
        "device_hold_seconds": Fate.KEEP,
        "device_unchecked": Fate.KEEP,
        "device_stale_seconds": Fate.KEEP,
        "accept": Fate.RECHECK,
        "reject": Fate.RECHECK,
        "outbound": Fate.KEEP,
        "preconnect": Fate.KEEP,
        "password_hash": Fate.EVICT,
    }


# What cannot be.

NO_RATE, NO_BYTE_RATE = "must be a number above 0", "must be a number of at least 1"
NO_SECONDS = "must be a number of at least 0"
NO_COUNT, NO_IDLE = "must be a whole number of at least 1", "must be a whole number from 0 to 1000"
NO_LIST = "must be a tuple of addresses, prefixes or ranges"


@pytest.mark.parametrize(
    ("field", "value", "wrong"),
    [
        *(("enabled", value, "must be true or false") for value in (None, 1, "true")),
        *(
            (field, value, wrong)
            for field, wrong in (("session_rate", NO_RATE), ("down_rate", NO_BYTE_RATE), ("up_rate", NO_BYTE_RATE))
            for value in (0, -1, True, "20", float("nan"), float("inf"), LARGEST, 10**400)
        ),
        *(
            (field, value, NO_COUNT)
            for field in ("session_burst", "max_sessions", "device_limit")
            for value in (0, -1, 1.0, True, "3", LARGEST)
        ),
        ("session_burst", None, NO_COUNT),
        *(
            (field, value, NO_SECONDS)
            for field in ("device_hold_seconds", "device_stale_seconds")
            for value in (-1, "30", float("nan"), float("inf"), 10**400)
        ),
        *(("preconnect", value, NO_IDLE) for value in (-1, 1001, 1.0, True, None)),
        *(("device_handover", value, "must be 'reject_new' or 'evict_oldest' or 'hold'") for value in (1, "keep")),
        *(("device_unchecked", value, "must be 'fail_open' or 'fail_closed' or 'stale_for'") for value in (0, "")),
        *((field, value, NO_LIST) for field in ("accept", "reject") for value in (None, "10.0.0.0/8", ["10.0.0.0/8"])),
        ("outbound", "192.0.2.9:80", "is no destination: address '192.0.2.9:80' must begin with tcp:// or unix://"),
        ("outbound", 80, "is no destination: address 80 is not text"),
        ("outbound", "tcp://192.0.2.9:0", "is no destination: address 'tcp://192.0.2.9:0': nothing answers on port 0"),
    ],
)
def test_a_value_that_cannot_be_is_named_by_its_path_and_quoted(field: str, value: Any, wrong: str) -> None:
    found = list(faults(attrs.evolve(Policy(outbound="tcp://192.0.2.9:80"), **{field: value}), "services.shop"))
    assert found[0].startswith(f"services.shop.{field} = {value!r} {wrong}")
    assert len(found) == 1 or field == "outbound"


def test_every_fault_is_given() -> None:
    policy = Policy(session_rate=0, max_sessions=0, preconnect=1, outbound=None)
    assert list(faults(policy, "a")) == [
        "a.session_rate = 0 must be a number above 0",
        "a.max_sessions = 0 must be a whole number of at least 1",
        "a.preconnect = 1 needs an outbound to connect to",
    ]


@pytest.mark.parametrize(
    "policy",
    [
        Policy(),
        Policy(session_rate=5e-3, session_burst=1, max_sessions=LARGEST - 1, down_rate=1, up_rate=2.0**62),
        Policy(device_limit=1, device_handover=Handover.HOLD, device_hold_seconds=0, device_stale_seconds=0),
        Policy(accept=("nobody looks at entries here",), outbound="tcp://shop.example:443", preconnect=1000),
    ],
)
def test_what_can_be_has_no_faults(policy: Policy) -> None:
    assert list(faults(policy, "a")) == []


@examples(100)
@given(any_policies)
def test_whatever_is_written_is_named_or_can_hold(policy: Policy) -> None:
    found = list(faults(policy, "services.shop"))
    assert all(fault.startswith("services.shop.") for fault in found)
    if not found:
        assert None not in attrs.astuple(policy.device_rules(DeviceRules(limit=1)))
        if policy.session_rate is not None:
            RateSpec(policy.session_rate, policy.session_burst)


@examples(50)
@given(policies())
def test_good_policies_have_no_faults(policy: Policy) -> None:
    assert list(faults(policy, "a")) == []


# What differs.


@examples(50)
@given(some_settings, some_settings)
def test_changed_fields_are_those_that_differ(before: Settings, after: Settings) -> None:
    expected = [name for name in FIELDS if getattr(before.policy, name) != getattr(after.policy, name)]
    if before.credentials != after.credentials:
        expected.append("password_hash")
    assert changed(before, after) == tuple(expected)
    assert changed(before, Settings(attrs.evolve(before.policy), attrs.evolve(before.credentials))) == ()


@pytest.mark.parametrize("field", [*FIELDS, "password_hash"])
def test_a_change_of_one_field_is_a_change_of_no_other(field: str) -> None:
    before = Settings()
    if field == "password_hash":
        after = attrs.evolve(before, credentials=Credentials(HASHES[1]))
    else:
        after = with_policy(before, **{field: "another"})
    assert changed(before, after) == (field,)
    assert changed(after, before) == (field,)


def long_list(length: int) -> tuple[str, ...]:
    return tuple(f"10.0.{number >> 8}.{number & 255}" for number in range(length))


@pytest.mark.parametrize("field", ["accept", "reject"])
@pytest.mark.parametrize("length", [1, ENTRIES_PER_STEP, ENTRIES_PER_STEP + 1, 5 * ENTRIES_PER_STEP])
def test_long_lists_are_compared_in_short_steps_and_to_their_end(field: str, length: int) -> None:
    before, same = (with_policy(Settings(), **{field: long_list(length)}) for _ in range(2))
    steps, fields = steps_of(changed_fields(before, same))
    assert fields == ()
    assert steps == (-(-length // ENTRIES_PER_STEP) if length > ENTRIES_PER_STEP else 0)
    for others in (long_list(length)[:-1], (*long_list(length)[:-1], "unix"), [*long_list(length)], None):
        assert changed(before, with_policy(before, **{field: others})) == (field,)


def test_the_same_long_list_is_not_looked_at() -> None:
    before = Settings(Policy(accept=long_list(3 * ENTRIES_PER_STEP)))
    after = with_policy(before, max_sessions=3)
    assert steps_of(changed_fields(before, after)) == (0, ("max_sessions",))
    assert steps_of(changed_fields(before, before)) == (0, ())


# The rest.


ARGUMENTS = DeviceRules(3, Handover.EVICT_OLDEST, 1.0, Unchecked.FAIL_OPEN, 2.0)


@pytest.mark.parametrize(
    "said",
    [
        {},
        {"limit": 4},
        {"handover": Handover.REJECT_NEW},
        {"hold_seconds": 0.0},
        {"unchecked": Unchecked.STALE_FOR},
        {"stale_seconds": 0.0},
        attrs.asdict(DeviceRules(limit=1)),
    ],
    ids=lambda said: " ".join(said) or "nothing",
)
def test_each_device_field_that_says_something_goes_before_the_argument(said: dict[str, Any]) -> None:
    """Also where it says what a stage without arguments would do."""
    policy = Policy(**{f"device_{name}": value for name, value in said.items()})
    assert policy.device_rules(ARGUMENTS) == attrs.evolve(ARGUMENTS, **said)


def test_a_password_hash_is_not_printed() -> None:
    assert "secret" not in repr(Settings(credentials=Credentials("secret")))


@given(st.data())
@examples(20)
def test_policies_can_be_keys(data: st.DataObject) -> None:
    policy = data.draw(policies())
    assert {policy: 1}[attrs.evolve(policy)] == 1
