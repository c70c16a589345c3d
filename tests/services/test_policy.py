from datetime import UTC, datetime
from typing import Any

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.strategies import examples
from tests.support.policies import FIELDS, DailyQuota, Hours, any_policies, policies
from trioedge.arguments import MAX_NUMBER
from trioedge.errors import ConfigurationError
from trioedge.services.credentials import Credentials
from trioedge.services.device_rules import DeviceRules, Handover, Unchecked
from trioedge.services.policy import (
    FATES,
    Fate,
    Policy,
    Settings,
    defaults_of,
    enforced_by_edge,
    faults,
    key_of,
    stage_fields,
)
from trioedge.structures.gcra import RateSpec

LARGEST = MAX_NUMBER + 1


def test_each_field_has_a_fate_for_live_sessions() -> None:
    assert FATES == {
        "enabled": Fate.EVICT,
        "session_rate": Fate.KEEP,
        "session_burst": Fate.KEEP,
        "max_sessions": Fate.KEEP,
        "down_rate": Fate.RETUNE,
        "up_rate": Fate.RETUNE,
        "quota_bytes": Fate.RECHECK,
        "quota_used": Fate.RECHECK,
        "expires_at": Fate.RECHECK,
        "device_limit": Fate.RECHECK,
        "device_handover": Fate.RECHECK,
        "device_hold_seconds": Fate.KEEP,
        "device_pause_seconds": Fate.KEEP,
        "device_unchecked": Fate.KEEP,
        "device_stale_seconds": Fate.KEEP,
        "accept": Fate.RECHECK,
        "reject": Fate.RECHECK,
        "listen": Fate.KEEP,
        "destination": Fate.KEEP,
        "outbound": Fate.KEEP,
        "preconnect": Fate.KEEP,
        "password_hash": Fate.EVICT,
    }


NO_RATE, NO_BYTE_RATE = "must be a number above 0", "must be a number of at least 1"
NO_SECONDS = "must be a number of at least 0"
NO_COUNT, NO_IDLE = "must be a whole number of at least 1", "must be a whole number from 0 to 1000"
NO_USED = "must be a whole number of at least 0"
NO_MOMENT = "must be seconds since 1970, up to 253402300799, or text such as '2027-01-31T00:00:00Z'"
NO_LIST = "must be a tuple of addresses, prefixes or ranges"


@pytest.mark.parametrize(
    ("field", "value", "wrong"),
    [
        *(("enabled", value, "must be true or false") for value in (None, 1, "true")),
        ("session_rate", "20", NO_RATE),
        *(
            (field, value, wrong)
            for field, wrong in (("session_rate", NO_RATE), ("down_rate", NO_BYTE_RATE), ("up_rate", NO_BYTE_RATE))
            for value in (0, -1, True, b"20", float("nan"), float("inf"), LARGEST, 10**400)
        ),
        *(
            (field, value, NO_COUNT)
            for field in ("session_burst", "device_limit")
            for value in (0, -1, 1.0, True, "3", LARGEST)
        ),
        *(("max_sessions", value, f"{NO_COUNT}, or 'unlimited'") for value in (0, -1, 1.0, True, "3", LARGEST, "none")),
        *(("quota_bytes", value, NO_COUNT) for value in (0, -1, 1.0, True, LARGEST)),
        *(("quota_used", value, NO_USED) for value in (-1, 1.0, True, None, LARGEST)),
        *(("expires_at", value, NO_MOMENT) for value in (-1, True, float("nan"), float("inf"), 1_700_000_000_000)),
        ("expires_at", 0, "is 1970: leave it out for a service that never expires"),
        ("session_burst", None, NO_COUNT),
        *(
            (field, value, NO_SECONDS)
            for field in ("device_hold_seconds", "device_pause_seconds", "device_stale_seconds")
            for value in (-1, "30", float("nan"), float("inf"), 10**400)
        ),
        *(("preconnect", value, NO_IDLE) for value in (-1, 1001, 1.0, True, None)),
        *(("device_handover", value, "must be 'reject_new' or 'evict_oldest' or 'hold'") for value in (1, "keep")),
        *(("device_unchecked", value, "must be 'fail_open' or 'fail_closed' or 'stale_for'") for value in (0, "")),
        *((field, value, NO_LIST) for field in ("accept", "reject") for value in (None, "10.0.0.0/8", ["10.0.0.0/8"])),
        *(
            ("listen", value, "must be a tuple of addresses, as in ('tcp://0.0.0.0:20001',)")
            for value in (None, "tcp://0.0.0.0:20001", ["tcp://0.0.0.0:20001"], 20001)
        ),
        ("outbound", "192.0.2.9:80", "is no destination: address '192.0.2.9:80' must begin with tcp:// or unix://"),
        ("outbound", 80, "is no destination: address 80 is not text"),
        ("outbound", "tcp://192.0.2.9:0", "is no destination: address 'tcp://192.0.2.9:0': nothing answers on port 0"),
    ],
)
def test_a_wrong_value_is_named_by_its_path_and_quoted(field: str, value: Any, wrong: str) -> None:
    found = list(faults(attrs.evolve(Policy(outbound="tcp://192.0.2.9:80"), **{field: value}), "services.shop"))
    assert found[0].startswith(f"services.shop.{field} = {value!r} {wrong}")
    assert len(found) == 1 or field == "outbound"


