import gc
import json
import math
import re
from collections.abc import Iterator
from time import thread_time
from typing import Any
from weakref import ref

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.strategies import examples
from tests.support.policies import STAGE_KEYS, DailyQuota, Hours
from trioedge.arguments import MAX_TEXT_LETTERS
from trioedge.control.settings import KEYS, check_entries, read_settings
from trioedge.errors import Faults, quote
from trioedge.services.credentials import Credentials
from trioedge.services.device_rules import Handover, Unchecked
from trioedge.services.passwords import hash_password
from trioedge.services.policy import FATES, NEEDS, Policy, Settings

GOOD: dict[str, Any] = {
    "enabled": False,
    "session_rate": 20,
    "session_burst": 4,
    "max_sessions": 1_000,
    "down_rate": "10 MB/s",
    "up_rate": 1e6,
    "quota_bytes": "50 GB",
    "quota_used": 3,
    "expires_at": "2027-01-31T00:00:00Z",
    "device_limit": 3,
    "device_handover": "hold",
    "device_hold_seconds": 0,
    "device_pause_seconds": 2.5,
    "device_unchecked": "fail_open",
    "device_stale_seconds": 1.5,
    "accept": ["10.0.0.0/8", "192.0.2.1-192.0.2.9"],
    "reject": ["unix"],
    "listen": ["tcp://0.0.0.0:20001", "tcp://[::1]:20002"],
    "destination": "tcp://127.0.0.1:6380",
    "outbound": "tcp://127.0.0.1:6379",
    "preconnect": 4,
    "password_hash": None,
}


NO_BYTES = "must be a whole number of bytes, or text such as '50 GB', '50 GiB'"
ZONELESS = "says no time zone: write it whole, as in '2027-01-31T12:00:00Z'"


def faults_of(**table: Any) -> list[str]:
    return read_settings(table, "services.shop")[1]


def test_every_key_is_read() -> None:
    assert set(GOOD) == set(KEYS) == set(FATES)
    settings, faults = read_settings(GOOD, "services.shop")
    assert faults == []
    assert settings.policy == Policy(
        enabled=False,
        session_rate=20,
        session_burst=4,
        max_sessions=1_000,
        down_rate=10_000_000.0,
        up_rate=1e6,
        quota_bytes=50_000_000_000,
        quota_used=3,
        expires_at=1_801_353_600,
        device_limit=3,
        device_handover=Handover.HOLD,
        device_hold_seconds=0,
        device_pause_seconds=2.5,
        device_unchecked=Unchecked.FAIL_OPEN,
        device_stale_seconds=1.5,
        accept=("10.0.0.0/8", "192.0.2.1-192.0.2.9"),
        reject=("unix",),
        listen=("tcp://0.0.0.0:20001", "tcp://[::1]:20002"),
        destination="tcp://127.0.0.1:6380",
        outbound="tcp://127.0.0.1:6379",
        preconnect=4,
    )
    assert type(settings.policy.device_handover) is Handover
    assert type(settings.policy.device_unchecked) is Unchecked


def test_a_missing_key_has_its_default() -> None:
    assert read_settings({}, "services.shop") == (Settings(), [])