MANY = tuple(f"tcp://0.0.0.0:{port}" for port in range(20_000, 20_065))


@pytest.mark.parametrize(
    ("listen", "wrong"),
    [
        (("unix:///run/x.sock",), "[0] = 'unix:///run/x.sock' is no listener: it is a local socket"),
        (("tcp://0.0.0.0:1", "tcp://shop.example:1"), "[1] = 'tcp://shop.example:1' is no listener: 'shop.example' is"),
        (("tcp://0.0.0.0:0",), "[0] = 'tcp://0.0.0.0:0' is no listener: port 0 is another one each time: write"),
        ((20001,), "[0] = 20001 must be text, as in 'tcp://0.0.0.0:20001'"),
        (("x" * 1_001,), "[0] has more than 1,000 letters"),
        (
            ("tcp://0.0.0.0:1", "tcp://[::1]:2", "tcp://127.0.0.1:1"),
            "[2] = 'tcp://127.0.0.1:1' is there already, as [0]",
        ),
        (("tcp://[::1]:1", "tcp://[0::1]:01"), "[1] = 'tcp://[0::1]:01' is there already, as [0]"),
        (MANY, "[64] is one too many: a service has at most 64 listeners"),
    ],
)
def test_a_listener_that_cannot_be_is_named_by_its_place(listen: Any, wrong: str) -> None:
    (found,) = faults(Policy(listen=listen), "services.shop")
    assert found.startswith(f"services.shop.listen{wrong}")


def test_every_fault_of_a_policy_is_found() -> None:
    policy = Policy(session_burst=5, max_sessions=0, up_rate=0, preconnect=1)
    assert list(faults(policy, "a")) == [
        "a.session_burst = 5 needs a session_rate",
        "a.max_sessions = 0 must be a whole number of at least 1, or 'unlimited'",
        "a.up_rate = 0 must be a number of at least 1",
        "a.preconnect = 1 needs a destination to connect to",
    ]


@pytest.mark.parametrize(
    ("policy", "found"),
    [
        (Policy(session_burst=5), ["a.session_burst = 5 needs a session_rate"]),
        (Policy(session_burst=5, session_rate=1), []),
        (Policy(session_burst=5, session_rate="1"), ["a.session_rate = '1' must be a number above 0"]),  # type: ignore[arg-type]
        (Policy(session_burst=32), []),
        (Policy(session_burst=0), ["a.session_burst = 0 must be a whole number of at least 1"]),
        (Policy(preconnect=1), ["a.preconnect = 1 needs a destination to connect to"]),
        (Policy(preconnect=1, outbound="tcp://192.0.2.9:80"), []),
        (Policy(preconnect=0), []),
        (Policy(preconnect=-1), ["a.preconnect = -1 must be a whole number from 0 to 1000"]),
    ],
)
def test_a_field_that_does_nothing_without_another_one_needs_it_unless_it_is_the_default(
    policy: Policy, found: list[str]
) -> None:
    assert list(faults(policy, "a")) == found