def test_a_password_hash_goes_into_the_credentials(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("trioedge.services.passwords.COST_LOG2", 1)
    hashed = hash_password("secret")
    settings, faults = read_settings({"password_hash": hashed}, "services.shop")
    assert faults == []
    assert settings == Settings(credentials=Credentials(hashed))


@pytest.mark.parametrize(
    ("table", "fault"),
    [
        ({"enabled": 1}, "enabled = 1 must be true or false"),
        ({"enabled": "yes"}, "enabled = 'yes' must be true or false"),
        ({"session_rate": "20"}, "session_rate = '20' must be a number above 0"),
        ({"session_rate": True}, "session_rate = True must be a number above 0"),
        ({"session_rate": -1}, "session_rate = -1 must be a number above 0"),
        ({"session_rate": float("nan")}, "session_rate = nan must be a number above 0"),
        ({"session_rate": 10**400}, "session_rate has more than 64 bits"),
        ({"session_burst": 32.0}, "session_burst = 32.0 must be a whole number of at least 1"),
        ({"session_burst": None}, "session_burst = None must be a whole number of at least 1"),
        ({"session_burst": 4}, "session_burst = 4 needs a session_rate"),
        ({"session_burst": 4, "session_rate": None}, "session_burst = 4 needs a session_rate"),
        ({"max_sessions": 0}, "max_sessions = 0 must be a whole number of at least 1, or 'unlimited'"),
        ({"max_sessions": True}, "max_sessions = True must be a whole number of at least 1, or 'unlimited'"),
        ({"up_rate": 0}, "up_rate = 0 must be a number of at least 1"),
        ({"up_rate": -(10**400)}, "up_rate has more than 64 bits"),
        ({"quota_bytes": "5 G"}, f"quota_bytes = '5 G' {NO_BYTES}"),
        ({"quota_bytes": 0}, "quota_bytes = 0 must be a whole number of at least 1"),
        ({"quota_used": None}, "quota_used = None must be a whole number of at least 0"),
        ({"expires_at": "2027-01-31 12:00:00"}, f"expires_at = '2027-01-31 12:00:00' {ZONELESS}"),
        ({"expires_at": 0}, "expires_at = 0 is 1970: leave it out for a service that never expires"),
        ({"device_handover": "kick"}, "device_handover = 'kick' must be 'reject_new' or 'evict_oldest' or 'hold'"),
        ({"device_handover": ["hold"]}, "device_handover = ['hold'] must be 'reject_new' or 'evict_oldest' or 'hold'"),
        ({"device_hold_seconds": -1}, "device_hold_seconds = -1 must be a number of at least 0"),
        ({"device_unchecked": 1}, "device_unchecked = 1 must be 'fail_open' or 'fail_closed' or 'stale_for'"),
        ({"accept": "10.0.0.0/8"}, "accept = '10.0.0.0/8' must be a list of addresses, prefixes or ranges"),
        ({"reject": ["10.0.0.0/8", 3]}, "reject[1] = 3 must be text"),
        (
            {"listen": "tcp://0.0.0.0:1"},
            "listen = 'tcp://0.0.0.0:1' must be a list of addresses, as in ['tcp://0.0.0.0:20001']",
        ),
        ({"listen": ["tcp://0.0.0.0:1", 3]}, "listen[1] = 3 must be text, as in 'tcp://0.0.0.0:20001'"),
        ({"listen": ["tcp://0.0.0.0:1"] * 99}, "listen[64] is one too many: a service has at most 64 listeners"),
        ({"outbound": "tcp://x"}, "outbound = 'tcp://x' is no destination: address 'tcp://x' names no port"),
        ({"preconnect": 4}, "preconnect = 4 needs a destination to connect to"),
        ({"preconnect": 10**400}, "preconnect has more than 64 bits"),
        ({"password_hash": "secret"}, "password_hash is not what `trioedge.hash_password` gives"),
        ({"password_hash": 3}, "password_hash is not what `trioedge.hash_password` gives"),
    ],
)
def test_a_fault_names_the_path_the_value_and_what_it_must_be(table: dict[str, Any], fault: str) -> None:
    assert faults_of(**table) == [f"services.shop.{fault}"]


def test_a_rate_without_a_unit_is_a_fault_that_shows_how_rates_are_written() -> None:
    (fault,) = faults_of(down_rate="10 MB")
    assert fault.startswith(
        "services.shop.down_rate: rate '10 MB' must be at least 1, in bytes a second, or text such as"
    )


def test_all_faults_are_found_at_once() -> None:
    faults = faults_of(
        bogus=1, typo=2, enabled="no", down_rate="fast", accept=3, password_hash="secret", max_sessions=0
    )
    assert [fault.split()[0].rstrip(":") for fault in faults] == [
        "services.shop",
        "services.shop.enabled",
        "services.shop.max_sessions",
        "services.shop.down_rate",
        "services.shop.accept",
        "services.shop.password_hash",
    ]
    assert faults[0] == f"services.shop has no key 'bogus', 'typo': there are {', '.join(KEYS)}"


def test_of_many_unknown_keys_the_first_are_named_and_the_others_counted() -> None:
    keys = ["bogus", "typo", "x" * 1000, "nope"]
    (fault,) = faults_of(**dict.fromkeys(keys[:3], 1))
    assert fault.startswith(f"services.shop has no key 'bogus', 'typo', '{'x' * 99}...: there are enabled, ")
    (fault,) = faults_of(**dict.fromkeys([*keys, *map(str, range(5_000))], 1))
    assert "xxx... and 5,001 more: there are " in fault


@pytest.mark.parametrize("key", sorted(set(KEYS) - {"password_hash"}))
def test_of_a_long_value_only_the_beginning_is_quoted(key: str) -> None:
    for value in ([["x"] * 50_000], {"x": [0] * 50_000}):
        (fault,) = faults_of(**{key: value})
        quoted = quote(value[0] if key in ("accept", "reject", "listen") and isinstance(value, list) else value)
        assert f" = {quoted} must be " in fault


@pytest.fixture
def no_collector() -> Iterator[None]:
    gc.disable()
    yield
    gc.enable()


@pytest.mark.usefixtures("no_collector")
@pytest.mark.parametrize(
    "table",
    [
        {"session_rate": -1},
        {"down_rate": "fast"},
        {"outbound": "1"},
        {"bogus": 1},
        {"accept": [3], "enabled": 3, "z": 1},
    ],
)
def test_a_fault_keeps_no_reference_to_its_reader(table: dict[str, Any]) -> None:
    class Reader:
        """Stands for the frames and values of a caller."""

        def read(self) -> list[str]:
            return faults_of(**table)

    reader = Reader()
    assert reader.read()
    gone = ref(reader)
    del reader
    assert gone() is None, "freed by its reference count, without the garbage collector"


@pytest.mark.parametrize("letters", [0, 100_000])
def test_a_fault_of_a_typo_names_the_key_that_was_meant(letters: int) -> None:
    typo = "sesion_rate" + letters * " "
    (fault,) = read_settings({typo: 1, "rejct": []}, "services.shop")[1]
    meant = " (did you mean session_rate?)" if letters < 100 else ""
    assert fault.startswith(f"services.shop has no key {quote(typo)}{meant}, 'rejct': there are")


huge = st.sampled_from([2**63, -(2**63), 10**400])
no_number = st.text(max_size=3) | st.booleans() | st.lists(st.integers(), max_size=2) | st.just(math.nan) | huge
no_count = no_number | st.integers(-3, 0) | st.floats(0, 9)
no_choice = st.text(max_size=3) | st.lists(st.just("hold"), max_size=2) | huge
no_entries = st.text(max_size=3) | st.none() | huge | st.lists(st.integers() | st.none(), min_size=1, max_size=3)
no_bytes = st.sampled_from(["", "10 Mb", "fast", math.nan, 1.5, True, [1], 2**64])
no_rate = st.sampled_from(["", "10 MB", "fast", 0, -1, math.nan, math.inf, True, [1], 2**64])
BAD: dict[str, st.SearchStrategy[Any]] = {
    "enabled": st.none() | st.integers() | st.text(max_size=3) | huge,
    "session_rate": no_number | st.floats(max_value=0),
    "session_burst": no_count | st.none(),
    "max_sessions": no_count,
    "down_rate": no_rate,
    "up_rate": no_rate,
    "quota_bytes": no_bytes | st.integers(max_value=0),
    "quota_used": no_bytes | st.integers(max_value=-1) | st.none(),
    "expires_at": st.text(max_size=3) | st.just("2027-01-31") | st.floats(max_value=0) | st.just(1e13) | st.booleans(),
    "device_limit": no_count,
    "device_handover": no_choice,
    "device_hold_seconds": no_number | st.floats(max_value=-0.1),
    "device_pause_seconds": no_number | st.floats(max_value=-0.1),
    "device_unchecked": no_choice,
    "device_stale_seconds": no_number | st.floats(max_value=-0.1),
    "accept": no_entries,
    "reject": no_entries,
    "listen": no_entries,
    "destination": st.integers() | st.booleans() | st.text(max_size=3) | huge,
    "outbound": st.integers() | st.booleans() | st.text("1:./ ", max_size=3) | huge,
    "preconnect": no_number | st.none() | st.integers(max_value=-1) | st.integers(1001, 2000),
    "password_hash": st.text(max_size=9) | st.integers() | st.booleans(),
}


@examples(40)
@given(st.data())
def test_each_of_several_faults_is_found_once(data: st.DataObject) -> None:
    assert set(BAD) == set(KEYS)
    bad = data.draw(st.sets(st.sampled_from(KEYS)))
    good = data.draw(st.sets(st.sampled_from(KEYS))) - bad
    unknown = data.draw(st.sets(st.sampled_from(["bogus", "typo"])))
    table = {key: data.draw(BAD[key]) for key in bad} | {key: GOOD[key] for key in good} | dict.fromkeys(unknown, 1)
    wrong = bad | {key for key, (needed, _) in NEEDS.items() if key in good and not table.keys() & set(needed)}
    settings, faults = read_settings(table, "services.shop")
    right = {key: GOOD[key] for key in good}
    assert settings == read_settings(right, "services.shop")[0], "the right keys are read all the same"
    if unknown:
        assert faults[0].startswith("services.shop has no key ")
        del faults[0]
    assert sorted(re.match(r"services\.shop\.(\w+)", fault).group(1) for fault in faults) == sorted(wrong)  # type: ignore[union-attr]


@pytest.mark.parametrize("key", sorted(set(KEYS) - {"accept", "reject"}))
def test_a_text_that_is_too_long_is_not_parsed(key: str) -> None:
    """A rate, a destination or a hash of half a mebibyte would block the loop for 10 to 80 ms."""
    _, faults = read_settings({key: "1" * (MAX_TEXT_LETTERS + 1)}, "services.shop")
    assert f"services.shop.{key} has more than 1,000 letters" in faults
    _, faults = read_settings({key: "x" * MAX_TEXT_LETTERS}, "services.shop")
    assert faults
    assert "letters" not in faults[0]


def test_a_password_hash_is_never_quoted() -> None:
    assert "hunter2" not in str(faults_of(password_hash="hunter2"))


@pytest.mark.parametrize("table", [None, 3, "shop", ["shop"], True])
def test_settings_that_are_no_table_are_a_fault(table: object) -> None:
    assert read_settings(table, "services.shop") == (Settings(), [f"services.shop = {table!r} must be a table"])


def test_a_long_list_is_read_in_some_milliseconds() -> None:
    entries = [f"10.0.{number >> 8}.{number & 255}" for number in range(50_000)]
    began = thread_time()
    settings, faults = read_settings({"accept": entries}, "services.shop")
    took = thread_time() - began
    assert (len(settings.policy.accept), faults) == (50_000, [])
    assert took < 0.02, "0.1 µs an entry, and not the microsecond that a call for each would take"


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=2),
    max_leaves=2,
)