@pytest.mark.parametrize(
    "policy",
    [
        Policy(),
        Policy(session_rate=5e-3, session_burst=1, max_sessions=LARGEST - 1, down_rate=1, up_rate=2.0**62),
        Policy(max_sessions="unlimited", device_pause_seconds=0),
        Policy(quota_bytes=1, quota_used=0, expires_at=0.5),
        Policy(quota_bytes=LARGEST - 1, quota_used=LARGEST - 1, expires_at=253_402_300_799),
        Policy(listen=MANY[:64]),
        Policy(listen=("tcp://[::]:65535", "tcp://127.0.0.1:1", "tcp://127.0.0.2:1")),
        Policy(device_limit=1, device_handover=Handover.HOLD, device_hold_seconds=0, device_stale_seconds=0),
        Policy(accept=("entries are not checked here",), outbound="tcp://shop.example:443", preconnect=1000),
    ],
)
def test_a_value_at_its_bound_is_no_fault(policy: Policy) -> None:
    assert list(faults(policy, "a")) == []


@examples(100)
@given(any_policies)
def test_any_policy_has_faults_or_can_be_applied(policy: Policy) -> None:
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
def test_a_device_field_applies_instead_of_the_argument_of_the_stage(said: dict[str, Any]) -> None:
    """Also if it is the default of the argument."""
    policy = Policy(**{f"device_{name}": value for name, value in said.items()})
    assert policy.device_rules(ARGUMENTS) == attrs.evolve(ARGUMENTS, **said)


def test_a_password_hash_is_not_printed() -> None:
    assert "secret" not in repr(Settings(credentials=Credentials("secret")))


@given(st.data())
@examples(20)
def test_policies_can_be_keys_of_a_dict(data: st.DataObject) -> None:
    policy = data.draw(policies())
    assert {policy: 1}[attrs.evolve(policy)] == 1


@pytest.mark.parametrize(("text", "rate"), [("10 MB/s", 10e6), ("50 Mbit/s", 6.25e6), (3, 3), (0, 0), (None, None)])
@pytest.mark.parametrize("field", ["down_rate", "up_rate"])
def test_a_rate_in_text_is_read_when_the_policy_is_made(field: str, text: Any, rate: float | None) -> None:
    assert getattr(Policy(**{field: text}), field) == rate
    assert getattr(attrs.evolve(Policy(), **{field: text}), field) == rate


@pytest.mark.parametrize("field", ["down_rate", "up_rate"])
def test_a_wrong_rate_in_text_is_refused_where_it_is_written(field: str) -> None:
    with pytest.raises(ConfigurationError) as raised:
        Policy(**{field: "10 MB"})  # type: ignore[arg-type]
    assert str(raised.value).startswith(f"Policy({field}=...): rate '10 MB' must be at least 1, in bytes a second, or")


@pytest.mark.parametrize(
    ("field", "said", "value"),
    [
        ("quota_bytes", "50 GB", 50_000_000_000),
        ("quota_used", "1.5 KiB", 1_536),
        ("expires_at", "2027-01-31T00:00:00Z", 1_801_353_600),
        ("expires_at", datetime(2027, 1, 31, tzinfo=UTC), 1_801_353_600),
    ],
)
def test_bytes_and_moments_in_text_are_read_when_the_policy_is_made(field: str, said: Any, value: float) -> None:
    policy = Policy(**{field: said})
    assert getattr(policy, field) == value
    assert getattr(attrs.evolve(policy, enabled=False), field) == value