@examples(60)
@given(st.dictionaries(st.sampled_from([*KEYS, "bogus"]), json_values, max_size=3))
def test_any_json_object_is_settings_or_has_faults(table: dict[str, Any]) -> None:
    settings, faults = read_settings(json.loads(json.dumps(table)), "services.shop")
    assert all(fault.startswith("services.shop") for fault in faults)
    if not faults:
        said = {name: value for name, value in table.items() if name != "password_hash"}
        assert set(said) <= {field.name for field in attrs.fields(Policy)}
        assert isinstance(settings, Settings)


def test_each_wrong_entry_is_a_fault() -> None:
    faults = Faults()
    check_entries(Policy(accept=("10.0.0.0/8",), reject=("unix",)), "services.shop", faults)
    assert not faults
    check_entries(Policy(accept=("10.0.0.0/8", "10.0.0.0/99", "nowhere")), "services.shop", faults)
    assert [fault.split(" = ")[0] for fault in faults] == ["services.shop.accept[1]", "services.shop.accept[2]"]


def test_of_many_wrong_entries_the_first_are_named_and_the_others_counted() -> None:
    faults = Faults()
    check_entries(Policy(accept=("nowhere",) * 300), "services.shop", faults)
    assert len(list(faults)) == 101
    assert str(faults).endswith("; and 200 more")