@pytest.mark.parametrize(
    ("field", "said", "fault"),
    [
        ("quota_bytes", "50 Gb", "'50 Gb' must be a whole number of bytes, or text such as '50 GB', '50 GiB'"),
        ("quota_used", "much", "'much' must be a whole number of bytes, or text such as '50 GB', '50 GiB'"),
        ("expires_at", "2027-01-31", "'2027-01-31' says no time zone: write it whole, as in '2027-01-31T00:00:00Z'"),
        ("expires_at", "soon", f"'soon' {NO_MOMENT}"),
    ],
)
def test_wrong_bytes_and_moments_in_text_are_refused_where_they_are_written(field: str, said: Any, fault: str) -> None:
    with pytest.raises(ConfigurationError) as raised:
        Policy(**{field: said})
    assert str(raised.value) == f"Policy({field}=...): {fault}"


@pytest.mark.parametrize("counts_bytes", [True, False])
def test_the_edge_enforces_quotas_where_it_sees_the_bytes_and_expiries_always(counts_bytes: bool) -> None:
    fields = enforced_by_edge(counts_bytes=counts_bytes)
    assert fields == {"enabled", "max_sessions", "listen", "expires_at"} | (
        {"quota_bytes", "quota_used"} if counts_bytes else set()
    )


def test_a_policy_gives_the_keys_of_a_stage() -> None:
    policy = Policy(session_rate=5, stages=(DailyQuota(3), Hours(8, 18)))
    assert policy[Hours].since == 8
    assert policy[DailyQuota].per_day == 3


def test_a_policy_without_the_keys_of_a_stage_gives_their_defaults() -> None:
    assert Policy()[Hours] == Hours()
    assert Policy()[Hours] is Policy(stages=(DailyQuota(3),))[Hours], "one instance for all services"


def test_a_subclass_of_keys_has_keys_of_its_own() -> None:
    @attrs.frozen
    class LongHours(Hours):
        pass

    assert Policy(stages=(LongHours(1),))[Hours] == Hours()
    assert Policy(stages=(LongHours(1),))[LongHours] == LongHours(1)


def test_a_policy_has_no_keys_by_name() -> None:
    with pytest.raises(TypeError, match="takes the attrs class that a stage names as its policy, not 'hours'"):
        Policy()["hours"]  # type: ignore[index]


def test_policies_with_other_keys_of_stages_differ() -> None:
    assert Policy(stages=(Hours(8),)) == Policy(stages=(Hours(8),))
    assert Policy(stages=(Hours(8),)) != Policy(stages=(Hours(9),))
    assert "stages" not in FIELDS


@pytest.mark.parametrize(
    ("name", "key"),
    [
        ("Hours", "hours"),
        ("OpenHours", "open_hours"),
        ("HTTPHours", "http_hours"),
        ("Level7Rules", "level7_rules"),
        ("ABTest", "ab_test"),
        ("_Private", "private"),
        ("open_hours", "open_hours"),
    ],
)
def test_a_table_has_the_name_of_its_class_in_snake_case(name: str, key: str) -> None:
    assert key_of(type(name, (), {})) == key


def test_fields_are_found_by_the_names_that_the_constructor_takes() -> None:
    @attrs.frozen
    class Quota:
        _per_day: int = 0
        limit: int = attrs.field(default=1, alias="maximum")
        made: int = attrs.field(default=0, init=False)

    assert {name: field.name for name, field in stage_fields(Quota).items()} == {
        "per_day": "_per_day",
        "maximum": "limit",
    }


def test_the_defaults_of_a_class_are_one_instance() -> None:
    @attrs.frozen
    class Hours:
        since: int = 0

    assert defaults_of(Hours) == Hours()
    assert defaults_of(Hours) is defaults_of(Hours)


@pytest.mark.parametrize("keys", ["hours", 0, int, pytest, None])
def test_what_is_no_attrs_class_has_no_defaults(keys: object) -> None:
    with pytest.raises(
        TypeError, match=r"^policy\[\.\.\.\] takes the attrs class that a stage names as its policy, not "
    ):
        defaults_of(keys)