# Keys of users' stages.


def test_the_table_of_a_stage_is_read_beside_the_keys_of_every_service() -> None:
    table = {"session_rate": 5, "hours": {"since": 8, "until": 18}}
    settings, faults = read_settings(table, "services.shop", STAGE_KEYS)
    assert (settings, faults) == (Settings(Policy(session_rate=5, stages=(Hours(8, 18),))), [])
    assert settings.policy[Hours].since == 8


def test_the_order_of_tables_is_no_difference() -> None:
    tables: dict[str, dict[str, object]] = {"hours": {"since": 8}, "daily_quota": {"per_day": 3, "days": ["mon"]}}
    expected = Settings(Policy(stages=(Hours(8), DailyQuota(3, ("mon",)))))
    assert read_settings(tables, "a", STAGE_KEYS) == (expected, [])
    assert read_settings(dict(reversed(tables.items())), "a", STAGE_KEYS) == (expected, [])


def test_faults_of_a_table_are_found_beside_all_others() -> None:
    table = {
        "hours": {"sinse": 8, "until": "18"}, "session_rate": 0, "outbund": "x", "dayly_quota": {"a": 1},
        "daily_quota": 3,
    }  # fmt: skip
    settings, faults = read_settings(table, "services.shop", STAGE_KEYS)
    assert settings == Settings()
    assert faults == [
        f"services.shop has no key 'outbund' (did you mean outbound?): there are {', '.join(KEYS)}, hours, daily_quota",
        "services.shop has no table 'dayly_quota' (did you mean daily_quota?): stages read hours, daily_quota",
        "services.shop.hours has no key 'sinse' (did you mean since?): there are since, until",
        "services.shop.hours.until = '18' must be a whole number",
        "services.shop.daily_quota = 3 must be a table",
        "services.shop.session_rate = 0 must be a number above 0",
    ]


def test_a_table_that_no_stage_reads_is_a_fault() -> None:
    faults = read_settings({"hours": {"since": 8}}, "services.shop")[1]
    assert faults == [
        "services.shop has no table 'hours': no stage names a class of keys, as in @te.decision(policy=Hours)"
    ]


@pytest.mark.usefixtures("no_collector")
def test_a_fault_of_a_table_keeps_no_reference_to_its_reader() -> None:
    class Reader:
        def read(self) -> list[str]:
            return read_settings({"hours": {"since": 99}, "daily_quota": {"days": [3]}}, "a", STAGE_KEYS)[1]

    reader = Reader()
    assert len(reader.read()) == 2
    gone = ref(reader)
    del reader
    assert gone() is None
